//! The adapter `claude` against the testkit's Claude API, which checks requests as the real one does.

use aos_core::codes;
use aos_core::llm::{
    Content, LlmAdapter, LlmRequest, LlmResponse, Message, Role, Sent, StopReason, Tool, ToolChoice, Usage,
};
use aos_server::backend::claude::{ClaudeAdapter, Timeouts};
use aos_server::config::{KeySource, Secret};
use aos_testkit::service::claude::{ApiError, MockClaude, Model, Reply};
use serde_json::{Value, json};
use url::Url;

use crate::support::{ask, call, watched};

fn adapter(mock: &MockClaude) -> ClaudeAdapter {
    let url = Url::parse(&mock.base_url()).unwrap();
    ClaudeAdapter::new(&url, &KeySource::Value(Secret::new(mock.key())), Timeouts::default()).unwrap()
}

fn request() -> LlmRequest {
    LlmRequest::new("claude-opus-4-6", "hi")
}

/// The answer both ways, which must be the same.
async fn both_ways(adapter: &ClaudeAdapter, request: LlmRequest) -> LlmResponse {
    let plain = ask(adapter, request.clone()).await.unwrap().response;
    let streamed = adapter.invoke(watched(request).0).await.unwrap().response;
    assert_eq!(streamed, plain);
    plain
}

