//! Runs the steps of a plan: what is ready, what waits for what, and what a failure means.

mod agent;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::engine::{EffectResult, Program};
use crate::error::{Failure, codes};
use crate::event::{Command, Request};
use crate::id::EffectId;
use crate::money::Money;
use crate::payload::Payload;
use crate::random::Seed;
use crate::workflow::compiled::{CompiledPlan, CompiledStep};
use crate::workflow::interpreter::agent::Agents;
use crate::workflow::scope::{Results, Scope, StepResult, error_view};
use crate::workflow::{OnError, Plan, Step, StepAction};

/// The [`Program`] of declarative plans.
pub(crate) struct Interpreter {
    plan: Arc<CompiledPlan>,
    scope: Scope,
    /// For each step, how many of the steps it needs have not ended.
    waiting: Vec<usize>,
    /// For each step, whether a step it needs has failed, so that it is not done.
    blocked: Vec<bool>,
    /// Steps whose needs have ended.
    ready: VecDeque<usize>,
    /// Steps that have not ended.
    left: usize,
    in_flight: HashMap<EffectId, Waiting>,
    loops: HashMap<usize, Loop>,
    agents: Agents,
    /// The failure of the first step, in definition order, that failed the run.
    failure: Option<(usize, Failure)>,
    told: bool,
}

/// What an effect, or an agent, is for.
enum Waiting {
    /// A step that is one effect.
    Step(usize),
    /// One item of a `for_each`.
    Item(usize, usize),
    /// One turn of a `repeat`.
    Turn(usize, u32),
    /// The pause after a turn, with the turn's output.
    Pause(usize, u32, Payload),
    /// A turn or tool call of the agent of this name.
    Agent(Arc<str>),
}

/// A `for_each` under way.
struct Loop {
    items: Vec<Value>,
    /// The next item to begin.
    next: usize,
    left: usize,
    outputs: Vec<Payload>,
    /// The failure of the first item, in item order, that failed.
    failure: Option<(usize, Failure)>,
}

impl Interpreter {
    /// A program at its beginning.
    ///
    /// # Errors
    /// A plan that did not come from a definition and is malformed.
    pub(crate) fn new(plan: &Plan, input: Payload, seed: Seed) -> Result<Self, Failure> {
        let plan = plan.compiled()?;
        let results = Arc::new(Results::new(plan.steps.iter().map(|step| step.step.id.as_str())));
        let waiting: Vec<_> = plan.steps.iter().map(|step| step.needs).collect();
        Ok(Self {
            scope: Scope::new(input, results, seed),
            blocked: vec![false; waiting.len()],
            ready: VecDeque::new(),
            left: waiting.len(),
            waiting,
            in_flight: HashMap::new(),
            loops: HashMap::new(),
            agents: Agents::default(),
            failure: None,
            told: false,
            plan,
        })
    }

    fn run_ready(&mut self, requests: &mut Vec<Request>) {
        while let Some(index) = self.ready.pop_front() {
            self.begin(index, requests);
        }
    }

    fn begin(&mut self, index: usize, requests: &mut Vec<Request>) {
        let plan = Arc::clone(&self.plan);
        let step = &plan.steps[index];
        if self.blocked[index] {
            return self.end(index, StepResult::skipped());
        }
        let wanted = step.condition.as_ref().map_or(Ok(true), |condition| condition.is_true(&self.scope));
        match wanted {
            Ok(true) => {}
            Ok(false) => return self.end(index, StepResult::skipped()),
            Err(failure) => return self.ask_to_fail(index, failure, requests),
        }
        let Some(for_each) = &step.for_each else {
            if step.repeat.is_some() {
                return self.turn(index, 0, Value::Null, requests);
            }
            let scope = self.scope.clone();
            return self.ask(index, step, step.step.id.clone(), &scope, Waiting::Step(index), requests);
        };
        match for_each.evaluate(&self.scope) {
            Ok(Value::Array(items)) if items.is_empty() => {
                self.end(index, StepResult::output(empty_array()));
            }
            Ok(Value::Array(items)) => self.begin_items(index, step, items, requests),
            Ok(other) => {
                let message = format!("for_each of {} gave {}, and needs an array", step.step.id, kind(&other));
                self.ask_to_fail(index, Failure::new(codes::EXPRESSION_FAILED, message), requests);
            }
            Err(failure) => self.ask_to_fail(index, failure, requests),
        }
    }

