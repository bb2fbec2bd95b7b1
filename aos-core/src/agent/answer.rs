//! What a model does in a turn, from the output of the skill that asks it.

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Failure, codes};
use crate::llm::{Content, StopReason};
use crate::payload::Payload;

/// What the model did. Its blocks are left as they are, except empty texts, which no provider takes back.
#[derive(Debug, PartialEq)]
pub(super) enum Turn {
    /// It has come to an end.
    Final {
        /// The final answer: the text, or what fits the schema.
        answer: Value,
        text: String,
        stop: StopReason,
    },
    /// It wants tools to be called.
    Calls {
        content: Vec<Content>,
        /// Whether the answer was cut, so that a call may not be what was meant.
        cut: bool,
    },
    /// It was interrupted, and goes on when it gets its own words back.
    Paused(Vec<Content>),
    /// It said nothing that can be used.
    Unusable {
        content: Vec<Content>,
        /// Told to the model.
        why: &'static str,
    },
}

/// The part of the skill's output that matters here.
#[derive(Deserialize)]
struct Output {
    content: Vec<Content>,
    stop_reason: StopReason,
}

/// Reads a turn; `structured` says whether the final answer has a schema.
///
/// # Errors
/// [`codes::LLM_CONTENT_BLOCKED`] when the model declines, [`codes::LLM_CONTEXT_TOO_LONG`] when its context is full, and
/// [`codes::LLM_INVALID_RESPONSE`] for an output that is none of the skill's.
pub(super) fn read(output: &Payload, structured: bool) -> Result<Turn, Failure> {
    let Output { mut content, stop_reason } = output.to().map_err(|failure| {
        let message = format!("the output of a turn is not one of {}: {}", super::MODEL_SKILL, failure.message);
        Failure::new(codes::LLM_INVALID_RESPONSE, message)
    })?;
    content.retain(|block| block.as_text().is_none_or(|text| !text.trim().is_empty()));
    let text: String = content.iter().filter_map(Content::as_text).collect();
    match stop_reason {
        StopReason::Refusal => {
            let said = super::round::clip(&text, 200);
            let message = format!("the agent's model declined to go on: {said:?}");
            return Err(Failure::new(codes::LLM_CONTENT_BLOCKED, message));
        }
        StopReason::ContextWindowExceeded => {
            let message = "the agent's conversation has filled the model's context: give tools that answer in fewer words, \
                           allow fewer turns, or take a model with a longer context";
            return Err(Failure::new(codes::LLM_CONTEXT_TOO_LONG, message));
        }
        _ => {}
    }
    let cut = stop_reason == StopReason::MaxTokens;
    if content.iter().any(|block| matches!(block, Content::ToolUse { .. })) {
        return Ok(Turn::Calls { content, cut });
    }
    let why = match stop_reason {
        StopReason::PauseTurn if !content.is_empty() => return Ok(Turn::Paused(content)),
        StopReason::MaxTokens => {
            "Your answer was cut because it reached the limit of its length. Answer again, in fewer words."
        }
        StopReason::ToolUse => {
            "You stopped to have a tool called, and called none. Call a tool, or give your final answer."
        }
        _ => match answer(output, &text, structured) {
            Some(answer) => return Ok(Turn::Final { answer, text, stop: stop_reason }),
            None => "Your answer was empty. Call a tool, or give your final answer.",
        },
    };
    Ok(Turn::Unusable { content, why })
}

fn answer(output: &Payload, text: &str, structured: bool) -> Option<Value> {
    if structured { output.value().get("json").cloned() } else { (!text.is_empty()).then(|| text.into()) }
}
