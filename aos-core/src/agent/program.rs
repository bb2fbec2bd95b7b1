//! The agent as a program: what it asks for next is a function of what it has learned so far.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{self, Turn};
use super::approval::decided;
use super::conversation::Conversation;
use super::round::{Call, Round, clip};
use super::spec::{AgentParts, Prompt};
use super::tool::Tool;
use crate::budget::Budget;
use crate::engine::{EffectResult, Program};
use crate::error::{Failure, codes};
use crate::event::{Command, Request};
use crate::id::EffectId;
use crate::llm::Content;
use crate::money::Money;
use crate::payload::Payload;
use crate::retry::RetryPolicy;

/// Told to the model with the last turn, and once its tool calls are used up.
const NO_MORE_TOOLS: &str = "No tool can be called any more. Give your final answer now, with what you have.";

/// Told to the model after an answer that can't be used.
const AS_TEXT: &str = "Give your final answer again.";
const AS_JSON: &str = "Give your final answer again, as JSON that fits the schema.";

/// What an agent gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentAnswer {
    /// The final answer: a value of the answer schema, or the text when there is none.
    pub answer: Value,
    /// The text of the last turn.
    pub text: String,
    /// How many turns the model had.
    pub turns: u32,
    /// How many tool calls were in order, those included that failed or were declined.
    pub tool_calls: u32,
    /// Why the model stopped: `end_turn`, or its provider's word.
    pub stop: String,
    /// What turns and tools cost.
    pub cost: Money,
}

/// What an effect is for.
enum Asked {
    Turn,
    Approval(Call),
    /// The call at this place of the turn, and the tool's place among the agent's.
    Tool(usize, usize),
}

/// The [`Program`] of one agent.
pub(crate) struct AgentProgram {
    /// What the ids of its effects begin with.
    name: String,
    parts: Arc<AgentParts>,
    prompt: Prompt,
    tools: Vec<Tool>,
    retry: Option<RetryPolicy>,
    timeout: Option<Duration>,
    conversation: Conversation,
    /// Turns asked for.
    turns: u32,
    tool_calls: u32,
    budget: Budget,
    /// Effects that have not ended, with what is reserved for them.
    in_flight: BTreeMap<EffectId, (Asked, Money)>,
    /// The tool calls of the last turn.
    round: Option<Round>,
    /// Whether the last answer could not be used: the next one has to be.
    corrected: bool,
    /// Whether the model knows that there are no more tools.
    closed: bool,
    outcome: Option<EffectResult>,
}

