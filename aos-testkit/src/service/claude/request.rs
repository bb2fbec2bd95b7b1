//! A request as the mock got it.

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::body::Bytes;
use serde_json::Value;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/messages/count_tokens`
    CountTokens,
    /// `GET /v1/models`
    Models,
    /// `GET /v1/models/{id}`
    Model,
    /// Anything else.
    Unknown,
}

/// A request as the mock got it. Its key shows only by the label that it was accepted under.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) number: u64,
    pub(super) endpoint: Endpoint,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) key: Option<Arc<str>>,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Bytes,
    pub(super) body: Value,
}

impl Request {
    /// Counts all requests of the mock, from 1.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// What it is for.
    pub const fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The path it came to.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The label of the key that it came with; `None` when that is not accepted.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// A header's value, when it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; null when there is none, or when it is no JSON.
    pub const fn body(&self) -> &Value {
        &self.body
    }

    /// The body as it came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `model`, or nothing.
    pub fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or_default()
    }

    /// Whether events are asked for.
    pub fn stream(&self) -> bool {
        self.body["stream"].as_bool().unwrap_or(false)
    }

    /// The last text in the last message that the user sent: of a text block, or of a tool's result.
    pub fn last_text(&self) -> &str {
        let messages = self.body["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let last = messages.iter().rev().find(|message| message["role"] == "user");
        last.and_then(|message| text_of(&message["content"])).unwrap_or_default()
    }
}

/// The last text in `content`, which is a text or a list of blocks.
fn text_of(content: &Value) -> Option<&str> {
    match content {
        Value::String(text) => Some(text),
        Value::Array(blocks) => blocks.iter().rev().find_map(|block| match block["type"].as_str() {
            Some("tool_result") => text_of(&block["content"]),
            _ => block["text"].as_str(),
        }),
        _ => None,
    }
}
