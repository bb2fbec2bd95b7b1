//! Errors of the API as failures: one table.

use aos_core::llm::Sent;
use aos_core::{Code, codes};
use serde::Deserialize;
use serde_json::Value;

use crate::backend::llm_http::Refusal;

/// One kind of error.
struct Row {
    /// The status that it comes with.
    status: u16,
    /// The API's word for it.
    kind: &'static str,
    /// Our code.
    code: Code,
    /// Whether the request was refused, or may have been worked on.
    sent: Sent,
}

const fn row(status: u16, kind: &'static str, code: Code, sent: Sent) -> Row {
    Row { status, kind, code, sent }
}

/// The errors that the API documents, and those that the SDKs know of (408, 409), as of 2026-11-26.
const TABLE: &[Row] = &[
    row(400, "invalid_request_error", codes::LLM_INVALID_REQUEST, Sent::Refused),
    row(401, "authentication_error", codes::LLM_AUTH_FAILED, Sent::Refused),
    row(402, "billing_error", codes::LLM_SPEND_LIMIT, Sent::Refused),
    row(403, "permission_error", codes::LLM_PERMISSION_DENIED, Sent::Refused),
    row(404, "not_found_error", codes::LLM_INVALID_MODEL, Sent::Refused),
    row(408, "request_timeout", codes::LLM_TIMEOUT, Sent::Refused),
    row(409, "conflict_error", codes::LLM_PROVIDER_ERROR, Sent::Refused),
    row(413, "request_too_large", codes::LLM_REQUEST_TOO_LARGE, Sent::Refused),
    row(429, "rate_limit_error", codes::LLM_RATE_LIMITED, Sent::Refused),
    row(500, "api_error", codes::LLM_PROVIDER_ERROR, Sent::Refused),
    // It was being worked on when the time was up.
    row(504, "timeout_error", codes::LLM_TIMEOUT, Sent::Unknown),
    row(529, "overloaded_error", codes::LLM_OVERLOADED, Sent::Refused),
];

/// What the API has one kind of error for, and tells apart only by its words (2026-11-26).
const BY_WORDS: &[(&str, &str, Code)] = &[
    ("invalid_request_error", "api usage limits", codes::LLM_SPEND_LIMIT),
    ("invalid_request_error", "credit balance is too low", codes::LLM_SPEND_LIMIT),
    ("invalid_request_error", "prompt is too long", codes::LLM_CONTEXT_TOO_LONG),
    ("invalid_request_error", "exceed context limit", codes::LLM_CONTEXT_TOO_LONG),
    ("invalid_request_error", "content filtering policy", codes::LLM_CONTENT_BLOCKED),
    ("rate_limit_error", "api usage limits", codes::LLM_SPEND_LIMIT),
];

/// `error.details.error_code` of a 429 that means the monthly cap on spending.
const SPEND_CAP: &str = "enforced_spend_limit_reached";

/// The body of an error.
#[derive(Debug, Deserialize)]
pub(super) struct Body {
    error: Said,
    #[serde(default)]
    request_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Said {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Value,
}

/// What an answer means that is not success.
pub(super) fn of_status(status: u16, body: &[u8]) -> Refusal {
    match serde_json::from_slice(body) {
        Ok(Body { error, request_id }) => {
            let (code, sent) = classify(Some(status), &error);
            Refusal { code, sent, status: Some(status), kind: Some(error.kind), words: error.message, request_id }
        }
        // It comes from something between the API and us.
        Err(_) => {
            let (code, sent) = from_between(status);
            let words = String::from_utf8_lossy(body).into_owned();
            Refusal { code, sent, status: Some(status), kind: None, words, request_id: None }
        }
    }
}

/// What an error inside a stream means. Before the answer began it is a refusal.
pub(super) fn in_stream(Body { error, request_id }: Body, began: bool) -> Refusal {
    let (code, sent) = classify(None, &error);
    let sent = if began { Sent::Answered } else { sent };
    Refusal { code, sent, status: None, kind: Some(error.kind), words: error.message, request_id }
}

fn classify(status: Option<u16>, error: &Said) -> (Code, Sent) {
    if error.details.get("error_code").is_some_and(|code| code == SPEND_CAP) {
        return (codes::LLM_SPEND_LIMIT, Sent::Refused);
    }
    let words = error.message.to_lowercase();
    if let Some((.., code)) = BY_WORDS.iter().find(|(kind, part, _)| *kind == error.kind && words.contains(part)) {
        return (code.clone(), Sent::Refused);
    }
    let by_status = || TABLE.iter().find(|row| Some(row.status) == status);
    let by_kind = || TABLE.iter().find(|row| row.kind == error.kind);
    // `invalid_request_error` comes with statuses of other errors too, which say more then.
    let row =
        if error.kind == "invalid_request_error" { by_status().or_else(by_kind) } else { by_kind().or_else(by_status) };
    match (row, status) {
        (Some(row), _) => (row.code.clone(), row.sent),
        (None, Some(400..500)) => (codes::LLM_INVALID_REQUEST, Sent::Refused),
        (None, _) => (codes::LLM_PROVIDER_ERROR, Sent::Refused),
    }
}

/// What an answer means that the API did not write: of a proxy, a balancer, a gateway.
fn from_between(status: u16) -> (Code, Sent) {
    match status {
        401 | 403 => (codes::LLM_PERMISSION_DENIED, Sent::Refused),
        407 => (codes::LLM_UNREACHABLE, Sent::Refused),
        408 => (codes::LLM_TIMEOUT, Sent::Refused),
        413 => (codes::LLM_REQUEST_TOO_LARGE, Sent::Refused),
        429 => (codes::LLM_RATE_LIMITED, Sent::Refused),
        400..500 => (codes::LLM_INVALID_REQUEST, Sent::Refused),
        // The request may have got through before the one between failed.
        503 | 529 => (codes::LLM_OVERLOADED, Sent::Unknown),
        504 => (codes::LLM_TIMEOUT, Sent::Unknown),
        _ => (codes::LLM_PROVIDER_ERROR, Sent::Unknown),
    }
}