    fn begin_items(&mut self, index: usize, step: &CompiledStep, items: Vec<Value>, requests: &mut Vec<Request>) {
        let count = items.len();
        let window = step.step.concurrency.map_or(count, |window| usize::try_from(window).unwrap_or(count).max(1));
        let outputs = vec![Payload::null(); count];
        self.loops.insert(index, Loop { items, next: 0, left: count, outputs, failure: None });
        for _ in 0..window.min(count) {
            self.next_item(index, requests);
        }
    }

    fn next_item(&mut self, index: usize, requests: &mut Vec<Request>) {
        let plan = Arc::clone(&self.plan);
        let step = &plan.steps[index];
        let Some(running) = self.loops.get_mut(&index) else { return };
        let Some(item) = running.items.get(running.next).cloned() else { return };
        let place = running.next;
        running.next += 1;
        let scope = self.scope.with(vec![("item", item), ("index", json!(place))]);
        let name = format!("{}[{place}]", step.step.id);
        self.ask(index, step, name, &scope, Waiting::Item(index, place), requests);
    }

    fn turn(&mut self, index: usize, turn: u32, last: Value, requests: &mut Vec<Request>) {
        let plan = Arc::clone(&self.plan);
        let step = &plan.steps[index];
        let scope = self.scope.with(vec![("turn", json!(turn)), ("output", last)]);
        let name = format!("{}[{turn}]", step.step.id);
        self.ask(index, step, name, &scope, Waiting::Turn(index, turn), requests);
    }

    /// Asks for the effect of a step, item or turn; one that needs no effect ends at once.
    fn ask(
        &mut self,
        index: usize,
        step: &CompiledStep,
        name: String,
        scope: &Scope,
        waiting: Waiting,
        requests: &mut Vec<Request>,
    ) {
        let params = step.params.evaluate(scope).and_then(|params| {
            let absent = params.is_null() && !matches!(step.step.action, StepAction::Set);
            Ok(Payload::new(if absent { json!({}) } else { params })?)
        });
        let command = match (params, &step.agent) {
            (Ok(value), _) if step.step.action == StepAction::Set => {
                return self.resolved(waiting, &Ok(value), requests);
            }
            (Ok(prompt), Some(parts)) => match agent::program(&step.step, parts, &prompt, &name) {
                Ok(agent) => return self.begin_agent(agent, &name, waiting, requests),
                Err(failure) => Command::Fail(failure),
            },
            (Ok(input), None) => command(&step.step, input),
            (Err(mut failure), _) => {
                failure.message = format!("params of {name}: {}", failure.message);
                Command::Fail(failure)
            }
        };
        match EffectId::new(&name) {
            Ok(effect) => {
                self.in_flight.insert(effect.clone(), waiting);
                requests.push(Request { effect, command });
            }
            Err(error) => {
                let failure = Failure::new(codes::EFFECT_ID_INVALID, error.to_string());
                self.fail_step(index, failure, &self.scope.clone());
            }
        }
    }

    /// Makes a failure of the program itself visible as a failed effect of the step.
    fn ask_to_fail(&mut self, index: usize, failure: Failure, requests: &mut Vec<Request>) {
        let id = &self.plan.steps[index].step.id;
        match EffectId::new(id) {
            Ok(effect) => {
                self.in_flight.insert(effect.clone(), Waiting::Step(index));
                requests.push(Request { effect, command: Command::Fail(failure) });
            }
            Err(_) => self.fail_step(index, failure, &self.scope.clone()),
        }
    }

