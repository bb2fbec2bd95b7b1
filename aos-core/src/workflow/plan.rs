//! A definition resolved against a registry: exact versions pinned, hashed; all that the engine needs to run it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::agent::{AgentSpec, ToolPin, offered_schema};
use crate::canonical::Hash;
use crate::error::{Failure, codes};
use crate::id::WorkflowId;
use crate::limit::RunLimits;
use crate::money::Money;
use crate::payload::Payload;
use crate::requirement::Requirement;
use crate::retry::RetryPolicy;
use crate::skill::{CrashClass, SkillContract, SkillVersion};
use crate::workflow::compiled::Cache;

/// A workflow at one exact version, `id@version` as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkflowVersion {
    /// The workflow's name.
    pub id: WorkflowId,
    /// The exact version.
    pub version: Version,
}

impl fmt::Display for WorkflowVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.version)
    }
}

impl FromStr for WorkflowVersion {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let error =
            |why: String| Failure::new(codes::INVALID_REQUEST, format!("{text:?} is not a workflow version: {why}"));
        let (id, version) = text.split_once('@').ok_or_else(|| error("expected id@1.2.3".into()))?;
        Ok(Self {
            id: WorkflowId::new(id).map_err(|e| error(e.to_string()))?,
            version: version.parse().map_err(|e: semver::Error| error(e.to_string()))?,
        })
    }
}

impl Serialize for WorkflowVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WorkflowVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::deserialize(deserializer)
    }
}

/// What a plan keeps of a pinned skill's contract: all that the engine decides by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkillPin {
    /// Name and exact version.
    pub skill: SkillVersion,
    /// Hash of the whole contract.
    pub contract: Hash,
    /// What may happen to an attempt whose outcome a crash has hidden.
    pub crash: CrashClass,
    /// Upper bound of one attempt's cost.
    #[serde(default)]
    pub estimate: Money,
    /// JSON pointers to output fields outside the content hash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volatile: Vec<String>,
    /// How long one attempt may take, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// How failures are retried; `None` means [`RetryPolicy::default`] (never, for a `once` skill).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// What a model is told of the skill; `None` when no agent of the plan may offer it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolPin>,
}

impl SkillPin {
    /// Pins the skill of `contract`.
    ///
    /// # Errors
    /// As [`SkillContract::hash`].
    pub fn new(contract: &SkillContract) -> Result<Self, Failure> {
        Ok(Self {
            skill: contract.version.clone(),
            contract: contract.hash()?,
            crash: contract.crash,
            estimate: contract.cost.estimate,
            volatile: contract.volatile.clone(),
            timeout_ms: contract.timeout_ms,
            retry: contract.retry.clone(),
            tool: None,
        })
    }

    /// Pins the skill of `contract` as one that agents may offer to a model.
    ///
    /// # Errors
    /// As [`SkillContract::hash`]; [`codes::INVALID_DEFINITION`] for a skill whose input is no object.
    pub fn as_tool(contract: &SkillContract) -> Result<Self, Failure> {
        offered_schema(&contract.input_schema, std::iter::empty()).map_err(|why| {
            Failure::new(codes::INVALID_DEFINITION, format!("{} can't be a tool: {why}", contract.version))
        })?;
        let (description, input_schema) = (contract.description.clone(), contract.input_schema.clone());
        Ok(Self { tool: Some(ToolPin { description, input_schema }), ..Self::new(contract)? })
    }
}

/// What a step does when its effect has failed for good.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The run fails, once the steps that do not depend on this one have ended.
    #[default]
    Fail,
    /// The step's output is `null`, and `steps.<id>.error` tells why.
    Continue,
    /// The step's output is this template's value, in which `error` is the failure.
    Fallback(Value),
}

/// A step that is done again until a condition holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// Expression over `output` (this turn's), `turn` (from 0), `input` and `steps`: stop when it is true.
    pub until: String,
    /// The most turns; more is `ERR_LIMIT_EXCEEDED`.
    pub max: u32,
    /// How long to wait between two turns, in milliseconds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pause_ms: u64,
}

/// What a step asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StepAction {
    /// Call the pinned skill (`id@version`, a key of [`Plan::skills`]).
    Skill {
        /// Key into [`Plan::skills`].
        skill: SkillVersion,
    },
    /// Run the pinned workflow (a key of [`Plan::children`]) as a child.
    Workflow {
        /// Key into [`Plan::children`].
        workflow: WorkflowVersion,
    },
    /// Wait for a signal; its payload is the output.
    Signal {
        /// The signal's name.
        signal: String,
    },
    /// Let time pass; the output is `null`.
    Sleep {
        /// Milliseconds.
        sleep_ms: u64,
    },
    /// Let a model call tools until it has an answer; `params` say what it is to do.
    Agent(Box<AgentSpec>),
    /// Compute `params` and give them as the output: no effect.
    Set,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Name, unique in the plan.
    pub id: String,
    /// What it does.
    pub action: StepAction,
    /// Template of the input, for each item when `for_each` is set.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub params: Value,
    /// Steps that must have ended before: declared ones and those its expressions mention, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Expression: skip the step unless it is true. A skipped step's output is `null`.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Expression that gives an array: do the step once per `item`; the output is the array of outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<String>,
    /// How many items are worked on at one time; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Do it again until a condition holds; not together with `for_each`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
    /// Overrides the skill's retry policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// Overrides the skill's timeout, in milliseconds; for a signal, how long to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What to do when the effect has failed for good.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_error: OnError,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The program of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// Declarative steps, in definition order; `needs` never points to a cycle.
    Steps {
        /// The steps.
        steps: Vec<Step>,
        /// Template of the run's output; `null` means an object of every step's output.
        output: Value,
    },
    /// A Rust `async fn`, found by workflow id and version in the host's [`Flows`](crate::flow::Flows).
    Code,
}

