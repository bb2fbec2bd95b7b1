//! What is made of a reply: the parts of a response, before they go their way.

use std::collections::VecDeque;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::account::Usage;
use super::connection::Piece;
use super::error::ApiError;
use super::limits::Headers;
use super::message::Message;
use super::reply::{End, Made, Reply, Script};
use super::request::Request;
use super::{ORGANISATION, answer, tokens};

/// The parts of a response.
pub(super) struct Product {
    pub(super) status: u16,
    content_type: String,
    /// The body in parts: an event each, when they are events.
    parts: Vec<String>,
    /// What is billed.
    pub(super) usage: Usage,
    headers: Headers,
}

impl Product {
    /// Makes what a reply says, with what it leaves open as a function of the request.
    pub(super) fn of(reply: &Reply, request: &Request, input_tokens: u64, request_id: &str) -> Self {
        match &reply.made {
            Made::Raw { status, content_type, body } => {
                Self { status: *status, ..Self::ok(content_type, vec![body.clone()], Usage::default()) }
            }
            Made::Error(error) => Self::error(error, request_id),
            Made::Message(script) => match message(script, request, input_tokens) {
                Err(error) => Self::error(&error, request_id),
                Ok(message) if request.stream() => {
                    let (events, usage) = message.events(script, request_id);
                    let parts = events.into_iter().map(|event| event.text).collect();
                    Self::ok("text/event-stream; charset=utf-8", parts, usage)
                }
                Ok(message) => Self::ok("application/json", vec![message.json().to_string()], message.usage),
            },
        }
    }

    /// An error.
    pub(super) fn error(error: &ApiError, request_id: &str) -> Self {
        let retry_after = error.retry_after.map(|seconds| ("retry-after".to_owned(), seconds.to_string()));
        let should_retry = error.should_retry.map(|should| ("x-should-retry".to_owned(), should.to_string()));
        let product = Self::ok("application/json", vec![error.body(request_id).to_string()], Usage::default());
        Self { status: error.status, headers: retry_after.into_iter().chain(should_retry).collect(), ..product }
    }

    fn ok(content_type: &str, parts: Vec<String>, usage: Usage) -> Self {
        Self { status: 200, content_type: content_type.to_owned(), parts, usage, headers: Headers::new() }
    }

    /// All headers of the response.
    pub(super) fn headers(&self, request_id: &str, limits: &Headers, more: &Headers) -> HeaderMap {
        let own = [
            ("content-type", self.content_type.as_str()),
            ("request-id", request_id),
            ("anthropic-organization-id", ORGANISATION),
        ];
        let mut headers = HeaderMap::with_capacity(own.len() + limits.len() + more.len());
        let given = self.headers.iter().chain(limits).chain(more).map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.into_iter().chain(given) {
            // What can't be sent is left out.
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        headers
    }

    /// The pieces of the body with the waits before them, and the length to announce.
    pub(super) fn pieces(self, reply: &Reply) -> (VecDeque<Piece>, Option<u64>) {
        let streamed = self.content_type.starts_with("text/event-stream");
        let length = self.parts.iter().map(String::len).sum::<usize>() as u64;
        let mut pieces: VecDeque<Piece> = match (reply.trickle, streamed && !reply.event_delay.is_zero()) {
            (Some((bytes, after)), _) => {
                let (all, bytes) = (Bytes::from(self.parts.concat()), bytes.max(1));
                let starts = (0..all.len()).step_by(bytes);
                starts.map(|start| Piece { after, bytes: all.slice(start..all.len().min(start + bytes)) }).collect()
            }
            (None, true) => {
                self.parts.into_iter().map(|part| Piece { after: reply.event_delay, bytes: part.into() }).collect()
            }
            (None, false) => [Piece { after: Duration::ZERO, bytes: self.parts.concat().into() }].into(),
        };
        if let End::Cut(bytes) | End::Reset(bytes) | End::Stall(bytes) = reply.end {
            let mut left = bytes;
            for piece in &mut pieces {
                piece.bytes.truncate(left);
                left -= piece.bytes.len();
            }
        }
        pieces.retain(|piece| !piece.bytes.is_empty());
        (pieces, (!streamed).then_some(length))
    }
}

/// The message of a script, with everything it leaves open as a function of the request.
fn message(script: &Script, request: &Request, input_tokens: u64) -> Result<Message, ApiError> {
    if let Some((_, error)) = script.error_after.as_ref().filter(|_| !request.stream()) {
        return Err(error.clone());
    }
    let (mut content, mut stop_reason, stop_sequence) = match &script.content {
        None => {
            let answer = answer::to(request)?;
            (answer.content, answer.stop_reason.to_owned(), answer.stop_sequence)
        }
        Some(content) => {
            let calls = content.iter().any(|block| block["type"] == "tool_use");
            (content.clone(), if calls { "tool_use" } else { "end_turn" }.to_owned(), None)
        }
    };
    for (index, block) in content.iter_mut().enumerate() {
        if block["type"] == "tool_use" && block.get("id").is_none() {
            block["id"] = format!("toolu_01{:018}{index:04}", request.number).into();
        }
    }
    if let Some(reason) = &script.stop_reason {
        stop_reason.clone_from(reason);
    }
    let usage = script.usage.unwrap_or_else(|| {
        let written = |block: &&Value| tokens::of_block(block);
        let thought = content.iter().filter(|block| block["type"] == "thinking");
        Usage {
            thinking_tokens: thought.map(|block| written(&block)).sum(),
            ..Usage::new(input_tokens, content.iter().map(|block| written(&block)).sum())
        }
    });
    let id = format!("msg_01{:022}", request.number);
    Ok(Message { id, model: request.model().to_owned(), content, stop_reason, stop_sequence, usage })
}