fn tool(name: &str) -> Tool {
    Tool {
        name: name.into(),
        description: "d".into(),
        input_schema: json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_with_everything_passes_its_checks() {
    let mock = MockClaude::start().unwrap();
    let adapter = adapter(&mock);
    let mut request = LlmRequest { max_tokens: 4_000, ..request() };
    request.system = vec![Content::Text { text: "be brief".into(), cache: Some(aos_core::llm::CacheTtl::OneHour) }];
    request.tools = vec![tool("add"), tool("sub")];
    request.options.insert("thinking".into(), json!({"type": "adaptive"}));
    request.options.insert("effort".into(), json!("high"));
    request.options.insert("disable_parallel_tool_use".into(), json!(true));
    request.metadata.insert("user_id".into(), "u1".into());
    mock.push(Reply::tool_use("add", json!({"n": 1})));
    let first = ask(&adapter, request.clone()).await.unwrap().response;
    assert_eq!(first.stop_reason, StopReason::ToolUse);
    let results = first.content.iter().filter_map(|block| match block {
        Content::ToolUse { id, .. } => {
            Some(Content::ToolResult { tool_use_id: id.clone(), content: vec![Content::text("2")], is_error: false })
        }
        _ => None,
    });
    let results: Vec<_> = results.collect();
    assert_eq!(results.len(), 1);
    request.messages.push(Message { role: Role::Assistant, content: first.content.clone() });
    request.messages.push(Message { role: Role::User, content: results });
    let second = both_ways(&adapter, request.clone()).await;
    assert_eq!(second.stop_reason, StopReason::EndTurn);
    assert!(second.text().starts_with("Echo: "), "{second:?}");
    assert!(adapter.count_tokens(&request).await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn forced_tools_structured_answers_and_limits_of_length() {
    let mock = MockClaude::start().unwrap();
    let adapter = adapter(&mock);
    for choice in [ToolChoice::Any, ToolChoice::Tool { name: "sub".into() }] {
        let asked =
            LlmRequest { tools: vec![tool("add"), tool("sub")], tool_choice: Some(choice.clone()), ..request() };
        // Every call has an id of its own, so the two ways differ there.
        let response = ask(&adapter, asked).await.unwrap().response;
        let named = response.content.iter().find_map(|block| match block {
            Content::ToolUse { name, input, .. } => Some((name.clone(), input["n"].is_i64())),
            _ => None,
        });
        let expected = if choice == ToolChoice::Any { "add" } else { "sub" };
        assert_eq!(named, Some((expected.to_owned(), true)));
    }
    // Open as most schemas are.
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]});
    let asked = LlmRequest { response_schema: Some(schema), ..request() };
    let text = both_ways(&adapter, asked).await.text();
    assert!(serde_json::from_str::<Value>(&text).unwrap()["a"].is_i64(), "{text}");
    let asked = LlmRequest { max_tokens: 1, ..request() };
    assert_eq!(both_ways(&adapter, asked).await.stop_reason, StopReason::MaxTokens);
    let asked = LlmRequest { stop_sequences: vec!["END".into()], ..LlmRequest::new("claude-opus-4-6", "one END two") };
    let response = both_ways(&adapter, asked).await;
    assert_eq!((response.text().as_str(), response.stop_reason), ("Echo: one ", StopReason::StopSequence));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reported_is_what_is_billed() {
    let mock = MockClaude::start().unwrap();
    let adapter = adapter(&mock);
    let billed = aos_testkit::service::claude::Usage {
        cache_read_tokens: 700,
        cache_write_5m_tokens: 50,
        cache_write_1h_tokens: 20,
        ..aos_testkit::service::claude::Usage::new(31, 17)
    };
    let mut reported = Vec::new();
    for reply in [
        Reply::text("plain"),
        Reply::text("with a cache").usage(billed),
        Reply::text("told at the end only").usage(billed).usage_in_delta_only(),
        Reply::text("one two three four").error_after(4, ApiError::overloaded()),
    ] {
        mock.push(reply);
        reported.push(match adapter.invoke(watched(request()).0).await {
            Ok(answer) => answer.response.usage,
            Err(failure) => {
                assert_eq!((failure.code(), failure.sent), (&codes::LLM_OVERLOADED, Sent::Answered));
                failure.usage.unwrap()
            }
        });
    }
    // An error in the middle comes before the last report: what is known then is less than what is billed.
    let records = mock.records();
    assert_eq!(records.len(), reported.len());
    for (record, usage) in records.iter().zip(&reported).take(3) {
        assert_eq!(*usage, Usage::from(record.usage));
    }
    assert_eq!(reported[3].input_tokens, records[3].usage.input_tokens);
}

#[tokio::test(flavor = "multi_thread")]
async fn documented_errors_are_refusals_with_a_request_id() {
    let mock = MockClaude::start().unwrap();
    let adapter = adapter(&mock);
    for error in ApiError::documented() {
        for watch in [false, true] {
            mock.push(Reply::error(error.clone()));
            let asked = if watch { watched(request()).0 } else { call(request()) };
            let failure = adapter.invoke(asked).await.unwrap_err();
            let record = mock.records().pop().unwrap();
            assert_eq!(failure.request_id.as_deref(), Some(record.request_id.as_str()), "{failure}");
            assert_eq!(failure.failure.details["status"].as_u64(), record.status.map(u64::from), "{failure}");
            assert_ne!(*failure.code(), codes::LLM_INVALID_RESPONSE, "{failure}");
            assert!(matches!(failure.sent, Sent::Refused | Sent::Unknown) && failure.usage.is_none(), "{failure}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_models_refuse_is_not_sent_to_them() {
    let mock = MockClaude::start().unwrap();
    let adapter = adapter(&mock);
    let thinking = |kind: &str| json!({"type": kind, "budget_tokens": 1_024});
    for model in Model::known() {
        let base =
            LlmRequest { max_tokens: 2_000, tools: vec![tool("add")], ..LlmRequest::new(model.id.clone(), "hi") };
        let with = |key: &str, value: Value| {
            let mut request = base.clone();
            request.options.insert(key.into(), value);
            request
        };
        let mut plain_thinking = with("thinking", json!({"type": "disabled"}));
        plain_thinking.tools.clear();
        for (what, takes, request) in [
            ("temperature", model.sampling, LlmRequest { temperature: Some(0.0), ..base.clone() }),
            ("top_p", model.sampling, with("top_p", json!(0.5))),
            ("top_k", model.sampling, with("top_k", json!(5))),
            ("tool_choice", model.forced_tools, LlmRequest { tool_choice: Some(ToolChoice::Any), ..base.clone() }),
            ("budget", model.thinking.contains(&"enabled"), with("thinking", thinking("enabled"))),
            ("disabled", model.thinking.contains(&"disabled"), plain_thinking),
            ("nothing", true, base.clone()),
        ] {
            // The documentation of 5.1 has it as new there; the mock refuses more.
            if what == "tool_choice" && matches!(model.id.as_str(), "claude-fable-5" | "claude-mythos-5") {
                continue;
            }
            let result = ask(&adapter, request).await;
            let name = format!("{} {what}: {result:?}", model.id);
            match result {
                Ok(_) => assert!(takes, "{name}"),
                Err(failure) => {
                    assert!(!takes, "{name}");
                    assert_eq!((failure.code(), failure.sent), (&codes::LLM_INVALID_REQUEST, Sent::No), "{name}");
                }
            }
        }
    }
}
