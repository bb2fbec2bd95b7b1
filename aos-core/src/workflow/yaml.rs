//! Reading YAML into JSON.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::error::{Failure, codes};
use crate::json::{is_huge_integer, out_of_range};

/// Reads YAML into JSON: anchors are followed within bounds, tags and keys that are not strings are errors. Numbers
/// are taken as [`json::parse`](crate::json::parse) takes them.
///
/// # Errors
/// [`codes::INVALID_YAML`] with line and column; [`codes::NUMBER_OUT_OF_RANGE`] for an integer that the parser would
/// change.
pub fn yaml_value(text: &str) -> Result<Value, Failure> {
    let invalid = |e: serde_saphyr::Error| Failure::new(codes::INVALID_YAML, e.to_string());
    let value: Value = serde_saphyr::from_str(text).map_err(invalid)?;
    // Only the text knows whether such a number was written as an integer; they are rare enough to read it twice.
    if has_huge_number(&value) {
        let found = serde_saphyr::with_deserializer_from_str(text, |yaml| HugeInteger(&value).deserialize(yaml));
        if let Some((path, number)) = found.map_err(invalid)? {
            return Err(out_of_range(&number, &format!("{path:?}")));
        }
    }
    Ok(value)
}

/// Whether a float is among the values, so large that the parser may have made it of an integer.
fn has_huge_number(value: &Value) -> bool {
    match value {
        Value::Number(number) => is_huge(number),
        Value::Array(items) => items.iter().any(has_huge_number),
        Value::Object(fields) => fields.values().any(has_huge_number),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

fn is_huge(number: &serde_json::Number) -> bool {
    /// Below every integer that 64 bits don't hold.
    const SUSPICIOUS: f64 = 9e18;
    number.is_f64() && number.as_f64().is_some_and(|float| float.abs() >= SUSPICIOUS)
}

/// Reads YAML along the value that was made of it, and gives the first integer that has become a float: its JSON pointer
/// and its text.
struct HugeInteger<'v>(&'v Value);

impl<'de> DeserializeSeed<'de> for HugeInteger<'_> {
    type Value = Option<(String, String)>;

    fn deserialize<D: Deserializer<'de>>(self, yaml: D) -> Result<Self::Value, D::Error> {
        match self.0 {
            Value::Array(_) => yaml.deserialize_seq(self),
            Value::Object(_) => yaml.deserialize_map(self),
            Value::Number(number) if is_huge(number) => {
                let text = String::deserialize(yaml)?;
                Ok(is_huge_integer(text.trim_start_matches(['-', '+'])).then(|| (String::new(), text)))
            }
            _ => IgnoredAny::deserialize(yaml).map(|_| None),
        }
    }
}

impl<'de> Visitor<'de> for HugeInteger<'_> {
    type Value = Option<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what was there before")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut first = None;
        let mut index = 0;
        while let Some(found) = items.next_element_seed(HugeInteger(self.0.get(index).unwrap_or(&Value::Null)))? {
            first = first.or_else(|| found.map(|(path, number)| (format!("/{index}{path}"), number)));
            index += 1;
        }
        Ok(first)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut first = None;
        while let Some(key) = fields.next_key::<String>()? {
            let found = fields.next_value_seed(HugeInteger(self.0.get(&key).unwrap_or(&Value::Null)))?;
            first = first.or_else(|| found.map(|(path, number)| (format!("/{key}{path}"), number)));
        }
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Payload;

    #[test]
    fn integers_are_refused_where_they_would_be_rounded() {
        const HUGE: &str = "1234567890123456789012";
        for (yaml, place) in [
            (format!("a: [1, {{b: {HUGE}}}]"), Some("/a/1/b")),
            (format!("- x\n- &huge -{HUGE}\n- *huge"), Some("/1")),
            (format!("base: &base {{n: +{HUGE}}}\nmerged:\n  <<: *base"), Some("/base/n")),
            (HUGE.to_owned(), Some("\"\"")),
            (format!("# {HUGE}\na: '{HUGE}'\nb: 1e30\nc: |\n  {HUGE}\nd: {HUGE}.5\ne: !!str {HUGE}"), None),
        ] {
            match yaml_value(&yaml) {
                Ok(value) => {
                    assert_eq!(place, None, "{yaml}");
                    assert_eq!(value["a"], HUGE);
                    assert_eq!(value["b"], 1e30);
                }
                Err(failure) => {
                    assert_eq!(failure.code, codes::NUMBER_OUT_OF_RANGE, "{yaml}: {failure:?}");
                    assert!(place.is_some_and(|place| failure.message.contains(place)), "{yaml}: {failure:?}");
                }
            }
        }
        for yaml in ["9007199254740992", "a: 18446744073709551616", "[-9223372036854775809]", "1e20"] {
            let failure = yaml_value(yaml).and_then(|value| Ok(Payload::new(value)?)).unwrap_err();
            assert_eq!(failure.code, codes::NUMBER_OUT_OF_RANGE, "{yaml}");
        }
    }
}
