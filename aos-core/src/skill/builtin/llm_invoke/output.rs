//! What the skill makes of an answer.

use serde_json::{Value, json};

use super::Tried;
use crate::error::{Failure, codes};
use crate::llm::{Content, LlmAnswer, LlmResponse, StopReason};
use crate::payload::Payload;
use crate::skill::schema::CompiledSchema;

/// The skill's output; `tried` lists who was asked before and gave none.
///
/// # Errors
/// An answer that can't be used.
pub(super) fn output(
    answer: &LlmAnswer,
    schema: Option<&dyn CompiledSchema>,
    tried: &[Tried],
) -> Result<Payload, Failure> {
    let LlmAnswer { response, cost, price, cached, .. } = answer;
    if response.stop_reason == StopReason::Refusal {
        let said: String = response.text().chars().take(200).collect();
        return Err(Failure::new(
            codes::LLM_CONTENT_BLOCKED,
            format!("{} declined to answer: {said:?}", response.model),
        ));
    }
    let calls: Vec<Value> = response
        .content
        .iter()
        .filter_map(|block| match block {
            Content::ToolUse { id, name, input } => Some(json!({"id": id, "name": name, "input": input})),
            _ => None,
        })
        .collect();
    let mut output = json!({
        "text": response.text(),
        "content": response.content,
        "stop_reason": response.stop_reason,
        "usage": response.usage,
        "model": response.model,
        "adapter": response.adapter,
        "cost": cost,
    });
    if let Some(price) = price {
        output["price"] = json!(price);
    }
    if *cached {
        output["cached"] = Value::Bool(true);
    }
    if !tried.is_empty() {
        output["tried"] = tried.iter().map(Tried::view).collect();
    }
    // A model that wants a tool first has not given its structured answer yet.
    if let Some(schema) = schema.filter(|_| calls.is_empty()) {
        output["json"] = structured(response, schema)?;
    }
    output["tool_calls"] = Value::Array(calls);
    Payload::new(output).map_err(|error| invalid(response, error.to_string()))
}

fn structured(response: &LlmResponse, schema: &dyn CompiledSchema) -> Result<Value, Failure> {
    let text = response.text();
    let value = crate::json::parse(unfenced(&text)).map_err(|error| {
        let cut = if response.stop_reason == StopReason::MaxTokens { ": it was cut at `max_tokens`" } else { "" };
        let start: String = text.chars().take(120).collect();
        invalid(response, format!("{}{cut}; it begins {start:?}", error.message))
    })?;
    match &schema.check(&value)[..] {
        [] => Ok(value),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
            let mistakes: Vec<_> = std::iter::once(first).chain(rest).collect();
            Err(invalid(response, format!("it does not fit `response_schema`: {first}{more}"))
                .details(json!({ "errors": mistakes })))
        }
    }
}

fn invalid(response: &LlmResponse, why: String) -> Failure {
    Failure::new(codes::LLM_INVALID_RESPONSE, format!("the answer of {} can't be used: {why}", response.model))
}

/// The JSON within a Markdown fence, which models like to put around it.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```json").or_else(|| text.strip_prefix("```")).and_then(|t| t.strip_suffix("```"));
    inner.unwrap_or(text)
}
