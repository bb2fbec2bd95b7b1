//! The adapter `openai`: what its servers differ in, and its dialect for the clauses.

use aos_core::codes;
use aos_core::llm::{
    CacheTtl, Content, Delta, ImageSource, LlmAdapter, LlmRequest, Message, Role, Sent, StopReason, Usage,
};
use aos_server::backend::openai::{OpenAiAdapter, Timeouts};
use aos_server::config::KeySource;
use serde_json::{Value, json};

use crate::conformance::{Answer, Dialect, Question};
use crate::support::*;

fn adapter(server: &Server, keys: Option<&KeySource>) -> OpenAiAdapter {
    OpenAiAdapter::new(&server.url().join("v1").unwrap(), keys, Timeouts::default()).unwrap()
}

/// A stream of these chunks, with an end or without.
fn chunks(chunks: &[Value], done: bool) -> Vec<Act> {
    let end = done.then(|| "data: [DONE]\n\n".to_owned());
    chunked(chunks.iter().map(|data| format!("data: {data}\n\n")).chain(end))
}

fn completion(message: &Value, finish_reason: &str) -> Value {
    json!({"id": "c1", "object": "chat.completion", "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}})
}

fn request() -> LlmRequest {
    LlmRequest::new("m", "hi")
}

#[tokio::test]
async fn keys_are_optional() {
    let server = Server::always(json_reply(200, &[], &completion(&json!({"content": "x"}), "stop"))).await;
    ask(&adapter(&server, None), request()).await.unwrap();
    ask(&adapter(&server, Some(&key())), request()).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked[0].line, "POST /v1/chat/completions HTTP/1.1");
    let bearer = format!("Bearer {KEY}");
    assert_eq!((asked[0].header("authorization"), asked[1].header("authorization")), (None, Some(bearer.as_str())));
}

#[tokio::test]
async fn requests_have_the_form_of_the_api() {
    let server = Server::always(json_reply(200, &[], &completion(&json!({"content": "x"}), "stop"))).await;
    let mut request = request();
    request.temperature = Some(0.5);
    request.options.insert("seed".into(), json!(7));
    request.metadata.insert("user_id".into(), "u1".into());
    request.messages = vec![
        Message {
            role: Role::User,
            content: vec![
                Content::Text { text: "what?".into(), cache: Some(CacheTtl::OneHour) },
                Content::Image { source: ImageSource::Url { url: "https://x/y.png".into() } },
            ],
        },
        Message {
            role: Role::Assistant,
            content: vec![
                Content::Thinking { thinking: "hm".into(), signature: None },
                Content::text("a"),
                Content::ToolUse { id: "t".into(), name: "n".into(), input: json!({"b": 1}) },
            ],
        },
        Message {
            role: Role::User,
            content: vec![
                Content::text("and"),
                Content::ToolResult { tool_use_id: "t".into(), content: vec![Content::text("2")], is_error: true },
            ],
        },
    ];
    ask(&adapter(&server, None), request).await.unwrap();
    assert_eq!(
        server.asked()[0].body,
        json!({"model": "m", "max_tokens": 1_024, "temperature": 0.5, "seed": 7, "user": "u1", "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "what?"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            ]},
            {"role": "assistant", "content": "a", "tool_calls": [
                {"id": "t", "type": "function", "function": {"name": "n", "arguments": "{\"b\":1}"}},
            ]},
            {"role": "tool", "tool_call_id": "t", "content": "The tool failed.\n2"},
            {"role": "user", "content": "and"},
        ]})
    );
}

