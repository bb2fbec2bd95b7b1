//! A provider's API: its place, its keys, and the one way to ask and to listen there.

use std::time::SystemTime;

use aos_core::llm::{Deltas, LlmFailure, Room, Sent, Usage};
use aos_core::time::Timestamp;
use aos_core::trace::TraceParent;
use aos_core::{Failure, codes};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Body, Method, Request};
use serde_json::json;
use tokio_util::bytes::Bytes;
use url::Url;

use super::failure::{Refusal, answered, excerpt, named, shown};
use super::headers::{self, retry_after, should_retry};
use super::keys::{Key, Keys};
use super::sse::Sse;
use super::transport::{Reply, Timeouts, Transport, Trouble};
use crate::config::KeySource;
use crate::telemetry;

/// No event of a stream is larger. Results of a provider's own tools come in one.
const MAX_EVENT: usize = 16 * 1024 * 1024;

/// What is particular to a provider.
pub(crate) struct Provider {
    /// Its name in messages.
    pub who: &'static str,
    /// The setting that says where it is.
    pub setting: &'static str,
    /// The header that a key goes into.
    pub key_header: HeaderName,
    /// What goes before the key there.
    pub key_scheme: &'static str,
    /// What an answer means that is not success: its status, and the beginning of its body.
    pub refusal: fn(u16, &[u8]) -> Refusal,
    /// What the headers of an answer say of its rate limits.
    pub room: fn(&HeaderMap) -> Option<Room>,
}

/// A provider's API.
pub(crate) struct Api {
    provider: Provider,
    keys: Option<Keys>,
    transport: Transport,
}

/// One request.
pub(crate) struct Call<'a> {
    /// Where it goes.
    pub url: &'a Url,
    /// Headers beside that of the key.
    pub headers: HeaderMap,
    /// JSON.
    pub body: Vec<u8>,
    /// Whether the answer is streamed.
    pub streamed: bool,
    /// When the answer is no longer wanted.
    pub deadline: Option<Timestamp>,
    /// The span it is asked within.
    pub trace: Option<TraceParent>,
}

/// An answer that is put together event by event.
pub(crate) trait Stream {
    /// Takes the data of the next event; passes on what it adds to the answer.
    fn event(&mut self, data: &[u8], deltas: Option<&Deltas>) -> Result<(), Broken>;
    /// Takes note that no more events come; whether the answer is complete with that.
    fn end(&mut self) -> bool;
    /// Whether the answer is complete.
    fn is_done(&self) -> bool;
    /// Whether what is known of the usage is that of the whole answer.
    fn has_ended(&self) -> bool;
    /// Whether a part of the answer was passed on.
    fn is_shown(&self) -> bool;
    /// What was used, as far as it was reported.
    fn usage(&self) -> Option<Usage>;
}

/// Why a stream can't be read on.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The provider says that something went wrong.
    Refused(Refusal),
    /// It is not what the provider would send.
    Malformed(String),
}

impl Api {
    /// An API that is spoken to with `keys`, or without any.
    ///
    /// # Errors
    /// Keys that can't be read; TLS that can't be set up on this machine.
    pub(crate) fn new(provider: Provider, keys: Option<&KeySource>, timeouts: Timeouts) -> Result<Self, Failure> {
        let keys = keys.map(|keys| Keys::open(keys, provider.key_scheme)).transpose()?;
        Ok(Self { provider, keys, transport: Transport::new(timeouts)? })
    }

    /// Asks; gives the head of an answer that is success. When the key is refused and there is another one, the request
    /// is sent once more with that.
    pub(crate) async fn ask(&self, call: Call<'_>) -> Result<Reply, LlmFailure> {
        let mut reply = self.send(call).await.map_err(|trouble| self.trouble(trouble))?;
        let status = reply.status();
        if (200..300).contains(&status) {
            return Ok(reply);
        }
        let failure = if (300..400).contains(&status) {
            self.redirected(status, reply.headers())
        } else {
            let body = reply.error_body().await;
            let refusal = (self.provider.refusal)(status, &body);
            self.advised(self.refused(refusal), reply.headers())
        };
        Err(self.head(&reply).of(failure))
    }

    /// What is worth keeping of an answer's head.
    pub(crate) fn head(&self, reply: &Reply) -> Head {
        let headers = reply.headers();
        Head { request_id: headers::request_id(headers), room: (self.provider.room)(headers) }
    }

    /// The whole body of an answer.
    pub(crate) async fn body(&self, mut reply: Reply) -> Result<Vec<u8>, LlmFailure> {
        reply.body().await.map_err(|trouble| self.trouble(trouble))
    }

    /// Reads a stream until the answer is complete. A failure has what is known of the usage.
    pub(crate) async fn listen<S: Stream>(
        &self,
        mut reply: Reply,
        stream: &mut S,
        deltas: Option<&Deltas>,
    ) -> Result<(), LlmFailure> {
        let failure = match self.read(&mut reply, stream, deltas).await {
            Ok(()) => {
                reply.finish().await;
                return Ok(());
            }
            Err(failure) => failure.usage(stream.usage()),
        };
        let failure = if stream.has_ended() { answered(failure, stream.usage()) } else { failure };
        Err(if stream.is_shown() { shown(failure) } else { failure })
    }