    fn resolved(&mut self, waiting: Waiting, result: &EffectResult, requests: &mut Vec<Request>) {
        match (waiting, result) {
            (Waiting::Step(index), Ok(output)) => self.end(index, StepResult::output(output.clone())),
            (Waiting::Step(index), Err(failure)) => {
                let scope = self.scope.clone();
                self.fail_step(index, failure.clone(), &scope);
            }
            (Waiting::Item(index, place), result) => self.item_ended(index, place, result, requests),
            (Waiting::Turn(index, turn), Ok(output)) => self.turn_ended(index, turn, output, requests),
            (Waiting::Turn(index, _) | Waiting::Pause(index, ..), Err(failure)) => {
                let scope = self.scope.clone();
                self.fail_step(index, failure.clone(), &scope);
            }
            (Waiting::Pause(index, turn, last), Ok(_)) => self.turn(index, turn + 1, last.value().clone(), requests),
            // An agent's effects are answered to the agent.
            (Waiting::Agent(_), _) => {}
        }
    }

    fn item_ended(&mut self, index: usize, place: usize, result: &EffectResult, requests: &mut Vec<Request>) {
        let plan = Arc::clone(&self.plan);
        let step = &plan.steps[index];
        let Some(running) = self.loops.get_mut(&index) else { return };
        running.left -= 1;
        let output = match result {
            Ok(output) => Ok(output.clone()),
            Err(failure) => {
                let item = running.items[place].clone();
                let locals = vec![("item", item), ("index", json!(place)), ("error", error_view(failure))];
                handle(step, failure, &self.scope.with(locals))
            }
        };
        match output {
            Ok(output) => running.outputs[place] = output,
            Err(failure) => {
                if running.failure.as_ref().is_none_or(|(first, _)| place < *first) {
                    running.failure = Some((place, failure));
                }
            }
        }
        if running.left > 0 {
            return self.next_item(index, requests);
        }
        let Some(ended) = self.loops.remove(&index) else { return };
        match ended.failure {
            Some((place, mut failure)) => {
                failure.message = format!("item {place}: {}", failure.message);
                self.fail_run(index, failure);
            }
            None => self.end(index, StepResult::output(array(&ended.outputs))),
        }
    }

    fn turn_ended(&mut self, index: usize, turn: u32, output: &Payload, requests: &mut Vec<Request>) {
        let plan = Arc::clone(&self.plan);
        let step = &plan.steps[index];
        let (Some(until), Some(repeat)) = (&step.repeat, &step.step.repeat) else { return };
        let scope = self.scope.with(vec![("turn", json!(turn)), ("output", output.value().clone())]);
        match until.is_true(&scope) {
            Ok(true) => self.end(index, StepResult::output(output.clone())),
            Ok(false) if turn + 1 >= repeat.max => {
                let message = format!("{} was done {} times, and `until` never held", step.step.id, repeat.max);
                self.fail_step(index, Failure::new(codes::LIMIT_EXCEEDED, message), &scope);
            }
            Ok(false) if repeat.pause_ms > 0 => {
                let Ok(effect) = EffectId::new(format!("{}[{turn}]/pause", step.step.id)) else { return };
                self.in_flight.insert(effect.clone(), Waiting::Pause(index, turn, output.clone()));
                requests.push(Request { effect, command: Command::Sleep(Duration::from_millis(repeat.pause_ms)) });
            }
            Ok(false) => self.turn(index, turn + 1, output.value().clone(), requests),
            Err(failure) => self.fail_step(index, failure, &scope),
        }
    }

    /// A step's effect has failed for good: does what its `on_error` says.
    fn fail_step(&mut self, index: usize, failure: Failure, scope: &Scope) {
        let plan = Arc::clone(&self.plan);
        let scope = scope.with(vec![("error", error_view(&failure))]);
        match handle(&plan.steps[index], &failure, &scope) {
            Ok(output) => self.end(index, StepResult::failed(output, failure)),
            Err(failure) => self.fail_run(index, failure),
        }
    }

