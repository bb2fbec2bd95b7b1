//! Every error of the Messages API, each plain, before a stream, and inside one.

use aos_core::llm::{LlmAdapter, Sent, Usage};
use aos_core::{Code, codes};
use serde_json::{Value, json};

use crate::support::*;

struct Case {
    status: u16,
    kind: &'static str,
    message: &'static str,
    details: Value,
    headers: &'static [(&'static str, &'static str)],
    code: Code,
    sent: Sent,
    /// Milliseconds, when it may be tried again.
    retry: Option<Option<u64>>,
}

const NOW: Option<Option<u64>> = Some(None);
const NEVER: Option<Option<u64>> = None;
const IN_7_S: Option<Option<u64>> = Some(Some(7_000));

fn cases() -> Vec<Case> {
    let case = |status, kind, message, headers, code, sent, retry| Case {
        status,
        kind,
        message,
        details: Value::Null,
        headers,
        code,
        sent,
        retry,
    };
    use Sent::{Refused, Unknown};
    const NONE: &[(&str, &str)] = &[];
    const AFTER: &[(&str, &str)] = &[("retry-after", "7")];
    let mut cases = vec![
        case(400, "invalid_request_error", "messages: at least one", NONE, codes::LLM_INVALID_REQUEST, Refused, NEVER),
        case(
            400,
            "invalid_request_error",
            "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
            &[("x-should-retry", "true"), ("retry-after", "7")],
            codes::LLM_SPEND_LIMIT,
            Refused,
            NEVER,
        ),
        case(
            400,
            "invalid_request_error",
            "You have reached your specified workspace API usage limits.",
            NONE,
            codes::LLM_SPEND_LIMIT,
            Refused,
            NEVER,
        ),
        case(
            400,
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API.",
            NONE,
            codes::LLM_SPEND_LIMIT,
            Refused,
            NEVER,
        ),
        case(
            400,
            "invalid_request_error",
            "prompt is too long: 210000 tokens > 200000 maximum",
            NONE,
            codes::LLM_CONTEXT_TOO_LONG,
            Refused,
            NEVER,
        ),
        case(
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000",
            NONE,
            codes::LLM_CONTEXT_TOO_LONG,
            Refused,
            NEVER,
        ),
        case(
            400,
            "invalid_request_error",
            "Output blocked by content filtering policy",
            NONE,
            codes::LLM_CONTENT_BLOCKED,
            Refused,
            NEVER,
        ),
        case(401, "authentication_error", "invalid x-api-key", NONE, codes::LLM_AUTH_FAILED, Refused, NEVER),
        case(402, "billing_error", "no payment method", NONE, codes::LLM_SPEND_LIMIT, Refused, NEVER),
        case(403, "permission_error", "not for this key", NONE, codes::LLM_PERMISSION_DENIED, Refused, NEVER),
        case(404, "not_found_error", "model: claude-9", NONE, codes::LLM_INVALID_MODEL, Refused, NEVER),
        case(408, "request_timeout", "too slow", NONE, codes::LLM_TIMEOUT, Refused, NOW),
        case(409, "conflict_error", "locked", NONE, codes::LLM_PROVIDER_ERROR, Refused, NOW),
        case(413, "request_too_large", "32 MB", NONE, codes::LLM_REQUEST_TOO_LARGE, Refused, NEVER),
        case(422, "invalid_request_error", "no", NONE, codes::LLM_INVALID_REQUEST, Refused, NEVER),
        case(429, "rate_limit_error", "slow down", AFTER, codes::LLM_RATE_LIMITED, Refused, IN_7_S),
        case(429, "rate_limit_error", "slow down", NONE, codes::LLM_RATE_LIMITED, Refused, NOW),
        case(429, "invalid_request_error", "workspace limit", AFTER, codes::LLM_RATE_LIMITED, Refused, IN_7_S),
        case(429, "rate_limit_error", "no", &[("x-should-retry", "false")], codes::LLM_RATE_LIMITED, Refused, NEVER),
        case(500, "api_error", "oops", NONE, codes::LLM_PROVIDER_ERROR, Refused, NOW),
        case(
            500,
            "api_error",
            "oops",
            &[("retry-after-ms", "250"), ("retry-after", "9")],
            codes::LLM_PROVIDER_ERROR,
            Refused,
            Some(Some(250)),
        ),
        case(504, "timeout_error", "took too long", NONE, codes::LLM_TIMEOUT, Unknown, NOW),
        case(529, "overloaded_error", "Overloaded", AFTER, codes::LLM_OVERLOADED, Refused, IN_7_S),
        case(418, "teapot_error", "new", NONE, codes::LLM_INVALID_REQUEST, Refused, NEVER),
        case(520, "teapot_error", "new", NONE, codes::LLM_PROVIDER_ERROR, Refused, NOW),
    ];
    cases.push(Case {
        details: json!({"error_code": "enforced_spend_limit_reached"}),
        ..case(429, "rate_limit_error", "monthly threshold", AFTER, codes::LLM_SPEND_LIMIT, Refused, NEVER)
    });
    cases
}

