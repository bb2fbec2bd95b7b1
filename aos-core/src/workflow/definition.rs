//! A workflow as people write it: parsed and checked, not yet tied to versions of skills.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::agent::{AgentSpec, MODEL_SKILL, ToolSpec, offered_schema};
use crate::canonical;
use crate::error::{Failure, codes};
use crate::limit::RunLimits;
use crate::money::Money;
use crate::workflow::mistake::{DefinitionError, Mistake};
use crate::workflow::parse::{self, DraftAction, DraftAgent, DraftStep, DraftTool};
use crate::workflow::{Body, Plan, Resolver, SkillPin, Step, StepAction, WorkflowVersion};

/// A checked definition.
///
/// ```
/// use aos_core::workflow::Definition;
///
/// let error = Definition::from_json(r#"{"id": "greet", "steps": [{"id": "hi", "skil": "echo"}]}"#).unwrap_err();
/// assert!(error.to_string().contains("/steps/0/skil: found an unknown field"), "{error}");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    pub(super) workflow: WorkflowVersion,
    pub(super) description: String,
    pub(super) input_schema: Option<Value>,
    pub(super) budget: Option<Money>,
    pub(super) limits: RunLimits,
    pub(super) steps: Vec<DraftStep>,
    pub(super) output: Value,
    pub(super) source: Value,
}

impl Definition {
    /// Checks a definition.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn from_value(source: Value) -> Result<Self, DefinitionError> {
        match parse::definition(source) {
            (Some(definition), mistakes) if mistakes.is_empty() => Ok(definition),
            (_, mistakes) => Err(DefinitionError { mistakes }),
        }
    }

    /// Checks a definition and ties it to exact versions, in one go.
    ///
    /// # Errors
    /// [`codes::NUMBER_OUT_OF_RANGE`] and [`codes::TOO_DEEP`]; [`codes::INVALID_DEFINITION`] with every mistake, and
    /// every skill and workflow that can't be resolved.
    pub fn resolve(mut source: Value, resolver: &dyn Resolver) -> Result<Plan, Failure> {
        canonical::normalize(&mut source)?;
        let (definition, mut mistakes) = parse::definition(source);
        if let (Some(definition), [_, ..]) = (&definition, &mistakes[..]) {
            mistakes.extend(definition.resolved(resolver).1);
        }
        match definition {
            Some(definition) if mistakes.is_empty() => definition.plan(resolver),
            _ => Err(DefinitionError { mistakes }.into()),
        }
    }

    /// Reads a definition from JSON.
    ///
    /// # Errors
    /// As [`json::parse`](crate::json::parse), or [`codes::INVALID_DEFINITION`] with every mistake.
    pub fn from_json(text: &str) -> Result<Self, Failure> {
        let mut source = crate::json::parse(text)?;
        canonical::normalize(&mut source)?;
        Ok(Self::from_value(source)?)
    }

    /// Reads a definition from YAML, of which JSON is a part.
    ///
    /// # Errors
    /// As [`yaml_value`](super::yaml_value), or [`codes::INVALID_DEFINITION`] with every mistake.
    #[cfg(feature = "yaml")]
    pub fn from_yaml(text: &str) -> Result<Self, Failure> {
        let mut source = super::yaml_value(text)?;
        canonical::normalize(&mut source)?;
        Ok(Self::from_value(source)?)
    }

    /// Name and version.
    pub fn workflow(&self) -> &WorkflowVersion {
        &self.workflow
    }

    /// What it is for.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The definition as it was written, as JSON.
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// Ties the definition to exact versions.
    ///
    /// # Errors
    /// [`codes::INVALID_DEFINITION`] with every skill and workflow that can't be resolved.
    pub fn plan(&self, resolver: &dyn Resolver) -> Result<Plan, Failure> {
        let (plan, mistakes) = self.resolved(resolver);
        if !mistakes.is_empty() {
            return Err(DefinitionError { mistakes }.into());
        }
        plan.compiled()?;
        Ok(plan)
    }

    /// The plan, as far as skills and workflows were found, and what is wrong with the others.
    fn resolved(&self, resolver: &dyn Resolver) -> (Plan, Vec<Mistake>) {
        let mut mistakes = Vec::new();
        let (mut skills, mut children) = (BTreeMap::new(), BTreeMap::new());
        let mut steps = Vec::with_capacity(self.steps.len());
        for draft in &self.steps {
            let mut wrong = |field: &str, found: &str, failure: Failure| {
                let path = format!("/steps/{}/{field}", draft.place);
                let (found, expected) = (format!("{found:?}"), format!("a {} that can be used here", kind_of(field)));
                mistakes.push(Mistake { path, found, expected, why: Some(failure.message) });
            };
            let action = match &draft.action {
                DraftAction::Skill(requirement) => match resolver.skill(requirement) {
                    Ok(contract) => {
                        if contract.crash == crate::skill::CrashClass::Once && draft.step.retry.is_some() {
                            let why =
                                format!("{} never runs twice, so its step can't have a retry policy", contract.version);
                            wrong("retry", "a retry policy", Failure::new(codes::INVALID_DEFINITION, why));
                        }
                        match SkillPin::new(&contract) {
                            Ok(pin) => pinned(&mut skills, pin),
                            Err(failure) => wrong("skill", requirement, failure),
                        }
                        StepAction::Skill { skill: contract.version }
                    }
                    Err(failure) => {
                        wrong("skill", requirement, failure);
                        StepAction::Set
                    }
                },
                DraftAction::Workflow(requirement) => match resolver.workflow(requirement) {
                    Ok(plan) => {
                        let workflow = plan.workflow.clone();
                        children.insert(workflow.to_string(), plan);
                        StepAction::Workflow { workflow }
                    }
                    Err(failure) => {
                        wrong("workflow", requirement, failure);
                        StepAction::Set
                    }
                },
                DraftAction::Agent(draft_agent) => match agent(draft_agent, resolver, &mut skills, &mut wrong) {
                    Some(spec) => StepAction::Agent(Box::new(spec)),
                    None => StepAction::Set,
                },
                DraftAction::Other(action) => action.clone(),
            };
            steps.push(Step { action, ..draft.step.clone() });
        }
        let plan = Plan {
            workflow: self.workflow.clone(),
            body: Body::Steps { steps, output: self.output.clone() },
            skills,
            children,
            input_schema: self.input_schema.clone(),
            budget: self.budget,
            limits: self.limits,
            cache: super::compiled::Cache::default(),
        };
        (plan, mistakes)
    }
}