#[tokio::test]
async fn requests_without_a_form_are_not_sent() {
    let server = Server::always(vec![Act::Close]).await;
    let adapter = adapter(&server, None);
    let mut with_option = request();
    with_option.options.insert("stream".into(), json!(true));
    let mut with_other = request();
    with_other.messages[0].content = vec![Content::Other(json!({"type": "hologram"}))];
    for (request, says) in [(with_option, "`options.stream`"), (with_other, "\"hologram\"")] {
        let failure = ask(&adapter, request).await.unwrap_err();
        assert_eq!((failure.code(), failure.sent), (&codes::LLM_INVALID_REQUEST, Sent::No));
        assert!(failure.failure.message.contains(says), "{failure}");
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn answers_may_leave_out_a_lot() {
    let used = |id: &str, input| Content::ToolUse { id: id.into(), name: "n".into(), input };
    for (body, content, stop, usage) in [
        // No usage: not known.
        (
            json!({"choices": [{"message": {"content": "x"}}]}),
            vec![Content::text("x")],
            StopReason::EndTurn,
            Usage::default(),
        ),
        // llama.cpp and vLLM with reasoning.
        (
            completion(&json!({"content": "x", "reasoning_content": "hm"}), "stop"),
            vec![Content::Thinking { thinking: "hm".into(), signature: None }, Content::text("x")],
            StopReason::EndTurn,
            Usage { input_tokens: 9, output_tokens: 2, ..Usage::default() },
        ),
        // Ollama: arguments as they are, no id, and `stop` for a tool call.
        (
            json!({"choices": [{"message": {"content": "", "tool_calls": [{"function": {"name": "n", "arguments": {"a": 1}}}]},
                "finish_reason": "stop"}]}),
            vec![used("call_0", json!({"a": 1}))],
            StopReason::ToolUse,
            Usage::default(),
        ),
        // No arguments.
        (
            json!({"choices": [{"message": {"content": null, "tool_calls": [{"id": "i", "function": {"name": "n", "arguments": ""}}]},
                "finish_reason": "tool_calls"}]}),
            vec![used("i", json!({}))],
            StopReason::ToolUse,
            Usage::default(),
        ),
        // Cut within the arguments.
        (
            json!({"choices": [{"message": {"tool_calls": [{"id": "i", "function": {"name": "n", "arguments": "{\"a"}}]},
                "finish_reason": "length"}]}),
            vec![used("i", json!("{\"a"))],
            StopReason::MaxTokens,
            Usage::default(),
        ),
        // vLLM says which stop sequence it was.
        (
            json!({"choices": [{"message": {"content": "x"}, "finish_reason": "stop", "stop_reason": "END"}],
                "usage": {"prompt_tokens": 3, "completion_tokens": null, "prompt_tokens_details": null}}),
            vec![Content::text("x")],
            StopReason::StopSequence,
            Usage { input_tokens: 3, ..Usage::default() },
        ),
        (
            json!({"choices": [{"message": {"content": null, "refusal": "No."}, "finish_reason": "stop"}]}),
            vec![Content::text("No.")],
            StopReason::Refusal,
            Usage::default(),
        ),
    ] {
        let server = Server::always(json_reply(200, &[], &body)).await;
        let answer =
            ask(&adapter(&server, None), request()).await.unwrap_or_else(|failure| panic!("{body}: {failure}"));
        assert_eq!((answer.response.content, answer.response.stop_reason), (content, stop), "{body}");
        assert_eq!((answer.response.usage, answer.cost), (usage, None), "{body}");
    }
}

#[tokio::test]
async fn answers_that_can_t_be_used() {
    for body in [
        "<html>".to_owned(),
        "{}".to_owned(),
        json!({"choices": []}).to_string(),
        completion(&json!({"tool_calls": [{"id": "i", "function": {"name": "n", "arguments": "{"}}]}), "tool_calls")
            .to_string(),
    ] {
        let server = Server::always(reply(200, &[], &body)).await;
        let failure = ask(&adapter(&server, None), request()).await.unwrap_err();
        assert_eq!(*failure.code(), codes::LLM_INVALID_RESPONSE, "{body}");
        assert_eq!(failure.usage.is_some(), body.contains("usage"), "{body}");
    }
}

#[tokio::test]
async fn streams_differ_too() {
    let delta = |delta: Value| json!({"choices": [{"index": 0, "delta": delta}]});
    let finish = |reason: &str| json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]});
    // No `[DONE]`, no usage, no numbers of the calls.
    let call = |id: Value, arguments: &str| {
        delta(json!({"tool_calls": [{"id": id, "function": {"name": "n", "arguments": arguments}}]}))
    };
    let server = Server::always(chunks(
        &[
            delta(json!({"role": "assistant", "content": ""})),
            delta(json!({"reasoning": "hm"})),
            delta(json!({"content": "x"})),
            call(json!("a"), "{\"k\""),
            call(Value::Null, ":1}"),
            call(json!("b"), "{}"),
            finish("stop"),
        ],
        false,
    ))
    .await;
    let (asked, seen) = watched(request());
    let response = adapter(&server, None).invoke(asked).await.unwrap().response;
    let used = |id: &str, input| Content::ToolUse { id: id.into(), name: "n".into(), input };
    let thinking = Content::Thinking { thinking: "hm".into(), signature: None };
    assert_eq!(response.content, [thinking, Content::text("x"), used("a", json!({"k": 1})), used("b", json!({}))]);
    assert_eq!((response.stop_reason, response.usage), (StopReason::ToolUse, Usage::default()));
    let blocks: Vec<u32> = seen
        .lock()
        .unwrap()
        .iter()
        .map(|delta| match delta {
            Delta::Text { block, .. } | Delta::Thinking { block, .. } | Delta::ToolInput { block, .. } => *block,
        })
        .collect();
    assert_eq!(blocks, [0, 1, 2, 2, 3]);

    // An error in a stream, before and after something was shown.
    let error = json!({"error": {"message": "CUDA out of memory", "type": "InternalServerError", "code": 500}});
    for (before, sent, retryable) in
        [(vec![], Sent::Refused, true), (vec![delta(json!({"content": "x"}))], Sent::Unknown, false)]
    {
        let server = Server::always(chunks(&[before, vec![error.clone()]].concat(), false)).await;
        let failure = adapter(&server, None).invoke(watched(request()).0).await.unwrap_err();
        assert_eq!((failure.code(), failure.sent), (&codes::LLM_PROVIDER_ERROR, sent), "{failure}");
        assert_eq!(failure.failure.retryable, retryable, "{failure}");
    }
    // `[DONE]` without a reason, and a chunk that is none.
    for broken in [chunks(&[delta(json!({}))], true), chunks(&[json!({"choices": 1})], true)] {
        let server = Server::always(broken).await;
        let failure = adapter(&server, None).invoke(watched(request()).0).await.unwrap_err();
        assert_eq!(*failure.code(), codes::LLM_INVALID_RESPONSE, "{failure}");
    }
}

