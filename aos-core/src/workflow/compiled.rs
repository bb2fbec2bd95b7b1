//! A plan's expressions, compiled once and kept with the plan.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::agent::{AgentParts, AgentSpec};
use crate::error::{Failure, codes};
use crate::workflow::expression::{Compiled, Template};
use crate::workflow::{Body, OnError, Plan, Step, StepAction};

pub(super) struct CompiledPlan {
    pub(super) steps: Vec<CompiledStep>,
    /// `None` for an object of every step's output.
    pub(super) output: Option<Template>,
}

pub(super) struct CompiledStep {
    pub(super) step: Step,
    /// How many steps it needs.
    pub(super) needs: usize,
    /// The steps that need it, in definition order.
    pub(super) dependents: Vec<usize>,
    pub(super) params: Template,
    pub(super) condition: Option<Compiled>,
    pub(super) for_each: Option<Compiled>,
    /// The condition of `repeat`.
    pub(super) repeat: Option<Compiled>,
    pub(super) fallback: Option<Template>,
    /// What the plan pins for an agent.
    pub(super) agent: Option<Arc<AgentParts>>,
}

/// Where a plan keeps its compiled form. It is no part of the plan's value.
#[derive(Clone, Default)]
pub struct Cache(Arc<OnceLock<Result<Arc<CompiledPlan>, Failure>>>);

impl PartialEq for Cache {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache")
    }
}

impl Plan {
    /// The compiled form of a declarative plan.
    ///
    /// # Errors
    /// A plan that did not come from a definition and is malformed, with the step that is.
    pub(super) fn compiled(&self) -> Result<Arc<CompiledPlan>, Failure> {
        self.cache.0.get_or_init(|| compile(self).map(Arc::new)).clone()
    }
}

fn compile(plan: &Plan) -> Result<CompiledPlan, Failure> {
    let malformed =
        |why: String| Failure::new(codes::INVALID_DEFINITION, format!("the plan of {}: {why}", plan.workflow));
    let Body::Steps { steps, output } = &plan.body else {
        return Err(malformed("it is Rust code, not steps".into()));
    };
    let places: HashMap<&str, usize> =
        steps.iter().enumerate().map(|(index, step)| (step.id.as_str(), index)).collect();
    if places.len() != steps.len() {
        return Err(malformed("two steps have the same id".into()));
    }
    let mut compiled = Vec::with_capacity(steps.len());
    for step in steps {
        compiled.push(compile_step(step, plan).map_err(|why| malformed(format!("step {}: {why}", step.id)))?);
    }
    for (index, step) in steps.iter().enumerate() {
        for need in &step.needs {
            let place = *places
                .get(need.as_str())
                .ok_or_else(|| malformed(format!("step {} needs {need}, which is not there", step.id)))?;
            compiled[place].dependents.push(index);
        }
    }
    if let Some(stuck) = first_on_a_cycle(&compiled) {
        return Err(malformed(format!("step {} needs itself, through others", compiled[stuck].step.id)));
    }
    let output = if output.is_null() {
        None
    } else {
        Some(template(output).map_err(|why| malformed(format!("output: {why}")))?)
    };
    Ok(CompiledPlan { steps: compiled, output })
}

fn compile_step(step: &Step, plan: &Plan) -> Result<CompiledStep, String> {
    let expression = |source: &Option<String>| source.as_deref().map(Compiled::new).transpose();
    let fallback = match &step.on_error {
        OnError::Fallback(value) => Some(template(value)?),
        OnError::Fail | OnError::Continue => None,
    };
    let agent = match &step.action {
        StepAction::Agent(spec) => {
            let parts = AgentParts::new(AgentSpec::clone(spec), plan).map_err(|failure| failure.message)?;
            Some(Arc::new(parts))
        }
        _ => None,
    };
    Ok(CompiledStep {
        needs: step.needs.len(),
        dependents: Vec::new(),
        params: template(&step.params)?,
        condition: expression(&step.condition)?,
        for_each: expression(&step.for_each)?,
        repeat: step.repeat.as_ref().map(|repeat| Compiled::new(&repeat.until)).transpose()?,
        fallback,
        agent,
        step: step.clone(),
    })
}

fn template(value: &serde_json::Value) -> Result<Template, String> {
    Template::new(value).map_err(|mistakes| {
        let first = mistakes.into_iter().next();
        first.map(|mistake| format!("{}: {}", mistake.found, mistake.why)).unwrap_or_default()
    })
}

/// A step that never becomes ready, if there is one.
fn first_on_a_cycle(steps: &[CompiledStep]) -> Option<usize> {
    let mut waiting: Vec<_> = steps.iter().map(|step| step.needs).collect();
    let mut ready: Vec<_> =
        waiting.iter().enumerate().filter(|(_, needs)| **needs == 0).map(|(index, _)| index).collect();
    while let Some(index) = ready.pop() {
        for &dependent in &steps[index].dependents {
            waiting[dependent] -= 1;
            if waiting[dependent] == 0 {
                ready.push(dependent);
            }
        }
    }
    waiting.iter().position(|needs| *needs > 0)
}
