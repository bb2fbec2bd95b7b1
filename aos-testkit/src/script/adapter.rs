//! An adapter that answers as written down.

use std::sync::Arc;

use aos_core::BoxFuture;
use aos_core::llm::{Content, LlmAdapter, LlmAnswer, LlmCall, LlmFailure, LlmResponse, StopReason, Usage};
use aos_core::payload::Payload;
use aos_core::time::Clock;
use serde_json::Value;

use super::{Caller, Script, ScriptError, Turn};

/// An LLM adapter that gives scripted answers. Clones share the script, so that a test can keep one for
/// [`finish`](ScriptedAdapter::finish).
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use aos_core::codes;
/// use aos_core::memory::VirtualClock;
/// use aos_testkit::script::{ScriptedAdapter, Turn};
///
/// let adapter = ScriptedAdapter::new("claude", Arc::new(VirtualClock::default()))
///     .turn(Turn::fail(codes::LLM_OVERLOADED, "busy"))
///     .turn(Turn::reply("Paris").after(Duration::from_secs(2)).expecting_text("capital of France"))
///     .turn(Turn::tool_use("search", serde_json::json!({"query": "Paris"})));
/// # let _ = adapter;
/// ```
#[derive(Clone)]
pub struct ScriptedAdapter {
    name: Arc<str>,
    script: Arc<Script<Reply>>,
}

/// What a scripted model says.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The blocks of its answer.
    pub content: Vec<Content>,
    /// Why it stopped.
    pub stop_reason: StopReason,
    /// The tokens it counts; `None` makes an estimate of a token per four bytes.
    pub usage: Option<Usage>,
}

impl Turn<Reply> {
    /// Answers with a text.
    pub fn reply(text: impl Into<String>) -> Self {
        Self::blocks(vec![Content::text(text)], StopReason::EndTurn)
    }

    /// Answers with a JSON value as text, as a model does that was given a response schema.
    pub fn reply_json(value: &Value) -> Self {
        Self::reply(value.to_string())
    }

    /// Asks for one tool to be called.
    pub fn tool_use(tool: &str, input: Value) -> Self {
        let block = Content::ToolUse { id: format!("use_{tool}"), name: tool.to_owned(), input };
        Self::blocks(vec![block], StopReason::ToolUse)
    }

    /// Answers with these blocks.
    pub const fn blocks(content: Vec<Content>, stop_reason: StopReason) -> Self {
        Self::give(Reply { content, stop_reason, usage: None })
    }
}

impl ScriptedAdapter {
    /// An adapter called `name` with an empty script; delays are of `clock`'s time.
    pub fn new(name: &str, clock: Arc<dyn Clock>) -> Self {
        Self { name: name.into(), script: Arc::new(Script::new(name, clock)) }
    }

    /// Adds an answer for whoever calls next.
    #[must_use]
    pub fn turn(self, turn: Turn<Reply>) -> Self {
        self.script.push(None, turn);
        self
    }

    /// Adds an answer for the calls of one effect; these come before the answers for everybody.
    #[must_use]
    pub fn for_effect(self, effect: &str, turn: Turn<Reply>) -> Self {
        self.script.push(Some(effect), turn);
        self
    }

    /// The calls so far: effect and request.
    pub fn calls(&self) -> Vec<(String, Payload)> {
        self.script.calls()
    }

    /// Ends the test of the script.
    ///
    /// # Errors
    /// [`ScriptError`] listing unexpected calls and answers that nobody asked for.
    pub fn finish(&self) -> Result<(), ScriptError> {
        self.script.finish()
    }
}

impl LlmAdapter for ScriptedAdapter {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        false
    }

    fn invoke(&self, call: LlmCall) -> BoxFuture<'_, Result<LlmAnswer, LlmFailure>> {
        Box::pin(async move {
            let input = Payload::from_serialize(&*call.request)?;
            let caller =
                Caller { effect: call.effect.as_ref(), idempotency_key: &call.idempotency_key, attempt: call.attempt };
            let (reply, cost) = self.script.play(caller, &input).await?;
            let usage = reply.usage.unwrap_or_else(|| Usage {
                input_tokens: tokens(input.len()),
                output_tokens: tokens(reply.content.iter().filter_map(Content::as_text).map(str::len).sum()),
                ..Usage::default()
            });
            let response = LlmResponse {
                content: reply.content,
                stop_reason: reply.stop_reason,
                usage,
                model: call.request.model.clone(),
                adapter: self.name.to_string(),
            };
            Ok(LlmAnswer::new(response, Some(cost)))
        })
    }
}

fn tokens(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(4)
}

#[cfg(test)]
mod tests {
    use aos_core::Failure;
    use aos_core::llm::LlmRequest;
    use aos_core::money::Money;
    use aos_core::random::Seed;
    use serde_json::json;

    use super::*;
    use aos_core::memory::VirtualClock;

    fn ask(adapter: &ScriptedAdapter, prompt: &str) -> Result<LlmAnswer, Failure> {
        Ok(pollster::block_on(adapter.invoke(LlmCall::new(LlmRequest::new("m", prompt), Seed::default())))?)
    }

    #[test]
    fn replies_cost_and_tool_uses() {
        let adapter = ScriptedAdapter::new("claude", Arc::new(VirtualClock::default()))
            .turn(Turn::reply("Paris").cost(Money::from_cents(2)).expecting_text("France"))
            .turn(Turn::tool_use("search", json!({"q": 1})));
        let answer = ask(&adapter, "the capital of France?").unwrap();
        assert_eq!((answer.response.text().as_str(), answer.cost), ("Paris", Some(Money::from_cents(2))));
        assert_eq!((answer.response.adapter.as_str(), answer.response.usage.output_tokens), ("claude", 2));
        assert_eq!(ask(&adapter, "").unwrap().response.stop_reason, StopReason::ToolUse);
        adapter.finish().unwrap();
        assert!(ask(&adapter, "more?").unwrap_err().message.contains("no answer left"));
        assert!(adapter.finish().is_err());
    }
}
