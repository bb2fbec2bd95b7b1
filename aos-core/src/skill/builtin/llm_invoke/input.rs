//! What the skill is asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{Failure, codes};
use crate::llm::{Content, LlmRequest, Message, Role, Tool, ToolChoice};

/// What the answer may have at most when the input does not say.
pub(super) const DEFAULT_MAX_TOKENS: u32 = 4_096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    adapter: Option<String>,
    model: String,
    prompt: Option<String>,
    messages: Option<Vec<Message>>,
    system: Option<Value>,
    #[serde(default)]
    tools: Vec<Tool>,
    tool_choice: Option<ToolChoice>,
    response_schema: Option<Value>,
    max_tokens: Option<u32>,
    temperature: Option<f64>,
    #[serde(default)]
    stop_sequences: Vec<String>,
    #[serde(default)]
    options: Map<String, Value>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    fallback: Vec<Fallback>,
    cache: Option<CacheFor>,
    #[serde(default)]
    stream: bool,
}

/// Whom to ask when nobody before it gave an answer; what is not given stays as it was.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fallback {
    adapter: Option<String>,
    model: Option<String>,
    #[serde(default)]
    options: Option<Map<String, Value>>,
}

/// For how long an answer may be given again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CacheFor {
    ttl_s: u64,
}

/// A request as whoever is asked gets it.
#[derive(Clone)]
pub(super) struct Ask {
    /// Which adapter; the host's default when there is none.
    pub(super) adapter: Option<String>,
    pub(super) request: LlmRequest,
}

/// All that was asked for.
pub(super) struct Asked {
    /// Whom to ask, one after the other; at least one.
    pub(super) asks: Vec<Ask>,
    /// For how long an answer may be kept, if at all.
    pub(super) cache: Option<Duration>,
    /// Whether pieces of the answer are wanted while it is being written.
    pub(super) stream: bool,
}

impl Input {
    pub(super) fn into_asked(self) -> Result<Asked, Failure> {
        let refused = |why: &str| Failure::new(codes::INVALID_INPUT, why.to_owned());
        let messages = match (self.prompt, self.messages) {
            (Some(prompt), None) => vec![Message { role: Role::User, content: vec![Content::text(prompt)] }],
            (None, Some(messages)) => messages,
            (Some(_), Some(_)) => return Err(refused("`prompt` and `messages` are both given: expected one of them")),
            (None, None) => return Err(refused("neither `prompt` nor `messages` is given: expected one of them")),
        };
        let system = match self.system {
            None => Vec::new(),
            Some(Value::String(text)) => vec![Content::text(text)],
            Some(blocks) => serde_json::from_value(blocks)
                .map_err(|error| refused(&format!("`system`: expected a text or a list of blocks: {error}")))?,
        };
        let request = LlmRequest {
            model: self.model,
            system,
            messages,
            tools: self.tools,
            tool_choice: self.tool_choice,
            response_schema: self.response_schema,
            max_tokens: self.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
            temperature: self.temperature,
            stop_sequences: self.stop_sequences,
            options: self.options,
            metadata: self.metadata,
        };
        let mut asks = vec![Ask { adapter: self.adapter, request }];
        for (index, fallback) in self.fallback.into_iter().enumerate() {
            if fallback.adapter.is_none() && fallback.model.is_none() {
                return Err(refused(&format!("`fallback[{index}]` has neither `adapter` nor `model`")));
            }
            let Ask { adapter, mut request } = asks[0].clone();
            request.model = fallback.model.unwrap_or(request.model);
            request.options = fallback.options.unwrap_or(request.options);
            asks.push(Ask { adapter: fallback.adapter.or(adapter), request });
        }
        let cache = self.cache.map(|cache| Duration::from_secs(cache.ttl_s));
        Ok(Asked { asks, cache, stream: self.stream })
    }
}
