//! An answer of the Messages API in our terms.

use aos_core::canonical;
use aos_core::llm::{Content, LlmResponse, StopReason, Usage};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::{EXTRA, UNREAD};
use crate::backend::claude::NAME;

/// The most tokens that are believed: more have no exact place in JSON.
const MAX_TOKENS: u64 = (1 << 53) - 1;

/// An answer as the API gives it, or as it was put together from a stream.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Message {
    pub(crate) content: Vec<Value>,
    #[serde(default)]
    pub(crate) model: Option<String>,
    #[serde(default)]
    pub(crate) stop_reason: Option<String>,
    /// How an answer was declined.
    #[serde(default)]
    pub(crate) stop_details: Option<Value>,
    #[serde(default)]
    pub(crate) usage: Option<Tokens>,
}

/// Usage as the API reports it; what is not reported is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Tokens {
    #[serde(deserialize_with = "tokens")]
    input_tokens: Option<u64>,
    #[serde(deserialize_with = "tokens")]
    output_tokens: Option<u64>,
    #[serde(deserialize_with = "tokens")]
    cache_creation_input_tokens: Option<u64>,
    #[serde(deserialize_with = "tokens")]
    cache_read_input_tokens: Option<u64>,
    #[serde(rename = "cache_creation", deserialize_with = "for_an_hour")]
    written_for_an_hour: Option<u64>,
}

/// A number of tokens; anything else is none, because an odd number must not cost the answer.
fn tokens<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(number(&Value::deserialize(deserializer)?))
}

/// The one of the written tokens' kinds that has a price of its own.
fn for_an_hour<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(number(&Value::deserialize(deserializer)?["ephemeral_1h_input_tokens"]))
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().map(|tokens| tokens.min(MAX_TOKENS))
}

impl Tokens {
    /// Takes over a later report. It has totals, not what was added; what it leaves out is as it was.
    pub(crate) fn update(&mut self, later: Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.cache_creation_input_tokens = later.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = later.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.written_for_an_hour = later.written_for_an_hour.or(self.written_for_an_hour);
    }

    /// The usage in our terms.
    pub(crate) fn usage(self) -> Usage {
        let written = self.cache_creation_input_tokens.unwrap_or(0);
        Usage {
            input_tokens: self.input_tokens.unwrap_or(0),
            output_tokens: self.output_tokens.unwrap_or(0),
            cache_read_tokens: self.cache_read_input_tokens.unwrap_or(0),
            cache_write_tokens: written,
            cache_write_1h_tokens: self.written_for_an_hour.unwrap_or(0).min(written),
        }
    }
}

/// The answer in our terms; `asked` is the model that was asked for.
///
/// # Errors
/// What makes the answer unusable, for a message.
pub(crate) fn answer(message: Message, asked: &str) -> Result<LlmResponse, String> {
    let Message { content: blocks, model, stop_reason, stop_details, usage } = message;
    let stop_reason = stop_reason.ok_or("it has no `stop_reason`")?;
    let usage = usage.ok_or("it has no `usage`")?.usage();
    let mut extra = Map::new();
    let mut content = Vec::with_capacity(blocks.len());
    for (index, block) in blocks.into_iter().enumerate() {
        let (block, more) = read(block).map_err(|why| format!("block {index} {why}"))?;
        content.push(block);
        if !more.is_empty() {
            extra.insert(index.to_string(), Value::Object(more));
        }
    }
    match stop_details {
        Some(details) if details.get("type").is_some_and(Value::is_string) => content.push(Content::Other(details)),
        _ => {}
    }
    if !extra.is_empty() {
        content.push(Content::Other(json!({"type": EXTRA, "of": extra})));
    }
    content.iter_mut().try_for_each(carriable)?;
    Ok(LlmResponse {
        content,
        // Reading a word can't fail.
        stop_reason: stop_reason.parse().unwrap_or(StopReason::Other(stop_reason)),
        usage,
        model: model.unwrap_or_else(|| asked.to_owned()),
        adapter: NAME.to_owned(),
    })
}

/// A block in our terms, and those of its fields that these have no place for.
fn read(block: Value) -> Result<(Content, Map<String, Value>), &'static str> {
    let Value::Object(mut fields) = block else { return Err("is not an object") };
    let kind = fields.get("type").and_then(Value::as_str).ok_or("has no `type`")?.to_owned();
    let mut text = |key: &str| match fields.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let content = match kind.as_str() {
        "text" => Content::text(text("text").ok_or("of type \"text\" has no text")?),
        "thinking" => Content::Thinking {
            thinking: text("thinking").unwrap_or_default(),
            signature: text("signature").filter(|signature| !signature.is_empty()),
        },
        "tool_use" => Content::ToolUse {
            id: text("id").ok_or("of type \"tool_use\" has no `id`")?,
            name: text("name").ok_or("of type \"tool_use\" has no `name`")?,
            input: fields.remove("input").ok_or("of type \"tool_use\" has no `input`")?,
        },
        // Types that we send and have read never.
        "image" | "tool_result" | EXTRA | UNREAD => {
            return Ok((Content::Other(json!({"type": UNREAD, "block": fields})), Map::new()));
        }
        _ => return Ok((Content::Other(Value::Object(fields)), Map::new())),
    };
    fields.remove("type");
    fields.retain(|_, value| !value.is_null());
    Ok((content, fields))
}

/// Numbers that the journal can't carry exactly are found here, where what the answer has cost is known.
fn carriable(block: &mut Content) -> Result<(), String> {
    match block {
        Content::ToolUse { input, .. } => canonical::normalize(input),
        Content::Other(value) => canonical::normalize(value),
        _ => Ok(()),
    }
    .map_err(|e| e.to_string())
}
