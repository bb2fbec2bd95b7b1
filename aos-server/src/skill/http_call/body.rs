//! What a response body is: JSON, text in some encoding, or bytes.

use aos_core::canonical;
use base64::Engine as _;
use encoding_rs::{Encoding, UTF_8};
use serde_json::Value;

use super::output::BodyKind;

/// A body as the output shows it.
#[derive(Debug, PartialEq)]
pub(super) struct Body {
    pub(super) kind: BodyKind,
    pub(super) value: Value,
    pub(super) base64: Option<String>,
    pub(super) charset: Option<&'static str>,
    pub(super) json_error: Option<String>,
}

impl Body {
    const fn new(kind: BodyKind, value: Value) -> Self {
        Self { kind, value, base64: None, charset: None, json_error: None }
    }
}

/// Reads a body the way its content type says; without one, bytes that are plain UTF-8 are text.
pub(super) fn read(bytes: &[u8], content_type: Option<&str>) -> Body {
    if bytes.is_empty() {
        return Body::new(BodyKind::Empty, Value::Null);
    }
    let (media, declared) = split(content_type.unwrap_or_default());
    let texty = is_text(&media) || (media.is_empty() && !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok());
    if !texty {
        let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
        return Body { base64: Some(base64), ..Body::new(BodyKind::Binary, Value::Null) };
    }
    let encoding = encoding(bytes, &media, declared.as_deref());
    // Malformed sequences become U+FFFD: a page with one broken byte is still a page.
    let (text, encoding, _) = encoding.decode(bytes);
    let charset = Some(encoding.name());
    if is_json(&media) {
        return match json(&text) {
            Ok(value) => Body { charset, ..Body::new(BodyKind::Json, value) },
            Err(why) => {
                let text = Value::String(text.into_owned());
                Body { charset, json_error: Some(why), ..Body::new(BodyKind::Text, text) }
            }
        };
    }
    Body { charset, ..Body::new(BodyKind::Text, Value::String(text.into_owned())) }
}

/// The start of a body as text, for a message: at most `max` bytes of it.
pub(super) fn excerpt(bytes: &[u8], max: usize) -> String {
    let cut = bytes.len() > max;
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(max)]).into_owned();
    if cut {
        text.push('…');
    }
    text
}

/// Integers that canonical JSON can't carry exactly are an error here, so that they are never changed silently.
fn json(text: &str) -> Result<Value, String> {
    let mut value = aos_core::json::parse(text).map_err(|failure| failure.message)?;
    canonical::normalize(&mut value).map_err(|e| e.to_string())?;
    Ok(value)
}

fn is_json(media: &str) -> bool {
    matches!(media, "application/json" | "text/json") || media.ends_with("+json")
}

fn is_text(media: &str) -> bool {
    is_json(media)
        || media.starts_with("text/")
        || media.ends_with("+xml")
        || matches!(
            media,
            "application/xml"
                | "application/javascript"
                | "application/ecmascript"
                | "application/x-ndjson"
                | "application/jsonl"
                | "application/yaml"
                | "application/toml"
                | "application/graphql"
                | "application/x-www-form-urlencoded"
        )
}

/// Media type in lower case, and the `charset` parameter.
fn split(content_type: &str) -> (String, Option<String>) {
    let mut parts = content_type.split(';');
    let media = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
    });
    (media, charset)
}

/// Byte order mark, then the header, then what an HTML or XML document says of itself, then UTF-8.
fn encoding(bytes: &[u8], media: &str, declared: Option<&str>) -> &'static Encoding {
    let label = |label: &str| Encoding::for_label(label.as_bytes());
    Encoding::for_bom(bytes)
        .map(|(encoding, _)| encoding)
        .or_else(|| declared.and_then(label))
        .or_else(|| (media.contains("html") || media.contains("xml")).then(|| in_document(bytes)).flatten())
        .unwrap_or(UTF_8)
}

