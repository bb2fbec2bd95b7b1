//! Canonical JSON (RFC 8785) and SHA-256 over it.
//!
//! Two values that mean the same have one canonical text, so hashes of it compare meaning. Integers beyond
//! ±(2^53 - 1) do not survive RFC 8785, whose numbers are IEEE doubles: they are an error with a path, never a
//! silent change.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The largest integer that canonical JSON carries: 2^53 - 1.
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// How deep a JSON value may nest, the same bound as `serde_json`'s parser.
pub const MAX_DEPTH: usize = 127;

/// Why a value has no canonical form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// An integer that a double can't hold exactly.
    #[error(
        "the number {number} at {path:?} is beyond ±(2^53 - 1) and would change in canonical JSON: send it as a string"
    )]
    NumberOutOfRange {
        /// JSON pointer to the number.
        path: String,
        /// The number as it was written.
        number: String,
    },
    /// Arrays and objects nested deeper than [`MAX_DEPTH`].
    #[error("the value at {path:?} nests deeper than {MAX_DEPTH} levels")]
    TooDeep {
        /// JSON pointer to the first value that is too deep.
        path: String,
    },
}

/// Brings numbers into the form that a canonical text gives back: a float without a fraction becomes an integer.
///
/// After this, a value and the value parsed from its canonical text are equal, so that a program sees the same
/// thing live and in replay.
///
/// # Errors
/// [`CanonicalError`] with the path of the first value that has no canonical form; `value` may be partly changed.
pub fn normalize(value: &mut Value) -> Result<(), CanonicalError> {
    let mut path = Vec::new();
    normalize_at(value, &mut path)
}

/// The canonical text of `value`, after [`normalize`].
///
/// # Errors
/// As [`normalize`].
pub fn to_string(mut value: Value) -> Result<String, CanonicalError> {
    normalize(&mut value)?;
    Ok(write(&value))
}

/// The canonical text of a value that [`normalize`] has passed.
pub(crate) fn write(normalized: &Value) -> String {
    // Most inputs of small steps are one number or one text, which need no serialiser.
    match normalized {
        Value::Number(number) if let Some(number) = number.as_u64() => {
            return itoa::Buffer::new().format(number).to_owned();
        }
        Value::Null => return "null".into(),
        _ => {}
    }
    // Serialising a `Value` into a `String` has no way to fail once its numbers are finite, and JSON numbers are.
    serde_json_canonicalizer::to_string(normalized).unwrap_or_else(|_| normalized.to_string())
}

enum Part {
    Key(String),
    Index(usize),
}

/// Appends `number` as decimal digits.
pub(crate) fn push_integer(text: &mut String, number: u64) {
    text.push_str(itoa::Buffer::new().format(number));
}

/// Appends `string` as a canonical JSON string.
pub(crate) fn push_string(text: &mut String, string: &str) {
    let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
    if string.bytes().all(plain) {
        text.push('"');
        text.push_str(string);
        text.push('"');
    } else {
        text.push_str(&write(&Value::from(string)));
    }
}

fn normalize_at(value: &mut Value, path: &mut Vec<Part>) -> Result<(), CanonicalError> {
    if path.len() > MAX_DEPTH {
        return Err(CanonicalError::TooDeep { path: pointer(path) });
    }
    match value {
        Value::Number(number) => {
            if let Some(integer) = number.as_i64() {
                if integer.unsigned_abs() > MAX_SAFE_INTEGER {
                    return Err(out_of_range(number, path));
                }
            } else if number.as_u64().is_some() {
                return Err(out_of_range(number, path));
            } else if let Some(float) = number.as_f64()
                && float.fract() == 0.0
            {
                if float.abs() <= MAX_SAFE_INTEGER as f64 {
                    // Exact: the float has no fraction and lies within the safe range.
                    *value = Value::from(float as i64);
                } else if float.abs() < 1e21 {
                    // Canonical JSON writes these as plain digits, which would come back as an unsafe integer.
                    return Err(out_of_range(number, path));
                }
            }
            Ok(())
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                if matches!(item, Value::Number(_) | Value::Array(_) | Value::Object(_)) {
                    path.push(Part::Index(index));
                    normalize_at(item, path)?;
                    path.pop();
                }
            }
            Ok(())
        }
        Value::Object(fields) => {
            for (key, item) in fields.iter_mut() {
                if matches!(item, Value::Number(_) | Value::Array(_) | Value::Object(_)) {
                    path.push(Part::Key(key.clone()));
                    normalize_at(item, path)?;
                    path.pop();
                }
            }
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

fn out_of_range(number: &serde_json::Number, path: &[Part]) -> CanonicalError {
    CanonicalError::NumberOutOfRange { path: pointer(path), number: number.to_string() }
}

fn pointer(path: &[Part]) -> String {
    path.iter()
        .map(|part| match part {
            Part::Key(key) => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Part::Index(index) => format!("/{index}"),
        })
        .collect()
}

/// A SHA-256 digest; 64 lower-case hex digits as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// 32 zero bytes: what precedes the first entry of a chain.
    pub const ZERO: Self = Self([0; 32]);

    /// SHA-256 of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 32 bytes of the digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 lower-case hex digits, without an allocation.
    pub fn to_hex(self) -> HexHash {
        // Arithmetic instead of a table: the compiler makes vector instructions of it.
        let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
        let mut hex = [0; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair[0] = digit(byte >> 4);
            pair[1] = digit(byte & 15);
        }
        HexHash(hex)
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// 64 lower-case hex digits on the stack.
#[derive(Clone, Copy)]
pub struct HexHash([u8; 64]);

impl HexHash {
    /// The digits as text.
    pub fn as_str(&self) -> &str {
        // Hex digits are ASCII, so this can't fail; the empty text would be caught by every comparison.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.to_hex().as_str())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What each byte is worth as a lower-case hex digit. Without branches a hash is read three times as fast, and every
/// journal entry has one.
const HEX_VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut digit = 0_u8;
    while digit < 16 {
        values[b"0123456789abcdef"[digit as usize] as usize] = digit;
        digit += 1;
    }
    values
};

/// All bits set, so that it survives being joined with others.
const NO_DIGIT: u8 = u8::MAX;

/// Why a text is not a hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a SHA-256 hash: expected 64 lower-case hex digits")]
pub struct HashError(String);

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let error = || HashError(text.chars().take(80).collect());
        if text.len() != 64 {
            return Err(error());
        }
        let (mut bytes, mut seen) = ([0; 32], 0);
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let (high, low) = (HEX_VALUES[usize::from(pair[0])], HEX_VALUES[usize::from(pair[1])]);
            *byte = high << 4 | (low & 15);
            seen |= high | low;
        }
        if seen == NO_DIGIT { Err(error()) } else { Ok(Self(bytes)) }
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.to_hex().as_str())
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::deserialize(deserializer)
    }
}