impl AgentProgram {
    /// The agent called `name` at its beginning; `retry` and `timeout` are those of its turns.
    ///
    /// # Errors
    /// [`codes::INVALID_DEFINITION`] for a skill that can't be a tool with the parameters that the prompt sets.
    pub(crate) fn new(
        name: &str,
        parts: Arc<AgentParts>,
        mut prompt: Prompt,
        retry: Option<RetryPolicy>,
        timeout: Option<Duration>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            name: name.to_owned(),
            tools: Tool::all(&parts, &mut prompt)?,
            conversation: Conversation::new(&prompt.goal),
            budget: Budget::new(parts.spec.budget),
            parts,
            prompt,
            retry,
            timeout,
            turns: 0,
            tool_calls: 0,
            in_flight: BTreeMap::new(),
            round: None,
            corrected: false,
            closed: false,
            outcome: None,
        })
    }

    fn ask_model(&mut self, requests: &mut Vec<Request>) {
        let spec = &self.parts.spec;
        if self.turns >= spec.max_turns {
            return self.turn_limit();
        }
        let may_call = self.turns + 1 < spec.max_turns && self.tool_calls < spec.max_tool_calls;
        // A model that was interrupted goes on with its own words, and nothing may come between.
        if !may_call && !self.closed && !self.tools.is_empty() && !self.conversation.ends_with_model() {
            self.closed = true;
            self.conversation.tell(vec![Content::text(NO_MORE_TOOLS)]);
        }
        let command = self.reserve(self.parts.model_estimate).and_then(|()| {
            let skill = self.parts.spec.model_skill.clone();
            let input = Payload::new(self.turn_input(may_call))?;
            Ok(Command::Call { skill, input, retry: self.retry.clone(), timeout: self.timeout })
        });
        match command {
            Ok(command) => {
                let suffix = format!("turn[{}]", self.turns);
                self.turns += 1;
                self.request(&suffix, (Asked::Turn, self.parts.model_estimate), command, requests);
            }
            Err(failure) => self.fail(failure),
        }
    }

    fn turn_input(&self, may_call: bool) -> Value {
        let Prompt { model, system, adapter, max_tokens, temperature, options, .. } = &self.prompt;
        let tools: Vec<_> = self.tools.iter().map(|tool| &tool.offered).collect();
        let choice = (!may_call && !tools.is_empty()).then(|| json!({"type": "none"}));
        let mut input = json!({
            "adapter": adapter,
            "max_tokens": max_tokens,
            "messages": self.conversation.messages(),
            "model": model,
            "options": (!options.is_empty()).then_some(options),
            "response_schema": self.parts.spec.answer_schema,
            "system": system,
            "temperature": temperature,
            "tool_choice": choice,
            "tools": (!tools.is_empty()).then_some(tools),
        });
        if let Value::Object(fields) = &mut input {
            fields.retain(|_, value| !value.is_null());
        }
        input
    }

    fn answered(&mut self, output: &Payload, requests: &mut Vec<Request>) {
        match answer::read(output, self.parts.spec.answer_schema.is_some()) {
            Err(failure) => self.fail(failure),
            Ok(Turn::Final { answer, text, stop }) => {
                let answer = AgentAnswer {
                    answer,
                    text,
                    turns: self.turns,
                    tool_calls: self.tool_calls,
                    stop: stop.to_string(),
                    cost: self.budget.spent(),
                };
                self.outcome = Some(Payload::from_serialize(&answer));
            }
            Ok(Turn::Paused(content)) => {
                self.conversation.hear(content);
                self.ask_model(requests);
            }
            Ok(Turn::Unusable { content, why }) => {
                self.conversation.hear(content);
                self.correct(why, requests);
            }
            // Nobody would read the results.
            Ok(Turn::Calls { .. }) if self.turns >= self.parts.spec.max_turns => self.turn_limit(),
            Ok(Turn::Calls { content, cut }) => {
                self.corrected = false;
                let wishes = self.conversation.hear(content);
                let left = self.parts.spec.max_tool_calls - self.tool_calls;
                let round = Round::new(&wishes, &self.tools, cut, left);
                self.tool_calls += round.waiting();
                self.round = Some(round);
                self.call_tools(requests);
            }
        }
    }

    /// Says to the model what was wrong with its answer, once.
    fn correct(&mut self, why: &str, requests: &mut Vec<Request>) {
        if std::mem::replace(&mut self.corrected, true) {
            let message = format!("the agent's model gave two answers in a row that can't be used; of the last: {why}");
            return self.fail(Failure::new(codes::LLM_INVALID_RESPONSE, message));
        }
        self.conversation.tell(vec![Content::text(why)]);
        self.ask_model(requests);
    }

    /// Begins what calls it may; goes on to the next turn when all have their results.
    fn call_tools(&mut self, requests: &mut Vec<Request>) {
        let alone = !self.parts.spec.parallel;
        while self.outcome.is_none()
            && let Some(call) = self.round.as_mut().and_then(|round| round.next(alone))
        {
            if self.tools[call.tool].approve {
                let suffix = format!("turn[{}]/tool[{}]/approval", self.turns - 1, call.place);
                let timeout = self.parts.spec.approval_timeout_ms.map(Duration::from_millis);
                let command = Command::Signal { name: format!("{}/{suffix}", self.name), timeout };
                self.open();
                self.request(&suffix, (Asked::Approval(call), Money::ZERO), command, requests);
            } else {
                self.call_tool(call, requests);
            }
        }
        if let Some(results) = self.round.as_mut().and_then(Round::results) {
            self.round = None;
            self.conversation.tell(results);
            self.ask_model(requests);
        }
    }

    fn call_tool(&mut self, call: Call, requests: &mut Vec<Request>) {
        let Call { place, tool, input } = call;
        let pin = &self.tools[tool].pin;
        let (skill, estimate) = (pin.skill.clone(), pin.estimate);
        match self.reserve(estimate) {
            Ok(()) => {
                let suffix = format!("turn[{}]/tool[{place}]", self.turns - 1);
                self.open();
                let command = Command::Call { skill, input, retry: None, timeout: None };
                self.request(&suffix, (Asked::Tool(place, tool), estimate), command, requests);
            }
            Err(failure) => self.settle(place, Err(failure)),
        }
    }

    fn open(&mut self) {
        if let Some(round) = &mut self.round {
            round.open += 1;
        }
    }

    fn close(&mut self) {
        if let Some(round) = &mut self.round {
            round.open -= 1;
        }
    }

    fn settle(&mut self, place: usize, result: Result<Value, Failure>) {
        if let Some(round) = &mut self.round {
            round.settle(place, result);
        }
    }

    fn reserve(&mut self, estimate: Money) -> Result<(), Failure> {
        let (left, spent) = (self.budget.left().unwrap_or_default(), self.budget.spent());
        self.budget.reserve(estimate).map_err(|failure| {
            let message = format!(
                "this may cost up to ${estimate}, and ${left} of the agent's own budget are left (${spent} spent)"
            );
            Failure { message, ..failure }
        })
    }

    fn request(&mut self, suffix: &str, asked: (Asked, Money), command: Command, requests: &mut Vec<Request>) {
        match EffectId::new(format!("{}/{suffix}", self.name)) {
            Ok(effect) => {
                self.in_flight.insert(effect.clone(), asked);
                requests.push(Request { effect, command });
            }
            Err(error) => self.fail(Failure::new(codes::EFFECT_ID_INVALID, error.to_string())),
        }
    }

    fn turn_limit(&mut self) {
        let last = self.conversation.messages().iter().rev().flat_map(|message| message.content.iter().rev());
        let said = last.filter_map(Content::as_text).find(|text| *text != NO_MORE_TOOLS).unwrap_or_default();
        let message = format!(
            "the agent has no final answer after {} turns and {} tool calls; the last that was said is {:?}",
            self.turns,
            self.tool_calls,
            clip(said, 200)
        );
        self.fail(Failure::new(codes::AGENT_TURN_LIMIT, message));
    }

    /// Ends without an answer; the failure tells how far it came.
    fn fail(&mut self, mut failure: Failure) {
        if failure.details.is_null() {
            let (turns, tool_calls) = (self.turns, self.tool_calls);
            failure = failure.details(json!({"turns": turns, "tool_calls": tool_calls, "cost": self.budget.spent()}));
        }
        self.outcome = Some(Err(failure));
    }
}

