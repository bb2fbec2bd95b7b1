//! The adapter `openai`: servers that speak OpenAI's chat completions, such as vLLM, Ollama, llama.cpp and OpenAI.
//!
//! They differ in what they leave out, so little is demanded of an answer. Where one does not say what it used, its
//! usage is all zero, which no real answer has: it stands for "not known".

mod error;
mod request;
mod stream;

use aos_core::llm::{Content, LlmAdapter, LlmAnswer, LlmCall, LlmFailure, LlmResponse, StopReason, Usage};
use aos_core::{BoxFuture, Failure, canonical};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

pub use super::llm_http::Timeouts;
use super::llm_http::{Api, Call, Provider, Reply, Sse, Stream as _, hear};
use crate::config::{KeySource, OpenAi};
use stream::Assembly;

/// The name that steps use.
pub const NAME: &str = "openai";

/// Answers that may be longer than this are streamed, as those of `claude` are.
const PLAIN_MAX_TOKENS: u32 = 21_333;

/// The most tokens that are believed: more have no exact place in JSON.
const MAX_TOKENS: u64 = (1 << 53) - 1;

/// The adapter `openai`.
///
/// [`LlmRequest::options`](aos_core::llm::LlmRequest::options) are passed on as fields of the API.
pub struct OpenAiAdapter {
    api: Api,
    completions: Url,
    /// OpenAI itself has another name for `max_tokens`.
    public: bool,
}

impl OpenAiAdapter {
    /// The adapter that settings describe; `None` when they name no place. Nothing is sent and no connection is made.
    ///
    /// # Errors
    /// As [`OpenAiAdapter::new`].
    pub fn from_config(config: &OpenAi) -> Result<Option<Self>, Failure> {
        let new = |url| Self::new(url, config.api_key.as_ref(), Timeouts::default());
        config.base_url.as_ref().map(new).transpose()
    }

    /// An adapter that sends requests, and keys if the server wants any, to `base_url` and nowhere else.
    ///
    /// # Errors
    /// Keys that can't be read; TLS that can't be set up on this machine.
    pub fn new(base_url: &Url, keys: Option<&KeySource>, timeouts: Timeouts) -> Result<Self, Failure> {
        let provider = Provider {
            who: "the OpenAI-compatible server",
            setting: "OPENAI_BASE_URL",
            key_header: AUTHORIZATION,
            key_scheme: "Bearer ",
            refusal: error::of_status,
            room: |_| None,
        };
        let mut completions = base_url.clone();
        completions.set_path(&format!("{}/chat/completions", base_url.path().trim_end_matches('/')));
        let public = base_url.host_str() == Some("api.openai.com");
        Ok(Self { api: Api::new(provider, keys, timeouts)?, completions, public })
    }

    async fn attempt(&self, call: &LlmCall) -> Result<LlmAnswer, LlmFailure> {
        let streamed = call.deltas.is_some() || call.request.max_tokens > PLAIN_MAX_TOKENS;
        let body = request::write(&call.request, streamed, self.public)?;
        let (url, headers) = (&self.completions, HeaderMap::new());
        let (deadline, trace) = (call.deadline, call.trace);
        let reply = self.api.ask(Call { url, headers, body, streamed, deadline, trace }).await?;
        let head = self.api.head(&reply);
        let response = self.response(reply, call).await.map_err(|failure| head.of(failure))?;
        Ok(LlmAnswer { request_id: head.request_id, ..LlmAnswer::new(response, None) })
    }

    async fn response(&self, reply: Reply, call: &LlmCall) -> Result<LlmResponse, LlmFailure> {
        let (completion, seen) = if reply.is_stream() {
            let mut stream = Assembly::default();
            self.api.listen(reply, &mut stream, call.deltas.as_ref()).await?;
            let seen = stream.is_shown();
            (stream.into_completion(), seen)
        } else {
            let body = self.api.body(reply).await?;
            let completion = serde_json::from_slice(&body);
            (completion.map_err(|e| self.api.unusable(&e.to_string(), &body, None, false))?, false)
        };
        let usage = completion.usage.map(Used::usage);
        answer(completion, &call.request.model).map_err(|why| self.api.unusable(&why, b"", usage, seen))
    }
}

impl LlmAdapter for OpenAiAdapter {
    fn name(&self) -> &str {
        NAME
    }

    fn is_live(&self) -> bool {
        true
    }

