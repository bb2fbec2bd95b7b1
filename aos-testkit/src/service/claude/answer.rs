//! The answer when nobody has written one: a function of the request.

use aos_core::llm::{Content, LlmRequest, StubAdapter, Tool, ToolChoice};
use aos_core::random::Seed;
use serde_json::{Value, json};

use super::error::ApiError;
use super::request::Request;
use super::tokens::{self, BYTES_PER_TOKEN};

/// What the model says, and why it stopped.
pub(super) struct Answer {
    pub(super) content: Vec<Value>,
    pub(super) stop_reason: &'static str,
    pub(super) stop_sequence: Option<String>,
}

/// Thinks when `thinking` says so; then calls the tool that `tool_choice` demands, gives JSON when `output_config` wants
/// it, or repeats the last text. Ends at `stop_sequences` and at `max_tokens`.
pub(super) fn to(request: &Request) -> Result<Answer, ApiError> {
    let body = request.body();
    let mut answer = Answer { content: Vec::new(), stop_reason: "end_turn", stop_sequence: None };
    let mut left = body["max_tokens"].as_u64().unwrap_or(u64::MAX);
    if let Some(block) = thinking(body, request.last_text()) {
        left = left.saturating_sub(tokens::of_block(&block));
        answer.content.push(block);
    }
    if let Some(tool) = demanded_tool(body) {
        let mut block = json!({"type": "tool_use", "name": tool["name"], "input": input_of(tool, request)});
        answer.stop_reason = "tool_use";
        if tokens::of_block(&block) > left {
            block["input"] = json!({});
            answer.stop_reason = "max_tokens";
        }
        answer.content.push(block);
        return Ok(answer);
    }
    let mut text = match body["output_config"]["format"].get("schema") {
        Some(schema) => json_of(schema, request)?,
        None => format!("Echo: {}", request.last_text()),
    };
    let stops = body["stop_sequences"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some((end, stop)) = stops.filter_map(|stop| Some((text.find(stop)?, stop))).min() {
        text.truncate(end);
        answer.stop_reason = "stop_sequence";
        answer.stop_sequence = Some(stop.to_owned());
    }
    if tokens::of_bytes(text.len()) > left {
        let most = usize::try_from(left).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_TOKEN);
        text.truncate(text.floor_char_boundary(most));
        answer.stop_reason = "max_tokens";
        answer.stop_sequence = None;
    }
    if !text.is_empty() {
        answer.content.push(json!({"type": "text", "text": text}));
    }
    Ok(answer)
}

fn thinking(body: &Value, about: &str) -> Option<Value> {
    let thinking = &body["thinking"];
    let thinks = thinking["type"] == "enabled" || thinking["type"] == "adaptive";
    let text = if thinking["display"] == "omitted" { String::new() } else { format!("I have to repeat: {about}") };
    thinks.then(|| json!({"type": "thinking", "thinking": text, "signature": "bW9jayBzaWduYXR1cmU="}))
}

/// The tool that has to be called: the first one when any will do.
fn demanded_tool(body: &Value) -> Option<&Value> {
    let choice = &body["tool_choice"];
    let mut tools = body["tools"].as_array()?.iter();
    match choice["type"].as_str() {
        Some("any") => tools.next(),
        Some("tool") => tools.find(|tool| tool["name"] == choice["name"]),
        _ => None,
    }
}

/// Input that conforms to the tool's schema; none when nothing conforming is found.
fn input_of(tool: &Value, request: &Request) -> Value {
    let name = tool["name"].as_str().unwrap_or_default().to_owned();
    let mut asked = stub_request(request);
    let input_schema = tool["input_schema"].clone();
    asked.tools = vec![Tool { name: name.clone(), description: String::new(), input_schema }];
    asked.tool_choice = Some(ToolChoice::Tool { name });
    let content = StubAdapter::answer(&asked, Seed::default()).map(|answer| answer.content).unwrap_or_default();
    let input = content.into_iter().find_map(|block| match block {
        Content::ToolUse { input, .. } => Some(input),
        _ => None,
    });
    input.unwrap_or_else(|| json!({}))
}

/// JSON text that conforms to a schema.
fn json_of(schema: &Value, request: &Request) -> Result<String, ApiError> {
    let mut asked = stub_request(request);
    asked.response_schema = Some(schema.clone());
    let answer = StubAdapter::answer(&asked, Seed::default());
    answer.map(|answer| answer.text()).map_err(|failure| ApiError::invalid_request(failure.message))
}

/// What the stub adapter makes its values from.
fn stub_request(request: &Request) -> LlmRequest {
    let mut asked = LlmRequest::new(request.model(), request.last_text());
    asked.max_tokens = u32::MAX;
    asked
}
