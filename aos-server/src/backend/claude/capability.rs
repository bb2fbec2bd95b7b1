//! What models are known to refuse, so that it is refused here, with a reason, before it is sent.
//!
//! The table has only what the provider's documentation says for sure; a model that is not in it is refused nothing.

use aos_core::llm::{LlmRequest, ToolChoice};
use aos_core::{Failure, codes};
use serde_json::Value;

/// What a model refuses, one bit each.
type Refuses = u8;

/// `temperature`, `top_p` and `top_k` other than the defaults.
const SAMPLING: Refuses = 1;
/// A `tool_choice` that demands a call.
const FORCED_TOOLS: Refuses = 2;
/// `thinking` with a budget.
const BUDGET: Refuses = 4;
/// `thinking` switched off.
const NO_THINKING: Refuses = 8;

/// Models and what they refuse with status 400. From the pages "What's new" and the migration guides of each model,
/// the page on adaptive thinking, and the list of models without sampling parameters, as of 2026-11-26.
const TABLE: &[(&str, Refuses)] = &[
    ("claude-fable-5", SAMPLING | BUDGET | NO_THINKING),
    ("claude-fable-5-1", SAMPLING | FORCED_TOOLS | BUDGET | NO_THINKING),
    ("claude-fable-5-2", SAMPLING | FORCED_TOOLS | BUDGET | NO_THINKING),
    ("claude-haiku-5-5", SAMPLING | BUDGET),
    ("claude-mythos-5", SAMPLING | BUDGET | NO_THINKING),
    ("claude-mythos-5-1", SAMPLING | FORCED_TOOLS | BUDGET | NO_THINKING),
    ("claude-mythos-5-2", SAMPLING | FORCED_TOOLS | BUDGET | NO_THINKING),
    ("claude-mythos-preview", SAMPLING | NO_THINKING),
    ("claude-opus-4-7", SAMPLING | BUDGET),
    ("claude-opus-4-8", SAMPLING | BUDGET),
    ("claude-opus-5", SAMPLING | BUDGET),
    ("claude-opus-5-5", SAMPLING | FORCED_TOOLS | BUDGET | NO_THINKING),
    ("claude-sonnet-5", SAMPLING | BUDGET),
    ("claude-sonnet-5-5", SAMPLING | FORCED_TOOLS | BUDGET | NO_THINKING),
];

/// Looks for what the request's model is known to refuse.
///
/// # Errors
/// [`codes::LLM_INVALID_REQUEST`] naming the field.
pub(super) fn check(request: &LlmRequest) -> Result<(), Failure> {
    let Some(refuses) = refuses(&request.model) else { return Ok(()) };
    let option = |key: &str| request.options.get(key).filter(|value| !value.is_null());
    let thinking = option("thinking").and_then(|thinking| thinking["type"].as_str());
    let sampling = [
        ("temperature", request.temperature.is_some_and(|temperature| temperature != 1.0)),
        // Which values near 1 pass is not documented.
        ("options.top_p", option("top_p").and_then(Value::as_f64).is_some_and(|p| p < 0.99)),
        ("options.top_k", option("top_k").is_some()),
    ];
    let found = if let Some((field, _)) = sampling.iter().find(|(_, given)| *given && refuses & SAMPLING != 0) {
        Some((*field, "takes no sampling parameters: leave it out, and use `options.effort` instead"))
    } else if refuses & FORCED_TOOLS != 0
        && matches!(request.tool_choice, Some(ToolChoice::Any | ToolChoice::Tool { .. }))
    {
        Some(("tool_choice", "can't be made to call a tool: use `auto`, and ask for the call in the prompt"))
    } else if refuses & BUDGET != 0 && thinking == Some("enabled") {
        Some(("options.thinking", "takes no budget for thinking: use {\"type\": \"adaptive\"} and `options.effort`"))
    } else if refuses & NO_THINKING != 0 && thinking == Some("disabled") {
        Some(("options.thinking", "can't do without thinking: leave it out, and use a low `options.effort`"))
    } else {
        None
    };
    match found {
        None => Ok(()),
        Some((field, why)) => {
            let message = format!("`{field}`: the model {} {why}", request.model);
            Err(Failure::new(codes::LLM_INVALID_REQUEST, message))
        }
    }
}

/// What a model refuses, by its name with or without a date.
fn refuses(model: &str) -> Option<Refuses> {
    let is = |name: &str| {
        let date = model.strip_prefix(name)?;
        let dated = date.strip_prefix('-').is_some_and(|d| d.len() == 8 && d.bytes().all(|b| b.is_ascii_digit()));
        (date.is_empty() || dated).then_some(())
    };
    TABLE.iter().find(|(name, _)| is(name).is_some()).map(|(_, refuses)| *refuses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_known_to_be_refused_is_refused() {
        let request = |model: &str, fields: Value| {
            let mut value = json!({"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}],
                "tools": [{"name": "t", "input_schema": {}}]});
            value.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            serde_json::from_value::<LlmRequest>(value).unwrap()
        };
        let thinking = |kind: &str| json!({"options": {"thinking": {"type": kind, "budget_tokens": 2_000}}});
        for (model, fields, refused) in [
            ("claude-opus-5-5", json!({"temperature": 0.0}), Some("temperature")),
            ("claude-opus-5-5-20260922", json!({"temperature": 0.0}), Some("temperature")),
            ("claude-opus-5-5", json!({"temperature": 1.0, "options": {"top_p": 1.0, "top_k": null}}), None),
            ("claude-sonnet-5", json!({"options": {"top_p": 0.9}}), Some("options.top_p")),
            ("claude-haiku-5-5", json!({"options": {"top_k": 5}}), Some("options.top_k")),
            ("claude-haiku-5-5", json!({"tool_choice": {"type": "any"}}), None),
            ("claude-fable-5-2", json!({"tool_choice": {"type": "any"}}), Some("tool_choice")),
            ("claude-sonnet-5-5", json!({"tool_choice": {"type": "tool", "name": "t"}}), Some("tool_choice")),
            ("claude-sonnet-5-5", json!({"tool_choice": {"type": "auto"}}), None),
            ("claude-opus-5", thinking("enabled"), Some("options.thinking")),
            ("claude-opus-5", thinking("disabled"), None),
            ("claude-opus-5-5", thinking("disabled"), Some("options.thinking")),
            ("claude-opus-5-5", thinking("adaptive"), None),
            ("claude-opus-5-5-preview", json!({"temperature": 0.0}), None),
            ("claude-opus-6", json!({"temperature": 0.0, "tool_choice": {"type": "any"}}), None),
            ("claude-haiku-4-5", json!({"temperature": 0.0, "tool_choice": {"type": "any"}}), None),
        ] {
            let result = check(&request(model, fields.clone()));
            match refused {
                None => assert!(result.is_ok(), "{model} {fields}: {result:?}"),
                Some(field) => {
                    let failure = result.unwrap_err();
                    assert_eq!(failure.code, codes::LLM_INVALID_REQUEST);
                    assert!(failure.message.starts_with(&format!("`{field}`: the model {model} ")), "{failure}");
                }
            }
        }
    }
}
