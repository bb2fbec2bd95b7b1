//! The adapter `claude`: the Messages API of Anthropic.
//!
//! Each call is one request. It is streamed when somebody watches the answer being written, or when the answer may be so
//! long that a connection would be idle for too long; the result is the same. Retries are the engine's. Prices are the
//! host's.

mod capability;
mod error;
mod room;
mod stream;
mod wire;

use aos_core::llm::{LlmAdapter, LlmAnswer, LlmCall, LlmFailure, LlmRequest, LlmResponse, Usage};
use aos_core::{BoxFuture, Failure};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use url::Url;

pub use crate::backend::llm_http::Timeouts;
use crate::backend::llm_http::{Api, Call, Provider, Reply, Sse, Stream as _, hear};
use crate::config::{Claude, KeySource};
use stream::Assembly;
use wire::{Tokens, Wire};

/// The name that steps use.
pub const NAME: &str = "claude";

/// The version of the API that is spoken. The newer one, 2026-10-21, takes no sampling parameters, which older models
/// have (2026-11-26).
const VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// Answers that may be longer than this are streamed. The provider's SDKs expect 128,000 tokens to take an hour, and
/// demand a stream for what may take longer than ten minutes (2026-11-26).
const PLAIN_MAX_TOKENS: u32 = 21_333;

/// The adapter `claude`.
///
/// [`LlmRequest::options`] are passed on as fields of the API (`thinking`, `top_p`, `top_k`, `service_tier`, …), with
/// these exceptions: `effort` is short for `output_config.effort`; `disable_parallel_tool_use` goes into `tool_choice`;
/// `tools`, tools of the provider's own, are offered beside the request's; `betas`, a list, becomes the header
/// `anthropic-beta`.
///
/// Content and stop reasons of kinds that this release does not know are kept as they are.
pub struct ClaudeAdapter {
    api: Api,
    messages: Url,
    count_tokens: Url,
}

impl ClaudeAdapter {
    /// The adapter that settings describe; `None` when they have no key. Nothing is sent and no connection is made.
    ///
    /// # Errors
    /// As [`ClaudeAdapter::new`].
    pub fn from_config(config: &Claude) -> Result<Option<Self>, Failure> {
        let keys = config.api_key.as_ref();
        keys.map(|keys| Self::new(&config.base_url, keys, Timeouts::default())).transpose()
    }

    /// An adapter that sends requests and keys to `base_url` and nowhere else.
    ///
    /// # Errors
    /// Keys that can't be read; TLS that can't be set up on this machine.
    pub fn new(base_url: &Url, keys: &KeySource, timeouts: Timeouts) -> Result<Self, Failure> {
        let provider = Provider {
            who: "Claude",
            setting: "ANTHROPIC_BASE_URL",
            key_header: HeaderName::from_static("x-api-key"),
            key_scheme: "",
            refusal: error::of_status,
            room: room::read,
        };
        let api = Api::new(provider, Some(keys), timeouts)?;
        let url = |path: &str| {
            let mut url = base_url.clone();
            url.set_path(&format!("{}{path}", base_url.path().trim_end_matches('/')));
            url
        };
        Ok(Self { api, messages: url("/v1/messages"), count_tokens: url("/v1/messages/count_tokens") })
    }

    /// How many tokens the request's prompt has. Counting is free, and has a rate limit of its own.
    ///
    /// # Errors
    /// As [`LlmAdapter::invoke`].
    pub async fn count_tokens(&self, request: &LlmRequest) -> Result<u64, LlmFailure> {
        #[derive(Deserialize)]
        struct Count {
            input_tokens: u64,
        }

        let wire = Wire::new(request)?;
        let url = &self.count_tokens;
        let call =
            Call { url, headers: headers(&wire), body: wire.count()?, streamed: false, deadline: None, trace: None };
        let reply = self.api.ask(call).await?;
        let head = self.api.head(&reply);
        let body = self.api.body(reply).await.map_err(|failure| head.of(failure))?;
        let Count { input_tokens } = serde_json::from_slice(&body)
            .map_err(|e| head.of(self.api.unusable(&e.to_string(), &body, None, false)))?;
        Ok(input_tokens)
    }

    async fn attempt(&self, call: &LlmCall) -> Result<LlmAnswer, LlmFailure> {
        let request = &*call.request;
        capability::check(request)?;
        let wire = Wire::new(request)?;
        let streamed = call.deltas.is_some() || request.max_tokens > PLAIN_MAX_TOKENS;
        let (url, body) = (&self.messages, wire.message(streamed)?);
        let asked = Call { url, headers: headers(&wire), body, streamed, deadline: call.deadline, trace: call.trace };
        let reply = self.api.ask(asked).await?;
        let head = self.api.head(&reply);
        let response = self.response(reply, call).await.map_err(|failure| head.of(failure))?;
        let room = head.room.map(Box::new);
        Ok(LlmAnswer { request_id: head.request_id, room, ..LlmAnswer::new(response, None) })
    }

    async fn response(&self, reply: Reply, call: &LlmCall) -> Result<LlmResponse, LlmFailure> {
        let (message, seen) = if reply.is_stream() {
            let mut stream = Assembly::default();
            self.api.listen(reply, &mut stream, call.deltas.as_ref()).await?;
            let (usage, seen) = (stream.usage(), stream.is_shown());
            (stream.into_message().map_err(|why| self.api.unusable(&why, b"", usage, seen))?, seen)
        } else {
            let body = self.api.body(reply).await?;
            let message = serde_json::from_slice(&body);
            (message.map_err(|e| self.api.unusable(&e.to_string(), &body, used(&body), false))?, false)
        };
        let usage = message.usage.map(Tokens::usage);
        wire::answer(message, &call.request.model).map_err(|why| self.api.unusable(&why, b"", usage, seen))
    }
}

impl LlmAdapter for ClaudeAdapter {
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

/// What is made of an answer that comes in these pieces: of a stream of events, or of the body of an answer with this
/// status. For fuzzing, which has no connection.
#[doc(hidden)]
pub fn understand(status: Option<u16>, pieces: &[&[u8]]) -> Result<LlmResponse, String> {
    let message = match status {
        None => {
            let (mut sse, mut stream) = (Sse::new(1 << 20), Assembly::default());
            for piece in pieces {
                hear(&mut sse, &mut stream, piece, None).map_err(|broken| format!("{broken:?}"))?;
            }
            stream.end();
            stream.into_message()?
        }
        Some(200) => serde_json::from_slice(&pieces.concat()).map_err(|e| e.to_string())?,
        Some(status) => return Err(format!("{:?}", error::of_status(status, &pieces.concat()))),
    };
    wire::answer(message, "asked")
}

fn headers(wire: &Wire<'_>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(HeaderName::from_static("anthropic-version"), VERSION);
    if let Some(betas) = wire.betas() {
        headers.insert(HeaderName::from_static("anthropic-beta"), betas);
    }
    headers
}

/// What an answer says it used that can't be read otherwise.
fn used(body: &[u8]) -> Option<Usage> {
    #[derive(Deserialize)]
    struct Used {
        usage: Tokens,
    }
    serde_json::from_slice(body).ok().map(|Used { usage }| usage.usage())
}