    /// A step fails the run, once the steps that don't depend on it have ended.
    fn fail_run(&mut self, index: usize, failure: Failure) {
        let plan = Arc::clone(&self.plan);
        for &dependent in &plan.steps[index].dependents {
            self.blocked[dependent] = true;
        }
        if self.failure.as_ref().is_none_or(|(first, _)| index < *first) {
            self.failure = Some((index, failure.clone()));
        }
        self.end(index, StepResult::failed(Payload::null(), failure));
    }

    fn end(&mut self, index: usize, result: StepResult) {
        let plan = Arc::clone(&self.plan);
        let step = &plan.steps[index];
        self.scope.results().set(&step.step.id, result);
        self.left -= 1;
        for &dependent in &step.dependents {
            if self.blocked[index] {
                self.blocked[dependent] = true;
            }
            self.waiting[dependent] -= 1;
            if self.waiting[dependent] == 0 {
                self.ready.push_back(dependent);
            }
        }
    }

    fn output(&self) -> EffectResult {
        let value = match &self.plan.output {
            Some(template) => template.evaluate(&self.scope).map_err(|mut failure| {
                failure.message = format!("output: {}", failure.message);
                failure
            })?,
            None => {
                let output = |step: &CompiledStep| {
                    let output = self.scope.results().get(&step.step.id).map(|result| result.output.value().clone());
                    (step.step.id.clone(), output.unwrap_or_default())
                };
                self.plan.steps.iter().map(output).collect()
            }
        };
        Ok(Payload::new(value)?)
    }
}

impl Program for Interpreter {
    fn start(&mut self, requests: &mut Vec<Request>) {
        let free = |(index, needs): (usize, &usize)| (*needs == 0).then_some(index);
        self.ready = self.waiting.iter().enumerate().filter_map(free).collect();
        self.run_ready(requests);
    }

    fn resolve(&mut self, effect: &EffectId, result: &EffectResult, cost: Money, requests: &mut Vec<Request>) {
        match self.in_flight.remove(effect) {
            Some(Waiting::Agent(name)) => self.agent_learns(&name, effect, result, cost, requests),
            Some(waiting) => self.resolved(waiting, result, requests),
            None => return,
        }
        self.run_ready(requests);
    }

    fn outcome(&mut self) -> Option<EffectResult> {
        if self.left > 0 || self.told {
            return None;
        }
        self.told = true;
        Some(match self.failure.take() {
            Some((index, mut failure)) => {
                failure.message = format!("step {}: {}", self.plan.steps[index].step.id, failure.message);
                Err(failure)
            }
            None => self.output(),
        })
    }
}

/// What a failure means by the step's `on_error`: an output to go on with, or the failure itself.
fn handle(step: &CompiledStep, failure: &Failure, scope: &Scope) -> EffectResult {
    match &step.step.on_error {
        OnError::Fail => Err(failure.clone()),
        OnError::Continue => Ok(Payload::null()),
        OnError::Fallback(_) => {
            let value = step.fallback.as_ref().map_or(Ok(Value::Null), |template| template.evaluate(scope));
            Ok(Payload::new(value?)?)
        }
    }
}

fn command(step: &Step, input: Payload) -> Command {
    let timeout = step.timeout_ms.map(Duration::from_millis);
    match &step.action {
        StepAction::Skill { skill } => {
            Command::Call { skill: skill.clone(), input, retry: step.retry.clone(), timeout }
        }
        StepAction::Workflow { workflow } => Command::Child { workflow: workflow.clone(), input },
        StepAction::Signal { signal } => Command::Signal { name: signal.clone(), timeout },
        StepAction::Sleep { sleep_ms } => Command::Sleep(Duration::from_millis(*sleep_ms)),
        // Neither is one effect; both have been dealt with before anybody asks for a command.
        StepAction::Set | StepAction::Agent(_) => Command::Fail(Failure::new(codes::INTERNAL, "the step is no effect")),
    }
}

fn empty_array() -> Payload {
    array(&[])
}

fn array(outputs: &[Payload]) -> Payload {
    let values = outputs.iter().map(|output| output.value().clone()).collect();
    // Each element is a payload already, so the array is canonical unless it nests too deep by one.
    Payload::new(Value::Array(values)).unwrap_or_default()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