fn body(case: &Case) -> Value {
    json!({"type": "error", "request_id": "req_body",
        "error": {"type": case.kind, "message": case.message, "details": case.details}})
}

#[tokio::test]
async fn errors_with_a_status() {
    for case in cases() {
        let name = format!("{} {} {:?}", case.status, case.kind, case.message);
        let server = Server::always(json_reply(case.status, case.headers, &body(&case))).await;
        let adapter = server.claude();
        for streamed in [false, true] {
            let asked = if streamed { watched(request()).0 } else { call(request()) };
            let failure = adapter.invoke(asked).await.unwrap_err();
            let found = &failure.failure;
            assert_eq!(found.code, case.code, "{name}");
            assert_eq!((found.retryable, found.retry_after_ms), (case.retry.is_some(), case.retry.flatten()), "{name}");
            assert_eq!((failure.sent, failure.usage), (case.sent, None), "{name}");
            assert_eq!(failure.request_id.as_deref(), Some("req_body"), "{name}");
            let details = json!({"status": case.status, "type": case.kind, "request_id": "req_body"});
            assert_eq!(found.details, details, "{name}");
            assert!(found.message.contains(case.message), "{name}: {}", found.message);
            assert_eq!(server.asked().last().unwrap().body.get("stream").is_some(), streamed);
        }
    }
}

#[tokio::test]
async fn errors_inside_a_stream() {
    // Before the answer begins, in it, when a part of it was shown, and when its usage is final.
    let events = message_events("one two");
    let started = Usage { input_tokens: 11, output_tokens: 1, ..Usage::default() };
    let ended = Usage { output_tokens: 3, ..started };
    for case in cases().into_iter().filter(|case| case.status != 429 && case.kind != "invalid_request_error") {
        for (after, sent, usage, shown) in [
            (0, None, None, false),
            (1, Some(Sent::Answered), Some(started), false),
            (3, Some(Sent::Answered), Some(started), false),
            (4, Some(Sent::Answered), Some(started), true),
            (7, Some(Sent::Answered), Some(ended), true),
        ] {
            let mut error = body(&case);
            error.as_object_mut().unwrap().remove("request_id");
            let error = [error];
            let server = Server::always(stream(&[&events[..after], &error].concat())).await;
            let (asked, seen) = watched(request());
            let failure = server.claude().invoke(asked).await.unwrap_err();
            let name = format!("{} after {after} events: {failure}", case.kind);
            // A kind that is new has no status here that would say more.
            let code = if case.kind == "teapot_error" { codes::LLM_PROVIDER_ERROR } else { case.code.clone() };
            assert_eq!(failure.failure.code, code, "{name}");
            assert_eq!(failure.sent, sent.unwrap_or(case.sent), "{name}");
            assert_eq!(failure.usage, usage, "{name}");
            assert_eq!(!seen.lock().unwrap().is_empty(), shown, "{name}");
            let retryable = code.info().unwrap().retryable && !shown;
            assert_eq!(failure.failure.retryable, retryable, "{name}");
            assert_eq!(failure.failure.message.contains("was shown already"), shown, "{name}");
            assert_eq!(failure.request_id.as_deref(), Some("req_stream"), "{name}");
        }
    }
}

