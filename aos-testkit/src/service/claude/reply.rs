//! Answers: what the model makes, and what happens to it on its way.

use std::time::Duration;

use serde_json::{Value, json};

use super::account::Usage;
use super::error::ApiError;

/// An answer to a request: what the model makes, and what happens to that on its way to the client.
///
/// What was made is billed, whether it arrives or not: `Reply::text("hi").reset()` costs what `Reply::text("hi")` does.
///
/// ```
/// use std::time::Duration;
/// use aos_testkit::service::claude::{ApiError, Reply};
///
/// let slow = Reply::text("Paris").delay(Duration::from_secs(2));
/// let busy = Reply::error(ApiError::overloaded().retry_after(1));
/// let lost = Reply::echo().cut_after(100);
/// # let _ = (slow, busy, lost);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub(super) made: Made,
    pub(super) headers: Vec<(String, String)>,
    pub(super) delay: Option<Duration>,
    pub(super) event_delay: Duration,
    pub(super) trickle: Option<(usize, Duration)>,
    pub(super) end: End,
}

/// What the model makes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Made {
    Message(Script),
    Error(ApiError),
    Raw { status: u16, content_type: String, body: String },
}

/// A message, as far as it is not a function of the request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Script {
    pub(super) content: Option<Vec<Value>>,
    pub(super) stop_reason: Option<String>,
    pub(super) usage: Option<Usage>,
    pub(super) usage_in_delta_only: bool,
    pub(super) extra_events: Vec<(String, Value)>,
    pub(super) error_after: Option<(usize, ApiError)>,
}

/// How the answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As it should.
    Whole,
    /// After so many bytes of the body the connection is closed.
    Cut(usize),
    /// After so many bytes of the body the connection is reset.
    Reset(usize),
    /// After so many bytes of the body nothing more comes.
    Stall(usize),
    /// Without an answer the connection is closed.
    NoneClosed,
    /// Without an answer the connection is reset.
    NoneReset,
}

impl Reply {
    const fn of(made: Made) -> Self {
        Self { made, headers: Vec::new(), delay: None, event_delay: Duration::ZERO, trickle: None, end: End::Whole }
    }

    /// The default answer: a function of the request, as [`MockClaude`](super::MockClaude) says.
    pub fn echo() -> Self {
        Self::of(Made::Message(Script::default()))
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::blocks(vec![json!({"type": "text", "text": text.into()})])
    }

    /// A call of one tool.
    pub fn tool_use(name: &str, input: Value) -> Self {
        Self::blocks(vec![json!({"type": "tool_use", "name": name, "input": input})])
    }

    /// Content blocks of any type, known or not. The stop reason is `tool_use` when one of them is of that type, and
    /// `end_turn` otherwise. They are given as they are, whatever `max_tokens` and `stop_sequences` say; a `tool_use`
    /// without an `id` gets one.
    pub fn blocks(content: Vec<Value>) -> Self {
        Self::of(Made::Message(Script { content: Some(content), ..Script::default() }))
    }

    /// An error.
    pub const fn error(error: ApiError) -> Self {
        Self::of(Made::Error(error))
    }

    /// Whatever else a server may send, such as the 502 page of a proxy: `Reply::raw(502, "text/html", "<html>…")`.
    pub fn raw(status: u16, content_type: &str, body: impl Into<String>) -> Self {
        Self::of(Made::Raw { status, content_type: content_type.to_owned(), body: body.into() })
    }

    /// Sets the stop reason, known or not.
    #[must_use]
    pub fn stop_reason(self, reason: &str) -> Self {
        self.script(|script| script.stop_reason = Some(reason.to_owned()))
    }

    /// Sets the usage in place of the mock's own count.
    #[must_use]
    pub fn usage(self, usage: Usage) -> Self {
        self.script(|script| script.usage = Some(usage))
    }

    /// Streams the whole usage in `message_delta` only: `message_start` has zeros, as from some gateways.
    #[must_use]
    pub fn usage_in_delta_only(self) -> Self {
        self.script(|script| script.usage_in_delta_only = true)
    }

    /// Streams one more event after `message_start`, known or not.
    #[must_use]
    pub fn extra_event(self, name: &str, data: Value) -> Self {
        self.script(|script| script.extra_events.push((name.to_owned(), data)))
    }

    /// Streams an `error` event in place of everything after the first `events` events. Billed is what came before it.
    /// An answer that is not streamed is the error itself.
    #[must_use]
    pub fn error_after(self, events: usize, error: ApiError) -> Self {
        self.script(|script| script.error_after = Some((events, error)))
    }

    /// Sends one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends the headers only after this time, in place of the mock's latency.
    #[must_use]
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Waits so long before each event of a stream.
    #[must_use]
    pub const fn event_delay(mut self, delay: Duration) -> Self {
        self.event_delay = delay;
        self
    }

    /// Sends the body in pieces of so many bytes, with a wait before each.
    #[must_use]
    pub const fn trickle(mut self, bytes: usize, delay: Duration) -> Self {
        self.trickle = Some((bytes, delay));
        self
    }

    /// Closes the connection after so many bytes of the body.
    #[must_use]
    pub const fn cut_after(self, bytes: usize) -> Self {
        self.end(End::Cut(bytes))
    }

    /// Resets the connection after so many bytes of the body. What was sent before may be lost with it.
    #[must_use]
    pub const fn reset_after(self, bytes: usize) -> Self {
        self.end(End::Reset(bytes))
    }

    /// Sends nothing more after so many bytes of the body, and keeps the connection open.
    #[must_use]
    pub const fn stall_after(self, bytes: usize) -> Self {
        self.end(End::Stall(bytes))
    }

    /// Closes the connection in place of an answer, once the request was read (and the delay is over).
    #[must_use]
    pub const fn close(self) -> Self {
        self.end(End::NoneClosed)
    }

    /// Resets the connection in place of an answer, once the request was read (and the delay is over).
    #[must_use]
    pub const fn reset(self) -> Self {
        self.end(End::NoneReset)
    }

    const fn end(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// Changes the message; answers of other kinds have none and stay as they are.
    fn script(mut self, change: impl FnOnce(&mut Script)) -> Self {
        if let Made::Message(script) = &mut self.made {
            change(script);
        }
        self
    }
}
