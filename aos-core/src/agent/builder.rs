//! Agents of Rust workflows, said one thing after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::spec::{AgentParts, AgentSpec, Prompt, ToolSpec};
use super::{DEFAULT_MAX_TOOL_CALLS, DEFAULT_MAX_TURNS, MODEL_SKILL, tool};
use crate::error::{Failure, codes};
use crate::money::Money;
use crate::retry::RetryPolicy;
use crate::workflow::Plan;

/// An agent: what it is to do, with which model and tools, and within what bounds.
/// [`Ctx::agent`](crate::flow::Ctx::agent) lets it work.
#[derive(Clone, Debug)]
#[must_use = "an agent does nothing until a context is given it"]
pub struct Agent {
    prompt: Prompt,
    tools: Vec<AgentTool>,
    max_turns: u32,
    max_tool_calls: u32,
    budget: Option<Money>,
    parallel: bool,
    answer_schema: Option<Value>,
    approval_timeout: Option<Duration>,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) timeout: Option<Duration>,
}

impl Agent {
    /// An agent that is to reach `goal` with the provider's model `model`: no tools, 10 turns, 50 tool calls, no budget
    /// but the run's.
    pub fn new(goal: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            prompt: Prompt {
                goal: goal.into(),
                model: model.into(),
                system: None,
                adapter: None,
                max_tokens: None,
                temperature: None,
                options: Map::new(),
                tools: BTreeMap::new(),
            },
            tools: Vec::new(),
            max_turns: DEFAULT_MAX_TURNS,
            max_tool_calls: DEFAULT_MAX_TOOL_CALLS,
            budget: None,
            parallel: true,
            answer_schema: None,
            approval_timeout: None,
            retry: None,
            timeout: None,
        }
    }

    /// Sets the system prompt.
    pub fn system(mut self, text: impl Into<String>) -> Self {
        self.prompt.system = Some(text.into());
        self
    }

    /// Names the adapter, in place of the host's default.
    pub fn adapter(mut self, name: impl Into<String>) -> Self {
        self.prompt.adapter = Some(name.into());
        self
    }

    /// Sets the most tokens of one turn.
    pub fn max_tokens(mut self, tokens: u32) -> Self {
        self.prompt.max_tokens = Some(tokens);
        self
    }

    /// Sets how much chance there is in the answers, from 0.
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.prompt.temperature = Some(temperature);
        self
    }

    /// Adds a parameter of the provider, passed on as it is.
    pub fn option(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.prompt.options.insert(name.into(), value.into());
        self
    }

    /// Lets the model have a skill called: `"web_search@^1"`, or an [`AgentTool`]. The plan pins it with
    /// [`PlanBuilder::tool`](crate::workflow::PlanBuilder::tool).
    pub fn tool(mut self, tool: impl Into<AgentTool>) -> Self {
        self.tools.push(tool.into());
        self
    }

    /// Sets the most turns of the model, from 1. In the last one it can only answer.
    pub fn max_turns(mut self, turns: u32) -> Self {
        self.max_turns = turns;
        self
    }

    /// Sets the most tool calls of all turns together.
    pub fn max_tool_calls(mut self, calls: u32) -> Self {
        self.max_tool_calls = calls;
        self
    }

    /// Sets what turns and tools may cost together; the run's budget holds as well.
    pub fn budget(mut self, budget: Money) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Calls the tools of a turn one after the other.
    pub fn one_at_a_time(mut self) -> Self {
        self.parallel = false;
        self
    }

    /// Asks for a final answer that is an instance of this JSON Schema.
    pub fn answer_schema(mut self, schema: Value) -> Self {
        self.answer_schema = Some(schema);
        self
    }

    /// Sets how long a person may take to approve a call.
    pub fn approval_timeout(mut self, limit: Duration) -> Self {
        self.approval_timeout = Some(limit);
        self
    }

    /// Overrides the retry policy of the model's turns.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// Overrides how long one attempt of a turn may take.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Ties the agent to what `plan` pins.
    pub(crate) fn tied(&self, plan: &Plan) -> Result<(AgentParts, Prompt), Failure> {
        let mut prompt = self.prompt.clone();
        let mut tools = Vec::with_capacity(self.tools.len());
        for AgentTool { requirement, name, description, params, approve } in self.tools.clone() {
            let skill = plan.select(&requirement)?.skill.clone();
            let name = name.unwrap_or_else(|| tool::default_name(skill.id.as_str()));
            match params {
                Value::Null => {}
                Value::Object(params) => drop(prompt.tools.insert(name.clone(), params)),
                other => {
                    let message = format!("the params of the tool {name:?} are {other}: expected an object");
                    return Err(Failure::new(codes::INVALID_DEFINITION, message));
                }
            }
            tools.push(ToolSpec { skill, name, description, approve });
        }
        let spec = AgentSpec {
            model_skill: plan.select(MODEL_SKILL)?.skill.clone(),
            tools,
            max_turns: self.max_turns,
            max_tool_calls: self.max_tool_calls,
            budget: self.budget,
            parallel: self.parallel,
            answer_schema: self.answer_schema.clone(),
            approval_timeout_ms: self
                .approval_timeout
                .map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        };
        Ok((AgentParts::new(spec, plan)?, prompt))
    }
}

/// A skill that an agent may have called.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until an agent has it"]
pub struct AgentTool {
    requirement: String,
    name: Option<String>,
    description: Option<String>,
    params: Value,
    approve: bool,
}

impl AgentTool {
    /// A skill that the plan pins: `id`, `id@^1` or `id@1.2.3`.
    pub fn new(skill: &str) -> Self {
        Self { requirement: skill.to_owned(), name: None, description: None, params: Value::Null, approve: false }
    }

    /// Sets what the model calls it, in place of the skill's id.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets what the model is told of it, in place of the skill's description.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Sets properties of the input (an object) that the model neither sees nor gives.
    pub fn params(mut self, params: Value) -> Self {
        self.params = params;
        self
    }

    /// Asks a person before each call.
    pub fn approve(mut self) -> Self {
        self.approve = true;
        self
    }
}

impl From<&str> for AgentTool {
    fn from(skill: &str) -> Self {
        Self::new(skill)
    }
}