#[tokio::test]
async fn answers_of_something_between() {
    let page = "<html><body><h1>Bad Gateway</h1></body></html>";
    use Sent::{Refused, Unknown};
    for (status, code, sent, retryable) in [
        (200, codes::LLM_INVALID_RESPONSE, Unknown, true),
        (204, codes::LLM_INVALID_RESPONSE, Unknown, true),
        (400, codes::LLM_INVALID_REQUEST, Refused, false),
        (401, codes::LLM_PERMISSION_DENIED, Refused, false),
        (403, codes::LLM_PERMISSION_DENIED, Refused, false),
        (404, codes::LLM_INVALID_REQUEST, Refused, false),
        (407, codes::LLM_UNREACHABLE, Refused, true),
        (413, codes::LLM_REQUEST_TOO_LARGE, Refused, false),
        (429, codes::LLM_RATE_LIMITED, Refused, true),
        (500, codes::LLM_PROVIDER_ERROR, Unknown, true),
        (502, codes::LLM_PROVIDER_ERROR, Unknown, true),
        (503, codes::LLM_OVERLOADED, Unknown, true),
        (504, codes::LLM_TIMEOUT, Unknown, true),
        (529, codes::LLM_OVERLOADED, Unknown, true),
    ] {
        let page = if status == 204 { "" } else { page };
        let server =
            Server::always(reply(status, &[("content-type", "text/html"), ("request-id", "req_h")], page)).await;
        for asked in [call(request()), watched(request()).0] {
            let failure = server.claude().invoke(asked).await.unwrap_err();
            assert_eq!((failure.code(), failure.sent), (&code, sent), "{status}: {failure}");
            assert_eq!(failure.failure.retryable, retryable, "{status}: {failure}");
            assert_eq!((failure.usage, failure.request_id.as_deref()), (None, Some("req_h")), "{status}");
            assert!(status == 204 || failure.failure.message.contains("Bad Gateway"), "{failure}");
        }
    }
}

#[tokio::test]
async fn answers_that_can_t_be_used_keep_their_usage() {
    let usage = json!({"input_tokens": 5, "output_tokens": 6, "cache_read_input_tokens": 7});
    let used = Usage { input_tokens: 5, output_tokens: 6, cache_read_tokens: 7, ..Usage::default() };
    for body in [
        json!({"content": "text", "stop_reason": "end_turn", "usage": usage}),
        json!({"content": [], "usage": usage}),
        json!({"content": [1], "stop_reason": "end_turn", "usage": usage}),
        json!({"content": [{"text": "no type"}], "stop_reason": "end_turn", "usage": usage}),
        json!({"content": [{"type": "text"}], "stop_reason": "end_turn", "usage": usage}),
        json!({"content": [{"type": "tool_use", "id": "t", "name": "n", "input": {"n": 9_007_199_254_740_993_u64}}],
            "stop_reason": "tool_use", "usage": usage}),
    ] {
        let server = Server::always(json_reply(200, &[], &body)).await;
        let failure = ask(&server.claude(), request()).await.unwrap_err();
        assert_eq!(*failure.code(), codes::LLM_INVALID_RESPONSE, "{body}");
        assert_eq!((failure.sent, failure.usage), (Sent::Answered, Some(used)), "{body}");
    }
}

#[tokio::test]
async fn words_of_the_provider_are_bounded() {
    let words = "é".repeat(100_000);
    let error = json!({"type": "error", "error": {"type": "api_error", "message": words}});
    let server = Server::always(json_reply(500, &[], &error)).await;
    let failure = ask(&server.claude(), request()).await.unwrap_err();
    assert!(failure.failure.message.chars().count() < 600);
}

#[tokio::test]
async fn what_the_limits_leave_is_told_with_answers_and_errors() {
    let headers = [
        ("anthropic-ratelimit-requests-limit", "50"),
        ("anthropic-ratelimit-requests-remaining", "0"),
        ("anthropic-ratelimit-requests-reset", "2026-11-26T00:00:01Z"),
        ("request-id", "req_1"),
    ];
    let error = json!({"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}});
    let server = Server::new(move |_, n| match n {
        0 => json_reply(200, &headers, &message("hi")),
        _ => json_reply(429, &headers, &error),
    })
    .await;
    let adapter = server.claude();
    let answer = ask(&adapter, request()).await.unwrap();
    let failure = ask(&adapter, request()).await.unwrap_err();
    assert_eq!(answer.room.as_ref().unwrap().requests.unwrap().limit, 50);
    assert_eq!(answer.room, failure.room);
    assert_eq!((answer.request_id.as_deref(), failure.request_id.as_deref()), (Some("req_1"), Some("req_1")));
    assert_eq!(answer.cost, None);
}
