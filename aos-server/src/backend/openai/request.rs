//! Our request as a body of chat completions.

use aos_core::llm::{Content, ImageSource, LlmRequest, Message, Role, ToolChoice};
use aos_core::{Failure, codes};
use serde_json::{Map, Value, json};

/// Fields of the API that the request has under a name of its own: as options they would contradict it.
const OWN: &[&str] = &[
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "model",
    "n",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "user",
];

/// The body; `public` says that it is for OpenAI itself.
///
/// # Errors
/// [`codes::LLM_INVALID_REQUEST`]: an option that contradicts the request; content that the API has no form for.
pub(super) fn write(request: &LlmRequest, stream: bool, public: bool) -> Result<Vec<u8>, Failure> {
    if let Some(own) = OWN.iter().find(|own| request.options.contains_key(**own)) {
        return Err(refused(format!("`options.{own}` can't be given: the request has a field for it")));
    }
    let mut body = request.options.clone();
    let mut set = |key: &str, value: Value| drop(body.insert(key.to_owned(), value));
    set("model", json!(request.model));
    set("messages", json!(messages(request)?));
    set(if public { "max_completion_tokens" } else { "max_tokens" }, json!(request.max_tokens));
    if let Some(temperature) = request.temperature {
        set("temperature", json!(temperature));
    }
    if !request.stop_sequences.is_empty() {
        set("stop", json!(request.stop_sequences));
    }
    if let Some(schema) = &request.response_schema {
        set("response_format", json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}));
    }
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            let function = json!({"name": tool.name, "description": tool.description, "parameters": tool.input_schema});
            json!({"type": "function", "function": function})
        });
        set("tools", tools.collect());
        match &request.tool_choice {
            None => {}
            Some(ToolChoice::Auto) => set("tool_choice", json!("auto")),
            Some(ToolChoice::Any) => set("tool_choice", json!("required")),
            Some(ToolChoice::None) => set("tool_choice", json!("none")),
            Some(ToolChoice::Tool { name }) => {
                set("tool_choice", json!({"type": "function", "function": {"name": name}}));
            }
        }
    }
    if let Some(user) = request.metadata.get("user_id") {
        set("user", json!(user));
    }
    if stream {
        set("stream", json!(true));
        set("stream_options", json!({"include_usage": true}));
    }
    serde_json::to_vec(&body).map_err(|e| Failure::new(codes::INTERNAL, format!("a request can't be written: {e}")))
}

fn refused(why: String) -> Failure {
    Failure::new(codes::LLM_INVALID_REQUEST, why)
}

fn messages(request: &LlmRequest) -> Result<Vec<Value>, Failure> {
    let mut messages = Vec::new();
    if !request.system.is_empty() {
        messages.push(json!({"role": "system", "content": parts(request.system.iter())?}));
    }
    for message in &request.messages {
        match message.role {
            Role::User => user(message, &mut messages)?,
            Role::Assistant => messages.push(assistant(message)?),
        }
    }
    Ok(messages)
}

/// Results of tools are messages of their own there, and come first.
fn user(message: &Message, messages: &mut Vec<Value>) -> Result<(), Failure> {
    let is_result = |block: &&Content| matches!(block, Content::ToolResult { .. });
    for block in message.content.iter().filter(is_result) {
        if let Content::ToolResult { tool_use_id, content, is_error } = block {
            // There is no other place to say that a tool failed.
            let failed = is_error.then(|| Content::text("The tool failed."));
            let content = parts(failed.iter().chain(content))?;
            messages.push(json!({"role": "tool", "tool_call_id": tool_use_id, "content": content}));
        }
    }
    let mut rest = message.content.iter().filter(|block| !is_result(block)).peekable();
    if rest.peek().is_some() {
        messages.push(json!({"role": "user", "content": parts(rest)?}));
    }
    Ok(())
}

fn assistant(message: &Message) -> Result<Value, Failure> {
    let mut calls = Vec::new();
    let mut said = Vec::new();
    for block in &message.content {
        match block {
            Content::ToolUse { id, name, input } => {
                let function = json!({"name": name, "arguments": input.to_string()});
                calls.push(json!({"id": id, "type": "function", "function": function}));
            }
            // Reasoning is not sent back.
            Content::Thinking { .. } => {}
            block => said.push(block),
        }
    }
    let mut fields = Map::from_iter([("role".to_owned(), json!("assistant"))]);
    if !said.is_empty() || calls.is_empty() {
        fields.insert("content".into(), parts(said.into_iter())?);
    }
    if !calls.is_empty() {
        fields.insert("tool_calls".into(), Value::Array(calls));
    }
    Ok(Value::Object(fields))
}

/// Content as text if it is nothing else (some servers take no list), or else as a list of parts.
fn parts<'a>(blocks: impl Iterator<Item = &'a Content>) -> Result<Value, Failure> {
    let mut parts = Vec::new();
    let mut texts = Vec::new();
    for block in blocks {
        match block {
            Content::Text { text, .. } => {
                texts.push(text.as_str());
                parts.push(json!({"type": "text", "text": text}));
            }
            Content::Image { source: ImageSource::Url { url } } => {
                parts.push(json!({"type": "image_url", "image_url": {"url": url}}));
            }
            Content::Image { source: ImageSource::Blob { .. } } => {
                return Err(refused(
                    "an image from the blob store can't be sent by this adapter yet: give its `url`".into(),
                ));
            }
            Content::Other(value) => {
                return Err(refused(format!("content of type {} has no form in chat completions", value["type"])));
            }
            Content::ToolUse { .. } | Content::ToolResult { .. } | Content::Thinking { .. } => {
                return Err(refused(
                    "tool uses, tool results and thinking are in a message where they can't be".into(),
                ));
            }
        }
    }
    Ok(if texts.len() == parts.len() { Value::String(texts.join("\n")) } else { Value::Array(parts) })
}
