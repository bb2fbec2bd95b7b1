//! Everything beside the conversation and the tools.

use serde_json::Value;

use super::tools::is_schema;
use super::{Subject, Wrong, list, one_of, text};

/// The least that a thinking budget may be.
const BUDGET: u64 = 1_024;

const EFFORTS: [&str; 5] = ["low", "medium", "high", "xhigh", "max"];
const THINKING: [&str; 4] = ["adaptive", "between_tools", "disabled", "enabled"];
const TIERS: [&str; 2] = ["auto", "standard_only"];
const SPEEDS: [&str; 2] = ["standard", "fast"];

pub(super) fn max_tokens(subject: &Subject<'_>) -> Wrong {
    let Some(value) = subject.body.get("max_tokens") else { return Ok(()) };
    let Some(tokens) = value.as_u64() else {
        return Err("max_tokens: Input should be greater than or equal to 0".into());
    };
    let (most, model) = (subject.model.max_tokens, &subject.model.id);
    if tokens > most {
        return Err(format!(
            "max_tokens: {tokens} > {most}, which is the maximum allowed number of output tokens for {model}"
        ));
    }
    Ok(())
}

pub(super) fn sampling(subject: &Subject<'_>) -> Wrong {
    let given = |field: &str| subject.body.get(field).and_then(Value::as_f64);
    for field in ["temperature", "top_p", "top_k"] {
        let Some(value) = given(field) else { continue };
        if subject.newest {
            return Err(format!("{field}: Extra inputs are not permitted"));
        }
        if field != "top_k" && !(0.0..=1.0).contains(&value) {
            return Err(format!("{field}: range: 0..1"));
        }
        let is_default = match field {
            "temperature" => value >= 1.0,
            "top_p" => value >= 0.99,
            _ => false,
        };
        if !subject.model.sampling && !is_default {
            return Err(format!("`{field}` is deprecated for this model."));
        }
    }
    if subject.model.sampling && given("temperature").is_some() && given("top_p").is_some() {
        return Err("`temperature` and `top_p` cannot both be specified for this model. Please use only one.".into());
    }
    Ok(())
}

pub(super) fn stop_sequences(subject: &Subject<'_>) -> Wrong {
    for (index, stop) in list(subject.body, "stop_sequences").iter().enumerate() {
        match stop.as_str() {
            None => return Err(format!("stop_sequences.{index}: Input should be a valid string")),
            Some(stop) if stop.trim().is_empty() => {
                return Err("stop_sequences: each stop sequence must contain non-whitespace".into());
            }
            Some(_) => {}
        }
    }
    Ok(())
}

pub(super) fn thinking(subject: &Subject<'_>) -> Wrong {
    let Some(thinking) = subject.body.get("thinking") else { return Ok(()) };
    let Some(kind) = thinking.get("type").and_then(Value::as_str) else {
        return Err("thinking.type: Field required".into());
    };
    if !THINKING.contains(&kind) {
        return Err(format!(
            "thinking: Input tag '{kind}' found using 'type' does not match any of the expected tags: {}",
            one_of(&THINKING)
        ));
    }
    if kind == "enabled" {
        let budget = thinking.get("budget_tokens").ok_or("thinking.enabled.budget_tokens: Field required")?;
        let budget = budget.as_i64().ok_or("thinking.enabled.budget_tokens: Input should be a valid integer")?;
        if budget < BUDGET.cast_signed() {
            return Err(format!("thinking.enabled.budget_tokens: Input should be greater than or equal to {BUDGET}"));
        }
        let most = subject.body.get("max_tokens").and_then(Value::as_i64);
        if most.is_some_and(|most| most <= budget) && !subject.counting {
            return Err("`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at \
                        https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size"
                .into());
        }
    }
    if !subject.model.thinking.contains(&kind) {
        return Err(match kind {
            "adaptive" => "adaptive thinking is not supported on this model".into(),
            "enabled" => {
                "\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\" and \
                          \"output_config.effort\" to control thinking behavior."
                    .into()
            }
            _ => format!("\"thinking.type.{kind}\" is not supported for this model."),
        });
    }
    let temperature = subject.body.get("temperature").and_then(Value::as_f64);
    if matches!(kind, "enabled" | "adaptive") && temperature.is_some_and(|temperature| temperature < 1.0) {
        return Err(
            "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode. Please consult our \
                    documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
                .into(),
        );
    }
    Ok(())
}

pub(super) fn output_config(subject: &Subject<'_>) -> Wrong {
    let Some(config) = subject.body.get("output_config") else { return Ok(()) };
    match config.get("effort") {
        None | Some(Value::Null) => {}
        Some(effort) if !effort.as_str().is_some_and(|effort| EFFORTS.contains(&effort)) => {
            return Err(format!("output_config.effort: Input should be {}", one_of(&EFFORTS)));
        }
        Some(_) if !subject.model.effort => return Err("This model does not support the effort parameter.".into()),
        Some(_) => {}
    }
    let Some(format) = config.get("format").filter(|format| !format.is_null()) else { return Ok(()) };
    if format["type"] != "json_schema" {
        return Err("output_config.format.type: Input should be 'json_schema'".into());
    }
    let Some(schema) = format.get("schema") else {
        return Err("output_config.format.schema: Field required".into());
    };
    if !schema.is_object() || !is_schema(schema) {
        return Err("output_config.format.schema: Invalid schema".into());
    }
    closed(schema).map_err(|why| format!("output_config.format.schema: {why}"))
}

/// Every object of the schema says that it has no other properties.
fn closed(schema: &Value) -> Wrong {
    if schema["type"] == "object" && schema["additionalProperties"] != false {
        return Err("For 'object' type, 'additionalProperties' must be explicitly set to false".into());
    }
    let named = ["properties", "$defs"].into_iter().filter_map(|keyword| schema[keyword].as_object());
    let listed = ["anyOf", "allOf", "prefixItems"].into_iter().filter_map(|keyword| schema[keyword].as_array());
    named.flat_map(|parts| parts.values()).chain(listed.flatten()).chain(schema.get("items")).try_for_each(closed)
}

pub(super) fn others(subject: &Subject<'_>) -> Wrong {
    for (field, words) in [("service_tier", &TIERS), ("speed", &SPEEDS)] {
        if text(subject.body, field).is_some_and(|word| !words.contains(&word)) {
            return Err(format!("{field}: Input should be {}", one_of(words)));
        }
    }
    match subject.body.get("metadata").and_then(|metadata| metadata.get("user_id")) {
        Some(user) if !user.is_null() && !user.is_string() => {
            Err("metadata.user_id: Input should be a valid string".into())
        }
        _ => Ok(()),
    }
}

pub(super) fn context(subject: &Subject<'_>) -> Wrong {
    let (tokens, most) = (subject.input_tokens, subject.model.max_input_tokens);
    if tokens > most { Err(format!("prompt is too long: {tokens} tokens > {most} maximum")) } else { Ok(()) }
}
