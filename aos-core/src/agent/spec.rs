//! What an agent is: the part that a plan fixes, and the part that is computed when it begins.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::tool::{self, ToolPin};
use crate::error::{Failure, codes};
use crate::money::Money;
use crate::skill::SkillVersion;
use crate::workflow::{Plan, SkillPin};

/// An agent's tools and bounds, as a plan fixes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentSpec {
    /// The pinned skill that asks the model.
    pub model_skill: SkillVersion,
    /// The skills that the model may have called, and no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolSpec>,
    /// The most turns of the model, from 1.
    pub max_turns: u32,
    /// The most tool calls in all turns together.
    pub max_tool_calls: u32,
    /// What the agent may spend of the run's budget, its turns and tools together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Money>,
    /// Whether the tools that one turn asks for are called at the same time, or one after the other.
    pub parallel: bool,
    /// JSON Schema of the final answer; without one it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_schema: Option<Value>,
    /// How long a person may take to approve a call, in milliseconds; `None` for any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_timeout_ms: Option<u64>,
}

/// One tool of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolSpec {
    /// The pinned skill.
    pub skill: SkillVersion,
    /// What the model calls it: 1 to 64 letters, digits, `_` or `-`.
    pub name: String,
    /// What the model is told of it, in place of the skill's own description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether a person is asked before each call.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approve: bool,
}

/// What is computed when an agent begins: what it is to do, and how the model is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prompt {
    pub(crate) goal: String,
    pub(crate) model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) system: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) adapter: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_tokens: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) temperature: Option<f64>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) options: Map<String, Value>,
    /// Parameters that the workflow sets and the model does not see, by tool name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tools: BTreeMap<String, Map<String, Value>>,
}

/// An agent's spec together with what the plan pins for it.
pub(crate) struct AgentParts {
    pub(crate) spec: AgentSpec,
    /// Upper bound of what one attempt of a turn costs.
    pub(crate) model_estimate: Money,
    /// What the plan pins for each tool, in the order of the spec, with what a model is told of it.
    pub(crate) tools: Vec<(SkillPin, ToolPin)>,
}

impl AgentParts {
    /// Looks up in `plan` what `spec` names.
    ///
    /// # Errors
    /// [`codes::SKILL_NOT_IN_PLAN`] for a skill that is not pinned, or not as a tool; [`codes::INVALID_DEFINITION`] for
    /// names that no model would take, two tools of one name, or no turns.
    pub(crate) fn new(spec: AgentSpec, plan: &Plan) -> Result<Self, Failure> {
        let malformed = |why: String| Err(Failure::new(codes::INVALID_DEFINITION, why));
        if spec.max_turns == 0 {
            return malformed("the agent's max_turns is 0: expected a number from 1".into());
        }
        let mut names = BTreeSet::new();
        let mut tools = Vec::with_capacity(spec.tools.len());
        for ToolSpec { skill, name, .. } in &spec.tools {
            if !tool::is_name(name) {
                return malformed(format!("the agent's tool {name:?}: expected {}", tool::NAME));
            }
            if !names.insert(name) {
                return malformed(format!("two tools of the agent are called {name:?}"));
            }
            let pin = plan.pin(skill)?;
            let offered = pin.tool.clone().ok_or_else(|| {
                let message = format!("the plan of {} pins {skill}, but not as a tool of agents", plan.workflow);
                Failure::new(codes::SKILL_NOT_IN_PLAN, message)
            })?;
            tools.push((pin.clone(), offered));
        }
        let model_estimate = plan.pin(&spec.model_skill)?.estimate;
        Ok(Self { spec, model_estimate, tools })
    }
}