/// Ties an agent to exact versions; `None` when something of it is wrong.
fn agent(
    draft: &DraftAgent,
    resolver: &dyn Resolver,
    skills: &mut BTreeMap<String, SkillPin>,
    wrong: &mut dyn FnMut(&str, &str, Failure),
) -> Option<AgentSpec> {
    let mut tools = Vec::with_capacity(draft.tools.len());
    for DraftTool { place, requirement, name, description, approve, params } in &draft.tools {
        let pin = match resolver.skill(requirement).and_then(|contract| SkillPin::as_tool(&contract)) {
            Ok(pin) => pin,
            Err(failure) => {
                wrong(&format!("agent/{place}"), requirement, failure);
                continue;
            }
        };
        if let (Some((place, params)), Some(tool)) = (params, &pin.tool)
            && let Err(why) = offered_schema(&tool.input_schema, params.keys())
        {
            let why = format!("{} can't have these params: {why}", pin.skill);
            wrong(&format!("agent/{place}"), name, Failure::new(codes::INVALID_DEFINITION, why));
            continue;
        }
        let (name, description, approve) = (name.clone(), description.clone(), *approve);
        tools.push(ToolSpec { skill: pin.skill.clone(), name, description, approve });
        pinned(skills, pin);
    }
    let model_skill = match resolver.skill(MODEL_SKILL).and_then(|contract| SkillPin::new(&contract)) {
        Ok(pin) => {
            let skill = pin.skill.clone();
            pinned(skills, pin);
            skill
        }
        Err(failure) => {
            wrong("agent", MODEL_SKILL, failure);
            return None;
        }
    };
    (tools.len() == draft.tools.len()).then(|| AgentSpec {
        model_skill,
        tools,
        max_turns: draft.max_turns,
        max_tool_calls: draft.max_tool_calls,
        budget: draft.budget,
        parallel: draft.parallel,
        answer_schema: draft.answer_schema.clone(),
        approval_timeout_ms: draft.approval_timeout_ms,
    })
}

/// Pins a skill. One that is a tool of some agent is so for all steps.
fn pinned(skills: &mut BTreeMap<String, SkillPin>, pin: SkillPin) {
    let name = pin.skill.to_string();
    if pin.tool.is_some() || !skills.contains_key(&name) {
        skills.insert(name, pin);
    }
}

/// What is expected in a field of a step.
fn kind_of(field: &str) -> &str {
    match field.rsplit_once('/') {
        Some((_, "params")) => "set of params",
        Some(_) => "skill",
        None if field == "agent" => "skill",
        None => field,
    }
}
