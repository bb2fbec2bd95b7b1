//! Blocks of content: what messages of both directions are made of.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use crate::canonical::Hash;

/// One block of a message, `{"type": …}` as JSON.
///
/// The types listed here are read strictly: an unknown field or a missing one is an error. A block of any other type
/// is kept as it is in [`Content::Other`], so that what a provider adds survives the way through journal and replay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Content {
    /// Text.
    Text {
        /// The text.
        text: String,
        /// Asks the provider to cache the prompt up to here.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cache: Option<CacheTtl>,
    },
    /// An image by reference: the bytes are never part of a request's JSON.
    Image {
        /// Where the image is.
        source: ImageSource,
    },
    /// The model wants a tool to be called.
    ToolUse {
        /// Names this use; the result refers to it.
        id: String,
        /// The tool.
        name: String,
        /// What to call it with.
        input: Value,
    },
    /// What a tool gave.
    ToolResult {
        /// The `id` of the tool use.
        tool_use_id: String,
        /// The result; a plain string is read as one text block.
        #[serde(default, deserialize_with = "blocks", skip_serializing_if = "Vec::is_empty")]
        content: Vec<Content>,
        /// Whether the tool failed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
    /// The model's reasoning, as far as the provider shows it.
    Thinking {
        /// The text, possibly empty.
        thinking: String,
        /// The provider's proof that it made the block, to be sent back unchanged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
    },
    /// A block of a type that is not listed here: an object with a `type`, kept as it is.
    #[serde(skip)]
    Other(Value),
}

/// The types that [`Content`] reads strictly.
const KNOWN: [&str; 5] = ["text", "image", "tool_use", "tool_result", "thinking"];

impl Content {
    /// A block of plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), cache: None }
    }

    /// The text of a text block.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text { text, .. } => Some(text),
            _ => None,
        }
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Other(value) => value.serialize(serializer),
            known => Self::serialize(known, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let kind = value.get("type").and_then(Value::as_str);
        let kind = kind.ok_or_else(|| de::Error::custom("a content block must be an object with a \"type\""))?;
        if !KNOWN.contains(&kind) {
            return Ok(Self::Other(value));
        }
        let kind = kind.to_owned();
        Self::deserialize(value).map_err(|error| de::Error::custom(format!("content block of type {kind:?}: {error}")))
    }
}

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ImageSource {
    /// At an address that the provider can reach.
    Url {
        /// The address.
        url: String,
    },
    /// In the host's blob store.
    Blob {
        /// SHA-256 of the image's bytes.
        hash: Hash,
        /// The bytes' type, `image/png` say.
        media_type: String,
    },
}

/// How long a provider is asked to keep a cached prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheTtl {
    /// Five minutes.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// One hour.
    #[serde(rename = "1h")]
    OneHour,
}

/// Reads a list of blocks, or a string as one text block.
pub(super) fn blocks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Content>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(vec![Content::text(text)]),
        blocks @ Value::Array(_) => serde_json::from_value(blocks).map_err(de::Error::custom),
        _ => Err(de::Error::custom("content must be a string or a list of blocks")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn blocks_round_trip() {
        let hash = Hash::of("x");
        for (value, block) in [
            (json!({"type": "text", "text": "hi"}), Content::text("hi")),
            (
                json!({"type": "text", "text": "hi", "cache": "1h"}),
                Content::Text { text: "hi".into(), cache: Some(CacheTtl::OneHour) },
            ),
            (
                json!({"type": "image", "source": {"type": "blob", "hash": hash, "media_type": "image/png"}}),
                Content::Image { source: ImageSource::Blob { hash, media_type: "image/png".into() } },
            ),
            (
                json!({"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}}),
                Content::ToolUse { id: "t1".into(), name: "add".into(), input: json!({"a": 1}) },
            ),
            (
                json!({"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "2"}], "is_error": true}),
                Content::ToolResult { tool_use_id: "t1".into(), content: vec![Content::text("2")], is_error: true },
            ),
            (
                json!({"type": "thinking", "thinking": "hm", "signature": "s"}),
                Content::Thinking { thinking: "hm".into(), signature: Some("s".into()) },
            ),
            (
                json!({"type": "search_result", "hits": [1, {"deep": true}]}),
                Content::Other(json!({"type": "search_result", "hits": [1, {"deep": true}]})),
            ),
        ] {
            assert_eq!(serde_json::from_value::<Content>(value.clone()).unwrap(), block);
            assert_eq!(serde_json::to_value(&block).unwrap(), value);
        }
    }

    #[test]
    fn a_string_is_one_text_block() {
        let block: Content =
            serde_json::from_value(json!({"type": "tool_result", "tool_use_id": "t", "content": "2"})).unwrap();
        assert_eq!(
            block,
            Content::ToolResult { tool_use_id: "t".into(), content: vec![Content::text("2")], is_error: false }
        );
    }

    #[test]
    fn known_types_are_strict() {
        for (value, message) in [
            (json!({"type": "text"}), "content block of type \"text\": missing field `text`"),
            (json!({"type": "text", "text": "", "txt": 1}), "unknown field `txt`"),
            (json!({"type": "tool_use", "id": "t", "name": "n"}), "missing field `input`"),
            (json!({"type": "tool_result", "tool_use_id": "t", "content": 1}), "a string or a list of blocks"),
            (json!({"type": 1}), "an object with a \"type\""),
            (json!("text"), "an object with a \"type\""),
        ] {
            let error = serde_json::from_value::<Content>(value.clone()).unwrap_err().to_string();
            assert!(error.contains(message), "{value}: {error}");
        }
    }
}