/// A workflow with every version pinned.
///
/// Equal plans have equal [hashes](Plan::hash). A plan from a file or a store may be malformed; the engine answers
/// with a failure, never with a panic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Name and exact version of the workflow.
    pub workflow: WorkflowVersion,
    /// The program.
    pub body: Body,
    /// Pinned skills by `id@version`.
    #[serde(default)]
    pub skills: BTreeMap<String, SkillPin>,
    /// Pinned child workflows by `id@version`.
    #[serde(default)]
    pub children: BTreeMap<String, Arc<Plan>>,
    /// JSON Schema of the input; `None` allows everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Value>,
    /// The budget of a run that doesn't bring its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Money>,
    /// Bounds of a run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: RunLimits,
    /// The compiled expressions; no part of the plan's value.
    #[serde(skip)]
    pub(super) cache: Cache,
}

impl Plan {
    /// SHA-256 of the plan's canonical JSON.
    ///
    /// # Errors
    /// A number in a template or schema that canonical JSON can't carry.
    pub fn hash(&self) -> Result<Hash, Failure> {
        Ok(Payload::from_serialize(self)?.hash())
    }

    /// How many levels of child workflows there are below this one.
    pub fn depth(&self) -> u64 {
        self.children.values().map(|child| child.depth() + 1).max().unwrap_or(0)
    }

    /// The pin of `id@version`.
    ///
    /// # Errors
    /// [`codes::SKILL_NOT_IN_PLAN`].
    pub fn pin(&self, skill: &SkillVersion) -> Result<&SkillPin, Failure> {
        // A plan pins few skills: comparing them is faster than making the key's text.
        self.skills.values().find(|pin| pin.skill == *skill).ok_or_else(|| {
            Failure::new(
                codes::SKILL_NOT_IN_PLAN,
                format!("the plan of {} pins no skill {skill}; it pins {}", self.workflow, list(self.skills.keys())),
            )
        })
    }

    /// The pin that a requirement such as `http_call@^2`, `http_call@2.1.0` or `http_call` selects: the highest
    /// pinned version that fits.
    ///
    /// # Errors
    /// [`codes::INVALID_REQUEST`] for a malformed requirement, [`codes::SKILL_NOT_IN_PLAN`] when nothing fits.
    pub fn select(&self, requirement: &str) -> Result<&SkillPin, Failure> {
        let required: Requirement = requirement.parse()?;
        let fits = |pin: &&SkillPin| required.matches(pin.skill.id.as_str(), &pin.skill.version);
        self.skills.values().filter(fits).max_by(|a, b| a.skill.version.cmp(&b.skill.version)).ok_or_else(|| {
            Failure::new(
                codes::SKILL_NOT_IN_PLAN,
                format!(
                    "the plan of {} pins no skill for {requirement:?}; it pins {}",
                    self.workflow,
                    list(self.skills.keys())
                ),
            )
        })
    }
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(String::as_str).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// Builds the plan of a Rust workflow: its name and the skills it may call.
pub struct PlanBuilder(Plan);

impl PlanBuilder {
    /// The plan of the Rust workflow `id` at `version`.
    ///
    /// # Errors
    /// [`codes::INVALID_REQUEST`] for a malformed id or version.
    pub fn code(id: &str, version: &str) -> Result<Self, Failure> {
        Ok(Self(Plan {
            workflow: format!("{id}@{version}").parse()?,
            body: Body::Code,
            skills: BTreeMap::new(),
            children: BTreeMap::new(),
            input_schema: None,
            budget: None,
            limits: RunLimits::default(),
            cache: Cache::default(),
        }))
    }

    /// Pins a skill that the workflow may call.
    ///
    /// # Errors
    /// As [`SkillPin::new`].
    pub fn skill(mut self, contract: &SkillContract) -> Result<Self, Failure> {
        self.0.skills.insert(contract.version.to_string(), SkillPin::new(contract)?);
        Ok(self)
    }

    /// Pins a skill that the workflow may call, and its agents offer to a model.
    ///
    /// # Errors
    /// As [`SkillPin::as_tool`].
    pub fn tool(mut self, contract: &SkillContract) -> Result<Self, Failure> {
        self.0.skills.insert(contract.version.to_string(), SkillPin::as_tool(contract)?);
        Ok(self)
    }

    /// Pins a workflow that it may start as a child.
    #[must_use]
    pub fn child(mut self, plan: impl Into<Arc<Plan>>) -> Self {
        let plan = plan.into();
        self.0.children.insert(plan.workflow.to_string(), plan);
        self
    }

    /// Sets the budget of a run that doesn't bring its own.
    #[must_use]
    pub fn budget(mut self, budget: Money) -> Self {
        self.0.budget = Some(budget);
        self
    }

    /// Sets the bounds of a run.
    #[must_use]
    pub fn limits(mut self, limits: RunLimits) -> Self {
        self.0.limits = limits;
        self
    }

    /// The plan.
    pub fn build(self) -> Arc<Plan> {
        Arc::new(self.0)
    }
}
