//! Clauses that hold for every adapter of a provider: one text for all, and a dialect for each.

use aos_core::llm::{Content, Delta, LlmAdapter, LlmRequest, Message, Role, Sent, StopReason, Tool, ToolChoice, Usage};
use aos_core::{Code, codes};
use serde_json::{Value, json};

use crate::support::*;

/// How a provider says what the clauses have in mind.
pub trait Dialect: Copy {
    fn adapter(self, server: &Server) -> Box<dyn LlmAdapter>;
    /// The answer as one body, and as a stream that has it in pieces.
    fn plain(self, answer: &Answer) -> Value;
    fn streamed(self, answer: &Answer) -> Vec<Act>;
    /// An error with this status.
    fn error(self, status: u16) -> Value;
    /// What the provider was asked.
    fn asked(self, body: &Value) -> Question;
}

/// What a model answers.
#[derive(Clone, Default)]
pub struct Answer {
    pub text: Vec<&'static str>,
    /// Id, name and the pieces of the input.
    pub tools: Vec<(&'static str, &'static str, Vec<&'static str>)>,
    pub stop: &'static str,
}

/// What a provider was asked, as far as all have it.
#[derive(Debug, Default, PartialEq)]
pub struct Question {
    pub model: String,
    pub max_tokens: u64,
    pub stream: bool,
    pub system: String,
    /// Role and text; of tool uses and results the id.
    pub turns: Vec<(String, String)>,
    pub tools: Vec<String>,
    /// `auto`, `any`, `none`, or a tool's name.
    pub choice: Option<String>,
    pub schema: Option<Value>,
    pub stop: Vec<String>,
}

const USED: Usage =
    Usage { input_tokens: 20, output_tokens: 9, cache_read_tokens: 5, cache_write_tokens: 0, cache_write_1h_tokens: 0 };

fn said(text: &[&'static str]) -> Answer {
    Answer { text: text.to_vec(), stop: "end_turn", ..Answer::default() }
}

async fn serving(dialect: impl Dialect + Send + Sync + 'static, answer: Answer) -> Server {
    Server::new(move |asked, _| {
        if asked.body["stream"] == json!(true) {
            dialect.streamed(&answer)
        } else {
            json_reply(200, &[], &dialect.plain(&answer))
        }
    })
    .await
}

/// The answer both ways, which must be the same, with what watchers saw of it.
async fn both_ways(
    dialect: impl Dialect + Send + Sync + 'static,
    request: LlmRequest,
    answer: Answer,
) -> (Vec<Content>, StopReason, Vec<Delta>, Question) {
    let server = serving(dialect, answer).await;
    let adapter = dialect.adapter(&server);
    let plain = ask(&*adapter, request.clone()).await.unwrap();
    let (asked, seen) = watched(request);
    let streamed = adapter.invoke(asked).await.unwrap();
    assert_eq!(streamed.response, plain.response);
    assert_eq!(plain.response.usage, USED);
    assert_eq!(plain.response.adapter, adapter.name());
    assert_eq!((plain.cost, plain.response.model.as_str()), (None, "model-1"));
    let mut asked: Vec<_> = server.asked().iter().map(|asked| dialect.asked(&asked.body)).collect();
    let second = asked.pop().unwrap();
    let first = asked.pop().unwrap();
    assert_eq!((first.stream, second.stream), (false, true));
    assert_eq!(Question { stream: false, ..second }, first);
    let seen = seen.lock().unwrap().clone();
    // Pieces put together are the answer.
    for (index, block) in plain.response.content.iter().enumerate() {
        let pieces: String = seen
            .iter()
            .filter_map(|delta| match delta {
                Delta::Text { block, text } if *block as usize == index => Some(text.as_str()),
                Delta::ToolInput { block, json, .. } if *block as usize == index => Some(json.as_str()),
                _ => None,
            })
            .collect();
        match block {
            Content::Text { text, .. } => assert_eq!(pieces, *text),
            Content::ToolUse { input, .. } if !pieces.is_empty() => {
                assert_eq!(serde_json::from_str::<Value>(&pieces).unwrap(), *input);
            }
            _ => {}
        }
    }
    (plain.response.content, plain.response.stop_reason, seen, first)
}

fn user(text: &str) -> Message {
    Message { role: Role::User, content: vec![Content::text(text)] }
}

fn tool(name: &str) -> Tool {
    Tool { name: name.into(), description: "d".into(), input_schema: json!({"type": "object"}) }
}

async fn text_and_turns(dialect: impl Dialect + Send + Sync + 'static) {
    let mut request = LlmRequest::new("model-1", "hi");
    request.system = vec![Content::text("be brief")];
    request.messages.push(Message { role: Role::Assistant, content: vec![Content::text("hello")] });
    request.messages.push(user("bye"));
    request.stop_sequences = vec!["END".into()];
    let (content, stop, seen, asked) = both_ways(dialect, request, said(&["one ", "twö"])).await;
    assert_eq!((content, stop), (vec![Content::text("one twö")], StopReason::EndTurn));
    assert_eq!(seen.len(), 2);
    let turns = [("user", "hi"), ("assistant", "hello"), ("user", "bye")];
    assert_eq!(asked.turns, turns.map(|(role, text)| (role.to_owned(), text.to_owned())));
    assert_eq!((asked.model.as_str(), asked.max_tokens, asked.system.as_str()), ("model-1", 1_024, "be brief"));
    assert_eq!((asked.stop, asked.tools, asked.choice), (vec!["END".to_owned()], vec![], None));
}

async fn tools_are_called(dialect: impl Dialect + Send + Sync + 'static) {
    let mut request = LlmRequest::new("model-1", "add");
    request.tools = vec![tool("add"), tool("now")];
    request.messages.push(Message {
        role: Role::Assistant,
        content: vec![Content::ToolUse { id: "t0".into(), name: "now".into(), input: json!({}) }],
    });
    request.messages.push(Message {
        role: Role::User,
        content: vec![Content::ToolResult {
            tool_use_id: "t0".into(),
            content: vec![Content::text("noon")],
            is_error: false,
        }],
    });
    let answer = Answer {
        text: vec!["So: "],
        tools: vec![("t1", "add", vec!["{\"a\"", ": 1}"]), ("t2", "now", vec!["{}"])],
        stop: "tool_use",
    };
    let (content, stop, _, asked) = both_ways(dialect, request, answer).await;
    let used = |id: &str, name: &str, input| Content::ToolUse { id: id.into(), name: name.into(), input };
    assert_eq!(content, [Content::text("So: "), used("t1", "add", json!({"a": 1})), used("t2", "now", json!({}))]);
    assert_eq!(stop, StopReason::ToolUse);
    assert_eq!((asked.tools, asked.choice), (vec!["add".to_owned(), "now".to_owned()], None));
    let turns = [("user", "add"), ("use", "t0"), ("result", "t0")];
    assert_eq!(asked.turns, turns.map(|(role, text)| (role.to_owned(), text.to_owned())));
}

async fn a_tool_choice_is_passed_on(dialect: impl Dialect + Send + Sync + 'static) {
    for (choice, expected) in [
        (ToolChoice::Auto, "auto"),
        (ToolChoice::Any, "any"),
        (ToolChoice::None, "none"),
        (ToolChoice::Tool { name: "add".into() }, "add"),
    ] {
        let mut request = LlmRequest::new("model-1", "hi");
        request.tools = vec![tool("add")];
        request.tool_choice = Some(choice);
        let (.., asked) = both_ways(dialect, request, said(&["x"])).await;
        assert_eq!(asked.choice.as_deref(), Some(expected));
    }
}

async fn a_schema_is_passed_on(dialect: impl Dialect + Send + Sync + 'static) {
    let schema = json!({"type": "object", "properties": {"a": {}}, "additionalProperties": false});
    let mut request = LlmRequest::new("model-1", "hi");
    request.response_schema = Some(schema.clone());
    let (content, _, _, asked) = both_ways(dialect, request, said(&["{\"a\"", ": 1}"])).await;
    assert_eq!((content, asked.schema), (vec![Content::text("{\"a\": 1}")], Some(schema)));
}

async fn stop_reasons_are_understood(dialect: impl Dialect + Send + Sync + 'static) {
    for (word, reason) in [
        ("max_tokens", StopReason::MaxTokens),
        ("refusal", StopReason::Refusal),
        ("nap", StopReason::Other("nap".into())),
    ] {
        let answer = Answer { stop: word, ..said(&["x"]) };
        let (_, stop, ..) = both_ways(dialect, LlmRequest::new("model-1", "hi"), answer).await;
        assert_eq!(stop, reason);
    }
}

async fn statuses_are_understood(dialect: impl Dialect + Send + Sync + 'static) {
    let table: [(u16, Code, bool); 9] = [
        (400, codes::LLM_INVALID_REQUEST, false),
        (401, codes::LLM_AUTH_FAILED, false),
        (403, codes::LLM_PERMISSION_DENIED, false),
        (404, codes::LLM_INVALID_MODEL, false),
        (413, codes::LLM_REQUEST_TOO_LARGE, false),
        (429, codes::LLM_RATE_LIMITED, true),
        (500, codes::LLM_PROVIDER_ERROR, true),
        (504, codes::LLM_TIMEOUT, true),
        (529, codes::LLM_OVERLOADED, true),
    ];
    for (status, code, retryable) in table {
        let server =
            Server::always(json_reply(status, &[("retry-after", "3"), ("x-request-id", "r1")], &dialect.error(status)))
                .await;
        let adapter = dialect.adapter(&server);
        for asked in [call(LlmRequest::new("model-1", "hi")), watched(LlmRequest::new("model-1", "hi")).0] {
            let failure = adapter.invoke(asked).await.unwrap_err();
            assert_eq!((failure.code(), failure.failure.retryable), (&code, retryable), "{status}: {failure}");
            assert_eq!(failure.failure.retry_after_ms, retryable.then_some(3_000), "{status}");
            assert_eq!((failure.request_id.as_deref(), failure.usage), (Some("r1"), None), "{status}");
            let sent = if status == 504 { Sent::Unknown } else { Sent::Refused };
            assert_eq!(failure.sent, sent, "{status}");
        }
    }
}

async fn a_stream_that_ends_early_is_interrupted(dialect: impl Dialect + Send + Sync + 'static) {
    let acts = dialect.streamed(&said(&["one ", "two"]));
    // The last acts say that the answer is complete; how many differs.
    for kept in 1..acts.len() - 2 {
        let mut acts = acts[..kept].to_vec();
        acts.push(Act::Send(b"0\r\n\r\n".to_vec()));
        let server = Server::always(acts).await;
        let (asked, seen) = watched(LlmRequest::new("model-1", "hi"));
        let failure = dialect.adapter(&server).invoke(asked).await.unwrap_err();
        assert_eq!((failure.code(), failure.sent), (&codes::LLM_INTERRUPTED, Sent::Unknown), "{kept}: {failure}");
        assert_eq!(failure.failure.retryable, seen.lock().unwrap().is_empty(), "{kept}: {failure}");
    }
}

/// A test for each clause and dialect.
macro_rules! clauses {
    ($($dialect:ident: $value:expr;)*) => { $(clauses! { @one $dialect, $value,
        text_and_turns
        tools_are_called
        a_tool_choice_is_passed_on
        a_schema_is_passed_on
        stop_reasons_are_understood
        statuses_are_understood
        a_stream_that_ends_early_is_interrupted
    })* };
    (@one $dialect:ident, $value:expr, $($clause:ident)*) => {
        mod $dialect {
            $(
                #[tokio::test]
                async fn $clause() {
                    super::$clause($value).await;
                }
            )*
        }
    };
}

clauses! {
    claude: super::Claude;
    openai: crate::openai::OpenAi;
}

/// Claude's dialect.
#[derive(Clone, Copy)]
pub struct Claude;

impl Claude {
    fn usage() -> Value {
        json!({"input_tokens": 20, "output_tokens": 9, "cache_read_input_tokens": 5})
    }
}

impl Dialect for Claude {
    fn adapter(self, server: &Server) -> Box<dyn LlmAdapter> {
        Box::new(server.claude())
    }

    fn plain(self, answer: &Answer) -> Value {
        let text = answer.text.concat();
        let mut content = vec![json!({"type": "text", "text": text})];
        content.extend(answer.tools.iter().map(|(id, name, input)| {
            let input: Value = serde_json::from_str(&input.concat()).unwrap();
            json!({"type": "tool_use", "id": id, "name": name, "input": input})
        }));
        json!({"type": "message", "model": "model-1", "content": content, "stop_reason": answer.stop, "usage": Self::usage()})
    }

    fn streamed(self, answer: &Answer) -> Vec<Act> {
        let mut events = vec![
            json!({"type": "message_start", "message": {"model": "model-1", "usage": {"input_tokens": 20, "output_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        ];
        events.extend(answer.text.iter().map(
            |text| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
        ));
        for (index, (id, name, input)) in answer.tools.iter().enumerate() {
            let index = index + 1;
            let block = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
            events.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
            events.extend(input.iter().map(|json| {
                json!({"type": "content_block_delta", "index": index,
                    "delta": {"type": "input_json_delta", "partial_json": json}})
            }));
        }
        events.push(json!({"type": "message_delta", "delta": {"stop_reason": answer.stop}, "usage": Self::usage()}));
        events.push(json!({"type": "message_stop"}));
        stream(&events)
    }

    fn error(self, status: u16) -> Value {
        let kind = match status {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            500 => "api_error",
            504 => "timeout_error",
            529 => "overloaded_error",
            _ => "invalid_request_error",
        };
        json!({"type": "error", "error": {"type": kind, "message": "model: no"}})
    }

    fn asked(self, body: &Value) -> Question {
        let texts = |value: &Value| -> String {
            value.as_array().into_iter().flatten().filter_map(|block| block["text"].as_str()).collect()
        };
        let turns = body["messages"].as_array().unwrap().iter().map(|message| {
            let block = &message["content"][0];
            let word = |text: &str| block[text].as_str().unwrap().to_owned();
            match block["type"].as_str().unwrap() {
                "tool_use" => ("use".to_owned(), word("id")),
                "tool_result" => ("result".to_owned(), word("tool_use_id")),
                _ => (message["role"].as_str().unwrap().to_owned(), word("text")),
            }
        });
        let choice = &body["tool_choice"];
        let strings = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().map(|value| value.as_str().unwrap().to_owned()).collect()
        };
        Question {
            model: body["model"].as_str().unwrap().to_owned(),
            max_tokens: body["max_tokens"].as_u64().unwrap(),
            stream: body["stream"] == json!(true),
            system: texts(&body["system"]),
            turns: turns.collect(),
            tools: body["tools"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|tool| tool["name"].as_str().unwrap().to_owned())
                .collect(),
            choice: choice["name"].as_str().or(choice["type"].as_str()).map(str::to_owned),
            schema: body["output_config"]["format"].get("schema").cloned(),
            stop: strings(&body["stop_sequences"]),
        }
    }
}
