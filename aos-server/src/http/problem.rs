//! Errors of the API: problem documents (RFC 9457) with AOS's stable codes.

use std::borrow::Cow;

use aos_core::error::CodeInfo;
use aos_core::runs::StoreError;
use aos_core::{Code, Failure, codes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::redact;

/// What an error response holds, as `application/problem+json`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:aos:error:` followed by the code: names the kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "urn:aos:error:ERR_NOT_FOUND")]
    pub kind: String,
    /// What the code means, the same for every occurrence.
    #[schema(example = "There is no such thing.")]
    pub title: String,
    /// The HTTP status of the response.
    #[schema(example = 404)]
    pub status: u16,
    /// What was wrong this time, where, and what was expected.
    pub detail: String,
    /// The stable code: programs branch on it.
    #[schema(example = "ERR_NOT_FOUND")]
    pub code: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'static str>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Earliest useful time for another try, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The id of the request, also in the `x-request-id` header and on every log line of it.
    pub request_id: String,
    /// Every mistake found, when there can be several: each has a `path` and a `message`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub errors: Vec<Value>,
    /// Structured facts, depending on the code.
    #[serde(skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Object)]
    pub details: Value,
}

/// A failure on its way to becoming a problem document.
///
/// A handler returns it; the middleware writes the document, because only it knows the request's id.
#[derive(Clone, Debug)]
pub struct ApiError {
    failure: Box<Failure>,
    status: StatusCode,
}

/// What every handler returns.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// An error with the status of its code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Failure::new(code, message).into()
    }

    /// Overrides the status that the code's row of the table has.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// A run, workflow, skill… that is not there.
    pub fn not_found(what: &str, name: impl std::fmt::Display) -> Self {
        Self::new(codes::NOT_FOUND, format!("there is no {what} {name}"))
    }

    /// A malformed request.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(codes::INVALID_REQUEST, message)
    }

    /// The status it is answered with.
    pub const fn http_status(&self) -> StatusCode {
        self.status
    }

    /// The failure.
    pub fn failure(&self) -> &Failure {
        &self.failure
    }

    /// The document.
    pub fn problem(self, request_id: &str) -> Problem {
        let mut failure = *self.failure;
        // It may quote what a provider, a service or a caller sent.
        if let Cow::Owned(clean) = redact::text(&failure.message) {
            failure.message = clean;
        }
        redact::json(&mut failure.details);
        let info = failure.code.info();
        let (errors, details) = split_errors(failure.details);
        Problem {
            kind: format!("urn:aos:error:{}", failure.code),
            title: info.map_or_else(|| "A skill's own failure.".into(), |info| info.meaning.into()),
            status: self.status.as_u16(),
            detail: failure.message,
            code: failure.code.to_string(),
            action: info.map(|info| info.action),
            retryable: failure.retryable,
            retry_after_ms: failure.retry_after_ms,
            request_id: request_id.into(),
            errors,
            details,
        }
    }

    /// The response with the document as its body.
    pub fn respond(self, request_id: &str) -> Response {
        let problem = self.problem(request_id);
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // A problem is plain data with string keys; serialising it can't fail.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(ms) = problem.retry_after_ms {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"aos\""));
        }
        response
    }
}

/// A list of mistakes within a failure's details stands in `errors`, where RFC 9457's readers look for it.
fn split_errors(mut details: Value) -> (Vec<Value>, Value) {
    let Some(object) = details.as_object_mut() else { return (Vec::new(), details) };
    for name in ["errors", "mistakes"] {
        if let Some(Value::Array(errors)) = object.remove(name) {
            let rest = if object.is_empty() { Value::Null } else { details };
            return (errors, rest);
        }
    }
    (Vec::new(), details)
}

/// The status of a code; a skill's own code is the skill's failure.
pub fn status_of(code: &Code) -> StatusCode {
    let number = code.info().map_or(500, |info: &CodeInfo| info.http_status);
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        Self { status: status_of(&failure.code), failure: Box::new(failure) }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Failure::from(error).into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_code_becomes_a_document_with_its_status() {
        for info in codes::ALL {
            let code = Code::custom(info.code);
            let problem = ApiError::new(code, "it went wrong").problem("req-1");
            assert_eq!(problem.status, info.http_status, "{}", info.code);
            assert!((400..600).contains(&problem.status), "{}", info.code);
            assert_eq!(problem.kind, format!("urn:aos:error:{}", info.code));
            assert_eq!(problem.retryable, info.retryable);
        }
    }

    #[test]
    fn what_it_quotes_has_no_secrets() {
        let quoted = json!({"answer": "invalid x-api-key: sk-ant-api03-canary_0123456789"});
        let failure = Failure::new(codes::LLM_AUTH_FAILED, "refused sk-ant-api03-canary_0123456789").details(quoted);
        let problem = ApiError::from(failure).problem("req-1");
        assert_eq!(problem.detail, "refused [redacted]");
        assert!(!problem.details.to_string().contains("canary"), "{}", problem.details);
    }

    #[test]
    fn lists_of_mistakes_stand_in_errors() {
        for (details, errors, rest) in [
            (json!({"mistakes": [{"path": "/a"}]}), json!([{"path": "/a"}]), Value::Null),
            (json!({"errors": [1], "more": 2}), json!([1]), json!({"more": 2})),
            (json!({"more": 2}), json!([]), json!({"more": 2})),
            (json!(null), json!([]), json!(null)),
        ] {
            let failure = Failure::new(codes::INVALID_DEFINITION, "wrong").details(details);
            let problem = ApiError::from(failure).problem("req-1");
            assert_eq!(Value::Array(problem.errors), errors);
            assert_eq!(problem.details, rest);
        }
    }
}
