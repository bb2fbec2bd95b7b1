//! Requests as they are sent and answers as they are understood: one file per case in `claude/`.
//!
//! A file has a `request` and either the `body` that is sent for it or why it is `refused`; and if need be `headers` that
//! are sent, the `answer` that comes, and the `response` that it becomes.

use std::path::PathBuf;

use aos_core::codes;
use aos_core::llm::{LlmRequest, Sent};
use serde_json::{Value, json};

use crate::support::*;

fn cases() -> Vec<(String, Value)> {
    let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/llm/claude"));
    let mut cases: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let case = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
            (name, case)
        })
        .collect();
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(cases.len() >= 10);
    cases
}

#[tokio::test]
async fn requests_and_answers_are_as_written_down() {
    for (name, case) in cases() {
        let request: LlmRequest = serde_json::from_value(case["request"].clone()).unwrap();
        request.check().unwrap();
        let answer = if case["answer"].is_null() { message("hi") } else { case["answer"].clone() };
        let server = Server::always(json_reply(200, &[("request-id", "req_1")], &answer)).await;
        let result = ask(&server.claude(), request).await;
        if let Some(why) = case["refused"].as_str() {
            let failure = result.unwrap_err();
            assert_eq!((failure.code(), failure.sent), (&codes::LLM_INVALID_REQUEST, Sent::No), "{name}");
            assert!(failure.failure.message.contains(why), "{name}: {failure}");
            assert!(server.asked().is_empty(), "{name}");
            continue;
        }
        let response = result.unwrap_or_else(|failure| panic!("{name}: {failure}")).response;
        let asked = &server.asked()[0];
        assert_eq!(asked.body, case["body"], "{name}: {}", asked.body);
        assert_eq!(asked.line, "POST /v1/messages HTTP/1.1");
        assert_eq!(asked.header("anthropic-version"), Some("2023-06-01"));
        assert_eq!(asked.header("content-type"), Some("application/json"));
        for (header, value) in case["headers"].as_object().into_iter().flatten() {
            assert_eq!(asked.header(header), value.as_str(), "{name}");
        }
        if !case["response"].is_null() {
            let found = serde_json::to_value(&response).unwrap();
            assert_eq!(found, case["response"], "{name}: {found}");
            // It survives the journal.
            assert_eq!(serde_json::from_value::<aos_core::llm::LlmResponse>(found).unwrap(), response, "{name}");
        }
    }
}

#[tokio::test]
async fn tokens_are_counted() {
    let server = Server::new(|_, n| match n {
        0 => json_reply(200, &[], &json!({"input_tokens": 2_095})),
        1 => json_reply(200, &[], &json!({"tokens": 1})),
        _ => json_reply(529, &[], &json!({"type": "error", "error": {"type": "overloaded_error", "message": "no"}})),
    })
    .await;
    let adapter = server.claude();
    let mut request = request();
    request.system = vec![aos_core::llm::Content::text("be brief")];
    request.temperature = Some(1.0);
    request.options.insert("top_k".into(), json!(1));
    request.options.insert("thinking".into(), json!({"type": "adaptive"}));
    assert_eq!(adapter.count_tokens(&request).await.unwrap(), 2_095);
    assert_eq!(*adapter.count_tokens(&request).await.unwrap_err().code(), codes::LLM_INVALID_RESPONSE);
    assert_eq!(*adapter.count_tokens(&request).await.unwrap_err().code(), codes::LLM_OVERLOADED);
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /v1/messages/count_tokens HTTP/1.1");
    let body = json!({"model": "claude-opus-4-6", "thinking": {"type": "adaptive"},
        "system": [{"type": "text", "text": "be brief"}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]});
    assert_eq!(asked.body, body);
}