#[tokio::test]
async fn errors_have_many_forms() {
    for (status, body, code) in [
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 4096 tokens.","code":"context_length_exceeded"}}"#,
            codes::LLM_CONTEXT_TOO_LONG,
        ),
        (
            400,
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens","type":"BadRequestError","code":400}"#,
            codes::LLM_CONTEXT_TOO_LONG,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}"#,
            codes::LLM_CONTEXT_TOO_LONG,
        ),
        (400, r#"{"error":{"message":"filtered","code":"content_filter"}}"#, codes::LLM_CONTENT_BLOCKED),
        (404, r#"{"error":"model 'x' not found, try pulling it first"}"#, codes::LLM_INVALID_MODEL),
        (404, r#"{"detail":"Not Found"}"#, codes::LLM_INVALID_REQUEST),
        (404, "404 page not found", codes::LLM_INVALID_REQUEST),
        (422, r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#, codes::LLM_INVALID_REQUEST),
        (
            429,
            r#"{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}"#,
            codes::LLM_SPEND_LIMIT,
        ),
        (429, r#"{"error":{"message":"slow","code":"rate_limit_exceeded"}}"#, codes::LLM_RATE_LIMITED),
        (503, r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#, codes::LLM_OVERLOADED),
    ] {
        let server = Server::always(reply(status, &[], body)).await;
        let failure = ask(&adapter(&server, None), request()).await.unwrap_err();
        assert_eq!((failure.code(), failure.sent), (&code, Sent::Refused), "{body}: {failure}");
        assert_eq!(failure.failure.retryable, code.info().unwrap().retryable, "{body}");
    }
    let server = Server::always(reply(502, &[], "<html>")).await;
    assert_eq!(ask(&adapter(&server, None), request()).await.unwrap_err().sent, Sent::Unknown);
}

/// The dialect of chat completions.
#[derive(Clone, Copy)]
pub struct OpenAi;

fn reason(stop: &str) -> &str {
    match stop {
        "end_turn" => "stop",
        "tool_use" => "tool_calls",
        "max_tokens" => "length",
        "refusal" => "content_filter",
        other => other,
    }
}

fn usage() -> Value {
    json!({"prompt_tokens": 25, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 5}})
}

impl Dialect for OpenAi {
    fn adapter(self, server: &Server) -> Box<dyn LlmAdapter> {
        Box::new(adapter(server, Some(&key())))
    }

    fn plain(self, answer: &Answer) -> Value {
        let calls: Vec<_> = answer
            .tools
            .iter()
            .map(|(id, name, input)| {
                json!({"id": id, "type": "function", "function": {"name": name, "arguments": input.concat()}})
            })
            .collect();
        let message = json!({"role": "assistant", "content": answer.text.concat(), "tool_calls": calls});
        json!({"model": "model-1", "choices": [{"message": message, "finish_reason": reason(answer.stop)}], "usage": usage()})
    }

    fn streamed(self, answer: &Answer) -> Vec<Act> {
        let piece =
            |delta: Value| json!({"model": "model-1", "choices": [{"index": 0, "delta": delta}], "usage": null});
        let mut all = vec![piece(json!({"role": "assistant"}))];
        all.extend(answer.text.iter().map(|text| piece(json!({"content": text}))));
        for (index, (id, name, input)) in answer.tools.iter().enumerate() {
            all.push(piece(
                json!({"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": ""}}]}),
            ));
            all.extend(
                input
                    .iter()
                    .map(|json| piece(json!({"tool_calls": [{"index": index, "function": {"arguments": json}}]}))),
            );
        }
        all.push(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason(answer.stop)}]}));
        all.push(json!({"choices": [], "usage": usage()}));
        chunks(&all, true)
    }

    fn error(self, status: u16) -> Value {
        json!({"error": {"message": "no such model", "type": "error", "code": status}})
    }

    fn asked(self, body: &Value) -> Question {
        let mut question = Question {
            model: body["model"].as_str().unwrap().to_owned(),
            max_tokens: body["max_tokens"].as_u64().unwrap(),
            stream: body["stream"] == json!(true),
            schema: body["response_format"]["json_schema"].get("schema").cloned(),
            ..Question::default()
        };
        assert_eq!(body["stream_options"]["include_usage"] == json!(true), question.stream);
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        for message in body["messages"].as_array().unwrap() {
            match message["role"].as_str().unwrap() {
                "system" => question.system = word(&message["content"]),
                "tool" => question.turns.push(("result".into(), word(&message["tool_call_id"]))),
                _ if message.get("tool_calls").is_some() => {
                    question.turns.push(("use".into(), word(&message["tool_calls"][0]["id"])));
                }
                role => question.turns.push((role.to_owned(), word(&message["content"]))),
            }
        }
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        question.tools = list(&body["tools"]).iter().map(|tool| word(&tool["function"]["name"])).collect();
        question.stop = list(&body["stop"]).iter().map(word).collect();
        question.choice = match &body["tool_choice"] {
            Value::Null => None,
            Value::String(text) if text == "required" => Some("any".into()),
            Value::String(text) => Some(text.clone()),
            choice => Some(word(&choice["function"]["name"])),
        };
        question
    }
}
