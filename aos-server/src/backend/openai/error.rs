//! Errors of the servers as failures. Statuses are all that they agree on.

use aos_core::llm::Sent;
use aos_core::{Code, codes};
use serde_json::Value;

use crate::backend::llm_http::Refusal;

/// What an answer means that is not success.
pub(super) fn of_status(status: u16, body: &[u8]) -> Refusal {
    let said: Option<Value> = serde_json::from_slice(body).ok();
    match said.filter(Value::is_object) {
        Some(said) => {
            let (kind, words) = told(&said);
            let (code, sent) = classify(status, kind.as_deref(), &words);
            Refusal { code, sent, status: Some(status), kind, words, request_id: None }
        }
        None => {
            let words = String::from_utf8_lossy(body).into_owned();
            let (code, sent) = classify(status, None, &words);
            // Of a proxy or a gateway: the request may have got through before that failed.
            let sent = if status >= 500 { Sent::Unknown } else { sent };
            Refusal { code, sent, status: Some(status), kind: None, words, request_id: None }
        }
    }
}

/// What an error inside a stream means.
pub(super) fn in_stream(said: &Value, began: bool) -> Refusal {
    let (kind, words) = told(said);
    let status = said["error"]["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
    let (code, sent) = classify(status, kind.as_deref(), &words);
    // What was used is told at the end only, which does not come.
    let sent = if began { Sent::Unknown } else { sent };
    Refusal { code, sent, status: None, kind, words, request_id: None }
}

/// The kind of error and the words: OpenAI's form, that of plain messages (Ollama), and that of FastAPI (vLLM).
fn told(said: &Value) -> (Option<String>, String) {
    let error = &said["error"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let kind = text(&error["code"]).or_else(|| text(&error["type"])).or_else(|| text(&said["type"]));
    let words = [&error["message"], error, &said["message"], &said["detail"]].into_iter().find_map(text);
    (kind, words.unwrap_or_else(|| said.to_string()))
}

fn classify(status: u16, kind: Option<&str>, words: &str) -> (Code, Sent) {
    let words = words.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    let code = match (status, kind) {
        (_, Some("insufficient_quota")) | (402, _) => codes::LLM_SPEND_LIMIT,
        (_, Some("context_length_exceeded" | "exceed_context_size_error")) => codes::LLM_CONTEXT_TOO_LONG,
        (_, Some("content_filter" | "content_policy_violation")) => codes::LLM_CONTENT_BLOCKED,
        (400 | 422, _) if has(&["context length", "context size", "context window"]) => codes::LLM_CONTEXT_TOO_LONG,
        (401, _) => codes::LLM_AUTH_FAILED,
        (403, _) => codes::LLM_PERMISSION_DENIED,
        (404, _) if has(&["model"]) => codes::LLM_INVALID_MODEL,
        (408 | 504, _) => codes::LLM_TIMEOUT,
        (413, _) => codes::LLM_REQUEST_TOO_LARGE,
        (429, _) => codes::LLM_RATE_LIMITED,
        (409, _) => codes::LLM_PROVIDER_ERROR,
        (400..500, _) => codes::LLM_INVALID_REQUEST,
        (503 | 529, _) => codes::LLM_OVERLOADED,
        _ => codes::LLM_PROVIDER_ERROR,
    };
    (code, if status == 504 { Sent::Unknown } else { Sent::Refused })
}
