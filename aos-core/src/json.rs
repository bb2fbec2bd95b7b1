//! Reading JSON text that people and servers send, without changing its numbers silently.
//!
//! A number written as an integer (digits, perhaps a minus sign) means exactly that integer: beyond ±(2^53 - 1) it is
//! [`NUMBER_OUT_OF_RANGE`](codes::NUMBER_OUT_OF_RANGE). A number with a fraction or an exponent means the nearest IEEE
//! double, as in RFC 8785, so `1e30` and `0.1` are taken; it is out of range when there is none (`1e400`), or when
//! canonical JSON would write it as an integer beyond ±(2^53 - 1) (`1e20`).

use serde_json::Value;

use crate::error::{Failure, codes};

/// Parses JSON text. What fits into 64 bits but not into 2^53 is found by [`Payload::new`](crate::Payload::new) or
/// [`normalize`](crate::canonical::normalize), which know its path.
///
/// # Errors
/// With line and column: [`codes::INVALID_JSON`], [`codes::TOO_DEEP`], or [`codes::NUMBER_OUT_OF_RANGE`] for a number
/// that the parser would change.
pub fn parse(text: &str) -> Result<Value, Failure> {
    let value = serde_json::from_str(text).map_err(|error| failure(&error))?;
    check_integers(text)?;
    Ok(value)
}

/// What `serde_json` says, with the code that it deserves.
fn failure(error: &serde_json::Error) -> Failure {
    let message = error.to_string();
    let failure = if message.starts_with("recursion limit exceeded") {
        Failure::new(codes::TOO_DEEP, format!("the JSON nests too deep: {message}"))
    } else if message.starts_with("number out of range") {
        Failure::new(codes::NUMBER_OUT_OF_RANGE, format!("no double holds this: {message}"))
    } else {
        Failure::new(codes::INVALID_JSON, format!("it is not JSON: {message}"))
    };
    failure.details(serde_json::json!({ "line": error.line(), "column": error.column() }))
}

/// Finds integers beyond 64 bits in text that is JSON: the parser makes floats of them without a word.
///
/// # Errors
/// [`codes::NUMBER_OUT_OF_RANGE`] with line and column.
pub(crate) fn check_integers(json: &str) -> Result<(), Failure> {
    let bytes = json.as_bytes();
    let (mut at, mut in_string) = (0, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => at += 1,
            b'0'..=b'9' if !in_string => {
                let token = number_at(json, at);
                if is_huge_integer(token) {
                    let before = &json[..at];
                    let line = before.matches('\n').count() + 1;
                    let column = at - before.rfind('\n').map_or(0, |newline| newline + 1) + 1;
                    return Err(out_of_range(token, &format!("line {line} column {column}")));
                }
                at += token.len() - 1;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

fn number_at(json: &str, at: usize) -> &str {
    let rest = &json[at..];
    let end = rest.bytes().position(|b| !matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    &rest[..end.unwrap_or(rest.len())]
}

/// Whether a number's text, without its sign, is that of an integer beyond 64 bits.
pub(crate) fn is_huge_integer(token: &str) -> bool {
    /// The shortest integers that may not fit into 64 bits have this many digits.
    const SUSPICIOUS: usize = 19;
    token.len() >= SUSPICIOUS && token.bytes().all(|b| b.is_ascii_digit()) && token.parse::<u64>().is_err()
}

pub(crate) fn out_of_range(number: &str, place: &str) -> Failure {
    let shown: String = number.chars().take(40).collect();
    let message = format!("the number {shown} at {place} is beyond ±(2^53 - 1): send it as a string");
    Failure::new(codes::NUMBER_OUT_OF_RANGE, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Payload;

    #[test]
    fn integers_beyond_64_bits_are_found_where_they_stand() {
        for (json, place) in [
            (r#"[1, 18446744073709551615, 1e30, 123456789012345678901234.5, "123456789012345678901234"]"#, None),
            (r#"{"a": "\\", "b": 123456789012345678901234}"#, Some("line 1 column 18")),
            ("[\"\\\"\",\n  -123456789012345678901234]", Some("line 2 column 4")),
            ("18446744073709551616", Some("line 1 column 1")),
        ] {
            assert!(serde_json::from_str::<Value>(json).is_ok(), "{json}");
            let found = parse(json).map_err(|failure| (failure.code, failure.message));
            assert_eq!(found.is_err(), place.is_some(), "{json}");
            assert!(
                found.err().is_none_or(|(code, message)| {
                    code == codes::NUMBER_OUT_OF_RANGE && message.contains(place.unwrap())
                }),
                "{json}"
            );
        }
    }

    #[test]
    fn every_number_is_taken_as_it_is_or_refused() {
        for (json, canonical) in [
            ("9007199254740991", Some("9007199254740991")),
            ("-9007199254740991", Some("-9007199254740991")),
            ("9007199254740992", None),
            ("-9007199254740993", None),
            ("18446744073709551616", None),
            ("-9223372036854775809", None),
            ("1000000000000000000000", None),
            ("-1234567890123456789012", None),
            ("1234567890123456789012e0", Some("1.2345678901234568e+21")),
            ("1e30", Some("1e+30")),
            ("1E+21", Some("1e+21")),
            ("1e20", None),
            ("1e400", None),
            ("0.1", Some("0.1")),
            ("1.0", Some("1")),
        ] {
            let number = Payload::parse(json).map_err(|failure| failure.code);
            let nested = Payload::parse(&format!("{{\"a\": [{json}]}}")).map_err(|failure| failure.code);
            match canonical {
                Some(canonical) => {
                    assert_eq!(number.unwrap().as_str(), canonical);
                    assert_eq!(nested.unwrap().as_str(), format!("{{\"a\":[{canonical}]}}"));
                }
                None => {
                    assert_eq!(number, Err(codes::NUMBER_OUT_OF_RANGE), "{json}");
                    assert_eq!(nested, Err(codes::NUMBER_OUT_OF_RANGE), "{json}");
                }
            }
        }
    }
}
