//! Why a call of an adapter gave no answer.

use std::fmt;

use serde_json::{Map, Value, json};

use super::price::PriceRef;
use super::response::Usage;
use super::room::Room;
use crate::error::{Code, Failure};

/// Why one attempt gave no answer, and what is known of what it has used.
///
/// The [`Failure`] is what the workflow gets. The rest is for whoever keeps accounts and limits.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{failure}")]
pub struct LlmFailure {
    /// Code, message, whether another attempt may help, and when. Its cost is not set by adapters.
    pub failure: Box<Failure>,
    /// How far the request got.
    pub sent: Sent,
    /// What the provider said was used before the attempt failed.
    pub usage: Option<Usage>,
    /// The provider's name of the request, for its support.
    pub request_id: Option<String>,
    /// What the provider said it has left for this caller.
    pub room: Option<Box<Room>>,
}

/// Adds to a failure what was used and at which price, so that what it has cost can be computed anew.
pub fn bill(failure: Failure, model: &str, usage: &Usage, price: Option<&PriceRef>) -> Failure {
    let mut details = match &failure.details {
        Value::Object(details) => details.clone(),
        _ => Map::new(),
    };
    details.insert("model".into(), json!(model));
    details.insert("usage".into(), json!(usage));
    if let Some(price) = price {
        details.insert("price".into(), json!(price));
    }
    failure.details(details.into())
}

/// How far a request got: what decides whether it may be paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    /// The provider has not got it: nothing was used.
    No,
    /// The provider refused it: nothing was used.
    Refused,
    /// It was sent, and how it ended is not known: up to all that was asked for may have been used.
    Unknown,
    /// The provider answered, and [`LlmFailure::usage`] has what that used.
    Answered,
}

impl LlmFailure {
    /// A failure of a request that got as far as `sent`.
    pub fn new(sent: Sent, failure: Failure) -> Self {
        Self { failure: Box::new(failure), sent, usage: None, request_id: None, room: None }
    }

    /// Adds what was used.
    #[must_use]
    pub fn usage(mut self, usage: Option<Usage>) -> Self {
        self.usage = usage;
        self
    }

    /// Adds the provider's name of the request.
    #[must_use]
    pub fn request_id(mut self, id: Option<String>) -> Self {
        self.request_id = id;
        self
    }

    /// Adds what the provider has left.
    #[must_use]
    pub fn room(mut self, room: Option<Room>) -> Self {
        self.room = room.map(Box::new);
        self
    }

    /// The failure's code.
    pub fn code(&self) -> &Code {
        &self.failure.code
    }
}

/// A failure before anything was sent.
impl From<Failure> for LlmFailure {
    fn from(failure: Failure) -> Self {
        Self::new(Sent::No, failure)
    }
}

impl From<LlmFailure> for Failure {
    fn from(failure: LlmFailure) -> Self {
        *failure.failure
    }
}

impl Sent {
    /// The word for it, in logs and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::No => "not_sent",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Answered => "answered",
        }
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