    fn invoke(&self, call: LlmCall) -> BoxFuture<'_, Result<LlmAnswer, LlmFailure>> {
        Box::pin(async move { self.attempt(&call).await })
    }
}

/// An answer as the API gives it, or as it was put together from a stream.
#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    model: Option<String>,
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Used>,
}

#[derive(Deserialize)]
struct Choice {
    message: Said,
    #[serde(default)]
    finish_reason: Option<String>,
    /// The stop sequence, of servers that say which (vLLM).
    #[serde(default)]
    stop_reason: Value,
}

#[derive(Default, Deserialize)]
struct Said {
    /// The model's reasoning; servers have two names for it.
    #[serde(default, alias = "reasoning")]
    reasoning_content: Option<String>,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Default, Deserialize)]
struct ToolCall {
    #[serde(default)]
    id: Option<String>,
    function: Function,
}

#[derive(Default, Deserialize)]
struct Function {
    #[serde(default)]
    name: String,
    /// JSON as text; some servers give it as it is.
    #[serde(default)]
    arguments: Value,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct Used {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptTokens>,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct PromptTokens {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

impl Used {
    /// The usage in our terms: there the cached tokens are not counted twice.
    fn usage(self) -> Usage {
        let prompt = self.prompt_tokens.unwrap_or(0).min(MAX_TOKENS);
        let cached = self.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0).min(prompt);
        Usage {
            input_tokens: prompt - cached,
            output_tokens: self.completion_tokens.unwrap_or(0).min(MAX_TOKENS),
            cache_read_tokens: cached,
            ..Usage::default()
        }
    }
}

/// What is made of an answer that comes in these pieces: of a stream of events, or of the body of an answer with this
/// status. For fuzzing, which has no connection.
#[doc(hidden)]
pub fn understand(status: Option<u16>, pieces: &[&[u8]]) -> Result<LlmResponse, String> {
    let completion = match status {
        None => {
            let (mut sse, mut stream) = (Sse::new(1 << 20), Assembly::default());
            for piece in pieces {
                hear(&mut sse, &mut stream, piece, None).map_err(|broken| format!("{broken:?}"))?;
            }
            stream.end();
            stream.into_completion()
        }
        Some(200) => serde_json::from_slice(&pieces.concat()).map_err(|e| e.to_string())?,
        Some(status) => return Err(format!("{:?}", error::of_status(status, &pieces.concat()))),
    };
    answer(completion, "asked")
}

fn answer(completion: Completion, asked: &str) -> Result<LlmResponse, String> {
    let Completion { model, choices, usage } = completion;
    let Choice { message, finish_reason, stop_reason } = choices.into_iter().next().ok_or("it has no choice")?;
    let declined = message.refusal.is_some();
    let mut content = Vec::new();
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    content.extend(given(message.reasoning_content).map(|thinking| Content::Thinking { thinking, signature: None }));
    content.extend(given(message.content).or(given(message.refusal)).map(Content::text));
    let calls = message.tool_calls.unwrap_or_default();
    let reason = match finish_reason.as_deref() {
        _ if declined => StopReason::Refusal,
        Some("length") => StopReason::MaxTokens,
        Some("content_filter") => StopReason::Refusal,
        // Several servers say `stop` here.
        Some("stop" | "tool_calls" | "function_call") | None if !calls.is_empty() => StopReason::ToolUse,
        Some("stop") if stop_reason.is_string() => StopReason::StopSequence,
        Some("stop") | None => StopReason::EndTurn,
        Some(other) => StopReason::Other(other.to_owned()),
    };
    for (index, ToolCall { id, function }) in calls.into_iter().enumerate() {
        let mut input = match function.arguments {
            Value::String(text) if text.trim().is_empty() => json!({}),
            Value::Null => json!({}),
            Value::String(text) => match serde_json::from_str(&text) {
                Ok(input) => input,
                // The answer was cut: the beginning is kept as it is.
                Err(_) if reason == StopReason::MaxTokens => Value::String(text),
                Err(e) => return Err(format!("the input of the tool {:?} is not JSON: {e}", function.name)),
            },
            input => input,
        };
        canonical::normalize(&mut input).map_err(|e| e.to_string())?;
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{index}"));
        content.push(Content::ToolUse { id, name: function.name, input });
    }
    Ok(LlmResponse {
        content,
        stop_reason: reason,
        usage: usage.unwrap_or_default().usage(),
        model: model.filter(|model| !model.is_empty()).unwrap_or_else(|| asked.to_owned()),
        adapter: NAME.to_owned(),
    })
}