    async fn read<S: Stream>(
        &self,
        reply: &mut Reply,
        stream: &mut S,
        deltas: Option<&Deltas>,
    ) -> Result<(), LlmFailure> {
        let mut sse = Sse::new(MAX_EVENT);
        loop {
            let Some(chunk) = reply.chunk().await.map_err(|trouble| self.trouble(trouble))? else {
                let why = "the stream ended before the answer did".to_owned();
                return if stream.end() { Ok(()) } else { Err(self.trouble(Trouble::BrokeOff(why))) };
            };
            hear(&mut sse, stream, &chunk, deltas).map_err(|broken| match broken {
                Broken::Refused(refusal) => self.refused(refusal),
                Broken::Malformed(why) => self.unreadable(&why, b""),
            })?;
            if stream.is_done() {
                return Ok(());
            }
        }
    }

    /// The failure for an answer that is not what the provider would give; `usage` is what it says it used, and `seen`
    /// whether somebody has seen a part of it.
    pub(crate) fn unusable(&self, why: &str, body: &[u8], usage: Option<Usage>, seen: bool) -> LlmFailure {
        let failure = answered(self.unreadable(why, body), usage);
        if seen { shown(failure) } else { failure }
    }

    fn unreadable(&self, why: &str, body: &[u8]) -> LlmFailure {
        let start = String::from_utf8_lossy(body.get(..body.len().min(8_192)).unwrap_or_default()).into_owned();
        let start = excerpt(&self.redact(start));
        let start = if start.is_empty() { start } else { format!("; it begins with: {start}") };
        let why = excerpt(&self.redact(why.to_owned()));
        let message = format!("the answer of {} can't be used: {why}{start}", self.provider.who);
        LlmFailure::new(Sent::Unknown, Failure::new(codes::LLM_INVALID_RESPONSE, message))
    }

    async fn send(&self, call: Call<'_>) -> Result<Reply, Trouble> {
        let until = self.transport.until(call.streamed, call.deadline)?;
        let body = Bytes::from(call.body);
        let request = |key: Option<&Key>| {
            let mut request = Request::new(Method::POST, call.url.clone());
            let headers = request.headers_mut();
            headers.clone_from(&call.headers);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if let Some(trace) = call.trace.and_then(telemetry::header) {
                headers.insert(telemetry::TRACEPARENT, trace);
            }
            if let Some(key) = key {
                headers.insert(self.provider.key_header.clone(), key.header());
            }
            *request.body_mut() = Some(Body::from(body.clone()));
            request
        };
        let Some((keys, key)) = self.keys.as_ref().and_then(|keys| Some((keys, keys.pick()?))) else {
            return self.transport.send(request(None), until).await;
        };
        let reply = self.transport.send(request(Some(&key)), until).await?;
        if reply.status() != 401 {
            return Ok(reply);
        }
        let Some(other) = keys.refused(&key) else { return Ok(reply) };
        tracing::warn!(provider = self.provider.who, "an API key was refused; another one is tried");
        reply.finish().await;
        let reply = self.transport.send(request(Some(&other)), until).await?;
        if reply.status() == 401 {
            keys.refused(&other);
        }
        Ok(reply)
    }

    fn trouble(&self, trouble: Trouble) -> LlmFailure {
        let mut failure = trouble.into_failure(self.provider.who);
        failure.failure.message = self.redact(std::mem::take(&mut failure.failure.message));
        failure
    }

    fn refused(&self, refusal: Refusal) -> LlmFailure {
        refusal.into_failure(self.provider.who, |text| self.redact(text))
    }

    /// The failure for a redirect: none is followed, because the key is for one place.
    fn redirected(&self, status: u16, headers: &HeaderMap) -> LlmFailure {
        let target = headers::text(headers, LOCATION.as_str()).unwrap_or("nowhere");
        // Without its query, which may hold anything.
        let target = target.split(['?', '#']).next().unwrap_or_default();
        let target = excerpt(&self.redact(target.to_owned()));
        let Provider { who, setting, .. } = self.provider;
        let message = format!(
            "{who} answered with {status}, a redirect to {target}, which is not followed: set {setting} if the API is \
             there"
        );
        let failure = Failure::new(codes::LLM_UNREACHABLE, message).retryable(false);
        LlmFailure::new(Sent::Refused, failure.details(json!({"status": status})))
    }

    /// Takes over what the provider says of another attempt.
    fn advised(&self, mut failure: LlmFailure, headers: &HeaderMap) -> LlmFailure {
        // Whatever a header says: money that is used up does not come back by asking.
        if *failure.code() == codes::LLM_SPEND_LIMIT {
            return failure;
        }
        failure.failure.retryable = should_retry(headers).unwrap_or(failure.failure.retryable);
        if failure.failure.retryable {
            let after = retry_after(headers, SystemTime::now());
            failure.failure.retry_after_ms = after.and_then(|after| u64::try_from(after.as_millis()).ok());
        }
        failure
    }

    fn redact(&self, text: String) -> String {
        match &self.keys {
            Some(keys) => keys.redact(text),
            None => text,
        }
    }
}

/// Takes the next piece of a stream.
pub(crate) fn hear<S: Stream>(
    sse: &mut Sse,
    stream: &mut S,
    piece: &[u8],
    deltas: Option<&Deltas>,
) -> Result<(), Broken> {
    sse.feed(piece);
    while !stream.is_done() {
        let event = sse.next().map_err(|_| Broken::Malformed("an event of it is too large".into()))?;
        let Some(data) = event else { break };
        stream.event(data, deltas)?;
    }
    Ok(())
}

/// What is worth keeping of an answer's head.
pub(crate) struct Head {
    /// The provider's name of the request.
    pub request_id: Option<String>,
    /// What its rate limits leave.
    pub room: Option<Room>,
}

impl Head {
    /// The failure, with what the head says.
    pub(crate) fn of(&self, failure: LlmFailure) -> LlmFailure {
        named(failure, self.request_id.as_deref()).room(self.room)
    }
}
