//! JSON that flows between programs, skills and journals: kept as canonical text, hashed and parsed on demand.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::canonical::{self, CanonicalError, Hash};
use crate::error::{Failure, codes};

/// An immutable JSON value, cheap to clone.
///
/// It holds the canonical text; the hash and the parsed value are computed when first asked for and kept.
#[derive(Clone)]
pub struct Payload(Arc<Inner>);

struct Inner {
    text: Box<str>,
    hash: OnceLock<Hash>,
    value: OnceLock<Value>,
}

impl Payload {
    /// Takes a JSON value.
    ///
    /// # Errors
    /// [`CanonicalError`] when it holds a number that JSON can't carry exactly, or nests too deep.
    pub fn new(mut value: Value) -> Result<Self, CanonicalError> {
        canonical::normalize(&mut value)?;
        let text = canonical::write(&value).into_boxed_str();
        Ok(Self(Arc::new(Inner { text, hash: OnceLock::new(), value: OnceLock::from(value) })))
    }

    /// Serialises any value into a payload.
    ///
    /// # Errors
    /// [`codes::INVALID_JSON`] when `value` can't be JSON (a map with non-string keys, say), or as [`Payload::new`].
    pub fn from_serialize<T: Serialize + ?Sized>(value: &T) -> Result<Self, Failure> {
        let value = serde_json::to_value(value).map_err(|e| Failure::new(codes::INVALID_JSON, e.to_string()))?;
        Ok(Self::new(value)?)
    }

    /// Parses JSON text.
    ///
    /// # Errors
    /// As [`json::parse`](crate::json::parse), or as [`Payload::new`].
    pub fn parse(text: &str) -> Result<Self, Failure> {
        Ok(Self::new(crate::json::parse(text)?)?)
    }

    /// Takes text that a journal says is canonical; the chain hash vouches for it.
    pub(crate) fn from_journal(raw: &RawValue) -> Self {
        Self(Arc::new(Inner { text: raw.get().into(), hash: OnceLock::new(), value: OnceLock::new() }))
    }

    /// JSON `null`.
    pub fn null() -> Self {
        Self(Arc::new(Inner { text: "null".into(), hash: OnceLock::new(), value: OnceLock::from(Value::Null) }))
    }

    /// The canonical text (RFC 8785), UTF-8.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Length of the canonical text in bytes.
    pub fn len(&self) -> usize {
        self.0.text.len()
    }

    /// Never true: the shortest JSON text has one byte. Here because `len` is.
    pub fn is_empty(&self) -> bool {
        self.0.text.is_empty()
    }

    /// SHA-256 of the canonical text.
    pub fn hash(&self) -> Hash {
        *self.0.hash.get_or_init(|| Hash::of(self.0.text.as_bytes()))
    }

    /// The parsed value.
    pub fn value(&self) -> &Value {
        // A payload is made from valid JSON only, so the fallback is never seen.
        self.0.value.get_or_init(|| serde_json::from_str(&self.0.text).unwrap_or_default())
    }

    /// Deserialises into a typed value.
    ///
    /// # Errors
    /// [`codes::INVALID_INPUT`] naming the field.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        T::deserialize(self.value()).map_err(|e| Failure::new(codes::INVALID_INPUT, e.to_string()))
    }

    /// The canonical text as a raw JSON value, for embedding into wire forms.
    pub(crate) fn raw(&self) -> &RawValue {
        // Same text, so the same validity; `null` can only be seen if the invariant of this type is broken.
        <&RawValue>::deserialize(&mut serde_json::Deserializer::from_str(&self.0.text)).unwrap_or(RawValue::NULL)
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.text == other.0.text
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::null()
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
