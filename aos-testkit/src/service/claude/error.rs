//! Errors in the API's words.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Map, Value, json};

/// An error answer. Its body is `{"type": "error", "error": {"type", "message", "details"?}, "request_id"}`.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// `error.type`.
    pub kind: Cow<'static, str>,
    /// `error.message`.
    pub message: String,
    /// `error.details.error_code`: a stable name of the cause.
    pub code: Option<Cow<'static, str>>,
    /// The header `retry-after`, in seconds.
    pub retry_after: Option<u64>,
    /// The header `x-should-retry`, which the official SDKs obey before anything else.
    pub should_retry: Option<bool>,
}

impl ApiError {
    /// An error of any status and type.
    pub fn new(status: u16, kind: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let (kind, message) = (kind.into(), message.into());
        Self { status, kind, message, code: None, retry_after: None, should_retry: None }
    }

    /// 400: something is wrong with the request.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", message)
    }

    /// 401: no valid key.
    pub fn authentication(message: impl Into<String>) -> Self {
        Self::new(401, "authentication_error", message)
    }

    /// 402: something is wrong with the payment.
    pub fn billing() -> Self {
        let message = "There is an issue with your billing or payment information. Please check your payment details.";
        Self::new(402, "billing_error", message)
    }

    /// 403: the key may not do this.
    pub fn permission() -> Self {
        Self::new(403, "permission_error", "Your API key does not have permission to use the specified resource.")
    }

    /// 404: no such path, model or object.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "not_found_error", message)
    }

    /// 409: the request meets another one.
    pub fn conflict() -> Self {
        Self::new(409, "conflict_error", "The request conflicts with the current state of the resource.")
    }

    /// 413: the request has more than 32 MiB.
    pub fn request_too_large() -> Self {
        Self::new(413, "request_too_large", "Request exceeds the maximum size")
    }

    /// 429 with `retry-after`: the organisation's rate limit.
    pub fn rate_limit(retry_after: Duration) -> Self {
        let message = "This request would exceed your organization's rate limit. Please try again later.";
        // A retry that comes earlier than the header says fails: rounded up.
        let seconds = retry_after.as_micros().div_ceil(1_000_000);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        Self::new(429, "rate_limit_error", message).retry_after(seconds)
    }

    /// 429 without `retry-after`: the month's spend limit of the organisation's tier. It stays until the month ends.
    pub fn spend_limit() -> Self {
        let message = "You have reached your API usage limits: your organization has crossed its monthly API usage \
                       threshold, set based on your organization's API tier. You will regain access on 2027-01-01 at \
                       00:00 UTC.";
        Self::new(429, "rate_limit_error", message).code("enforced_spend_limit_reached")
    }

    /// 400: a spend limit that the organisation has set itself.
    pub fn own_spend_limit() -> Self {
        let message = "You have reached your specified API usage limits. You will regain access on 2027-01-01 at \
                       00:00 UTC.";
        Self::invalid_request(message)
    }

    /// 500: something is wrong with the provider.
    pub fn internal() -> Self {
        Self::new(500, "api_error", "Internal server error")
    }

    /// 503: a part of the provider is down.
    pub fn unavailable() -> Self {
        Self::new(503, "api_error", "Service unavailable")
    }

    /// 504: the answer took too long to make.
    pub fn timeout() -> Self {
        Self::new(504, "timeout_error", "Request timed out")
    }

    /// 529: too much to do for all users together.
    pub fn overloaded() -> Self {
        Self::new(529, "overloaded_error", "Overloaded")
    }

    /// One of each error that the API documents or its SDKs have a class for, with its status and type.
    pub fn documented() -> Vec<Self> {
        vec![
            Self::invalid_request("messages: at least one message is required"),
            Self::own_spend_limit(),
            Self::authentication("invalid x-api-key"),
            Self::billing(),
            Self::permission(),
            Self::not_found("model: claude-none"),
            Self::conflict(),
            Self::request_too_large(),
            Self::rate_limit(Duration::from_secs(1)),
            Self::spend_limit(),
            Self::internal(),
            Self::unavailable(),
            Self::timeout(),
            Self::overloaded(),
        ]
    }

    /// Sets `error.details.error_code`.
    #[must_use]
    pub fn code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Sets the header `retry-after`, in seconds.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Sets the header `x-should-retry`.
    #[must_use]
    pub const fn should_retry(mut self, should_retry: bool) -> Self {
        self.should_retry = Some(should_retry);
        self
    }

    /// The body of the answer, which is also the data of an `error` event.
    pub(super) fn body(&self, request_id: &str) -> Value {
        let mut error = Map::new();
        error.insert("type".into(), self.kind.as_ref().into());
        error.insert("message".into(), self.message.as_str().into());
        if let Some(code) = &self.code {
            error.insert("details".into(), json!({"error_code": code}));
        }
        json!({"type": "error", "error": error, "request_id": request_id})
    }
}
