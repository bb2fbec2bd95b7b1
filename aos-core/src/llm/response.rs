//! What a model answered.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::content::Content;

/// The answer of a language model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlmResponse {
    /// What it said.
    pub content: Vec<Content>,
    /// Why it stopped.
    pub stop_reason: StopReason,
    /// Tokens read and written.
    pub usage: Usage,
    /// The model that answered, in the provider's words; may be more exact than the one asked for.
    pub model: String,
    /// The adapter that carried the answer.
    pub adapter: String,
}

impl LlmResponse {
    /// All text blocks, one after the other.
    pub fn text(&self) -> String {
        self.content.iter().filter_map(Content::as_text).collect()
    }
}

/// Why a model stopped; one word as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// It had said everything: `end_turn`.
    EndTurn,
    /// The answer reached `max_tokens`.
    MaxTokens,
    /// It came to a `stop_sequence`.
    StopSequence,
    /// It wants tools to be called: `tool_use`.
    ToolUse,
    /// The provider interrupted a long turn; send the answer back to go on: `pause_turn`.
    PauseTurn,
    /// It declined: `refusal`.
    Refusal,
    /// The model's context was full: `model_context_window_exceeded`.
    ContextWindowExceeded,
    /// A word that this release does not know, kept as it is.
    Other(String),
}

impl StopReason {
    /// The word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::EndTurn => "end_turn",
            Self::MaxTokens => "max_tokens",
            Self::StopSequence => "stop_sequence",
            Self::ToolUse => "tool_use",
            Self::PauseTurn => "pause_turn",
            Self::Refusal => "refusal",
            Self::ContextWindowExceeded => "model_context_window_exceeded",
            Self::Other(word) => word,
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StopReason {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(match word {
            "end_turn" => Self::EndTurn,
            "max_tokens" => Self::MaxTokens,
            "stop_sequence" => Self::StopSequence,
            "tool_use" => Self::ToolUse,
            "pause_turn" => Self::PauseTurn,
            "refusal" => Self::Refusal,
            "model_context_window_exceeded" => Self::ContextWindowExceeded,
            other => Self::Other(other.to_owned()),
        })
    }
}

impl Serialize for StopReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for StopReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::deserialize(deserializer)
    }
}

/// Tokens of one call. All input is `input_tokens + cache_read_tokens + cache_write_tokens`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Usage {
    /// Read, not from the cache and not into it.
    pub input_tokens: u64,
    /// Written.
    pub output_tokens: u64,
    /// Read from the provider's prompt cache.
    pub cache_read_tokens: u64,
    /// Read and put into the provider's prompt cache, for however long.
    pub cache_write_tokens: u64,
    /// Those of [`Usage::cache_write_tokens`] that are kept for an hour instead of five minutes: they cost more.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_write_1h_tokens: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(tokens: &u64) -> bool {
    *tokens == 0
}

impl Usage {
    /// All that was read, cached or not.
    pub const fn all_input(&self) -> u64 {
        self.input_tokens.saturating_add(self.cache_read_tokens).saturating_add(self.cache_write_tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn stop_reasons_keep_their_word() {
        for word in [
            "end_turn",
            "max_tokens",
            "stop_sequence",
            "tool_use",
            "pause_turn",
            "refusal",
            "model_context_window_exceeded",
            "tea_break",
        ] {
            let reason: StopReason = serde_json::from_value(json!(word)).unwrap();
            assert_eq!(serde_json::to_value(&reason).unwrap(), word);
            assert_eq!(matches!(reason, StopReason::Other(_)), word == "tea_break");
        }
    }

    #[test]
    fn a_response_round_trips() {
        let value = json!({
            "content": [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "x"}, {"type": "text", "text": "b"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 1, "output_tokens": 2, "cache_read_tokens": 3, "cache_write_tokens": 4},
            "model": "m", "adapter": "stub"
        });
        let response: LlmResponse = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(response.text(), "ab");
        assert_eq!(serde_json::to_value(&response).unwrap(), value);
    }
}