impl Program for AgentProgram {
    fn start(&mut self, requests: &mut Vec<Request>) {
        self.ask_model(requests);
    }

    fn resolve(&mut self, effect: &EffectId, result: &EffectResult, cost: Money, requests: &mut Vec<Request>) {
        let Some((asked, estimate)) = self.in_flight.remove(effect) else { return };
        if self.outcome.is_some() {
            return;
        }
        self.budget.release(estimate);
        self.budget.spend(cost);
        match (asked, result) {
            (Asked::Turn, Ok(output)) => self.answered(output, requests),
            (Asked::Turn, Err(failure)) if failure.code == codes::LLM_INVALID_RESPONSE => {
                let again = if self.parts.spec.answer_schema.is_some() { AS_JSON } else { AS_TEXT };
                self.correct(&format!("{}. {again}", failure.message), requests);
            }
            (Asked::Turn, Err(failure)) => self.fail(failure.clone()),
            (Asked::Approval(call), answer) => {
                self.close();
                match decided(answer) {
                    Ok(()) => self.call_tool(call, requests),
                    Err(failure) => self.settle(call.place, Err(failure)),
                }
                self.call_tools(requests);
            }
            (Asked::Tool(place, tool), result) => {
                self.close();
                let result = result.as_ref().map(|output| self.tools[tool].output(output)).map_err(Failure::clone);
                self.settle(place, result);
                self.call_tools(requests);
            }
        }
    }

    fn outcome(&mut self) -> Option<EffectResult> {
        self.outcome.clone()
    }
}

/// The agent and the number of the turn, from the id of a turn's effect.
pub(crate) fn turn_of(effect: &EffectId) -> Option<(&str, u32)> {
    let (agent, turn) = effect.as_str().rsplit_once("/turn[")?;
    Some((agent, turn.strip_suffix(']')?.parse().ok()?))
}