fn in_document(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(1_024)]).to_ascii_lowercase();
    ["charset=", "encoding="].into_iter().find_map(|key| {
        let rest = head[head.find(key)? + key.len()..].trim_start_matches(['"', '\'', ' ']);
        let end = rest.find(['"', '\'', ' ', ';', '>', '/', '?']).unwrap_or(rest.len());
        Encoding::for_label(&rest.as_bytes()[..end])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_are_read_as_their_type_says() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for (content_type, bytes, kind, value, charset) in [
            (Some("application/json"), &br#"{"a":1}"#[..], BodyKind::Json, json!({"a": 1}), Some("UTF-8")),
            (Some("application/json"), b"\xef\xbb\xbf[1.0]", BodyKind::Json, json!([1]), Some("UTF-8")),
            (Some("application/problem+json; charset=utf-8"), b"null", BodyKind::Json, json!(null), Some("UTF-8")),
            (Some("application/json"), b"{oops", BodyKind::Text, json!("{oops"), Some("UTF-8")),
            (Some("application/json"), b"9007199254740993", BodyKind::Text, json!("9007199254740993"), Some("UTF-8")),
            (Some("application/json"), deep.as_bytes(), BodyKind::Text, json!(deep), Some("UTF-8")),
            (Some("text/plain"), b"a\0b", BodyKind::Text, json!("a\0b"), Some("UTF-8")),
            (Some("text/plain"), b"a\xffb", BodyKind::Text, json!("a\u{fffd}b"), Some("UTF-8")),
            (Some("text/plain; charset=ISO-8859-1"), b"caf\xe9", BodyKind::Text, json!("café"), Some("windows-1252")),
            (Some("text/plain; charset=\"Shift_JIS\""), b"\x93\xfa", BodyKind::Text, json!("日"), Some("Shift_JIS")),
            (Some("text/plain; charset=nonsense"), b"ok", BodyKind::Text, json!("ok"), Some("UTF-8")),
            (Some("text/html"), b"\xff\xfea\0", BodyKind::Text, json!("a"), Some("UTF-16LE")),
            (
                Some("TEXT/HTML"),
                b"<meta charset='latin1'>\xe9",
                BodyKind::Text,
                json!("<meta charset='latin1'>é"),
                Some("windows-1252"),
            ),
            (Some("image/svg+xml"), b"<svg/>", BodyKind::Text, json!("<svg/>"), Some("UTF-8")),
            (Some("image/png"), b"\x89PNG", BodyKind::Binary, json!(null), None),
            (Some("application/octet-stream"), b"text", BodyKind::Binary, json!(null), None),
            (None, b"plain", BodyKind::Text, json!("plain"), Some("UTF-8")),
            (None, b"\xff\xff", BodyKind::Binary, json!(null), None),
            (None, b"a\0", BodyKind::Binary, json!(null), None),
            (Some("image/png"), b"", BodyKind::Empty, json!(null), None),
        ] {
            let body = read(bytes, content_type);
            assert_eq!((body.kind, &body.value, body.charset), (kind, &value, charset), "{content_type:?} {bytes:?}");
            assert_eq!(body.base64.is_some(), kind == BodyKind::Binary);
            let is_json_text = kind == BodyKind::Text && content_type.is_some_and(|t| t.contains("json"));
            assert_eq!(body.json_error.is_some(), is_json_text);
        }
    }

    #[test]
    fn excerpts_are_bounded() {
        assert_eq!(excerpt("ééé".as_bytes(), 3), "é\u{fffd}…");
        assert_eq!(excerpt(b"abc", 3), "abc");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_some_body(bytes: Vec<u8>, content_type in "(text/html|application/json|)(; ?charset=[a-z0-9-]{0,12})?") {
            let body = read(&bytes, Some(&content_type));
            proptest::prop_assert!(aos_core::Payload::new(body.value).is_ok());
        }
    }
}
