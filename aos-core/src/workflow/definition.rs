//! A workflow as people write it: parsed and checked, not yet tied to versions of skills.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::canonical;
use crate::error::{Failure, codes};
use crate::limit::RunLimits;
use crate::money::Money;
use crate::workflow::mistake::{DefinitionError, Mistake};
use crate::workflow::parse::{self, DraftAction, DraftStep};
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
                let (found, expected) = (format!("{found:?}"), format!("a {field} that can be used here"));
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
                            Ok(pin) => drop(skills.insert(contract.version.to_string(), pin)),
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
