//! What expressions can see: the run's input, the results of steps, and what belongs to one turn of a loop.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use minijinja::value::{Enumerator, Object};
use serde_json::{Value, json};

use crate::error::Failure;
use crate::payload::Payload;
use crate::random::Seed;

/// How a step ended, as later steps see it.
#[derive(Debug, Default)]
pub(super) struct StepResult {
    pub(super) output: Payload,
    pub(super) error: Option<Failure>,
    pub(super) skipped: bool,
    view: OnceLock<Value>,
    jinja: OnceLock<minijinja::Value>,
}

impl StepResult {
    pub(super) fn output(output: Payload) -> Self {
        Self { output, ..Self::default() }
    }

    pub(super) fn skipped() -> Self {
        Self { skipped: true, ..Self::default() }
    }

    pub(super) fn failed(output: Payload, error: Failure) -> Self {
        Self { output, error: Some(error), ..Self::default() }
    }

    /// `error` and `skipped` as JSON.
    fn field(&self, name: &str) -> Option<&Value> {
        if name == "output" {
            return Some(self.output.value());
        }
        let view =
            self.view.get_or_init(|| json!({"error": self.error.as_ref().map(error_view), "skipped": self.skipped}));
        view.get(name)
    }

    fn jinja(&self) -> minijinja::Value {
        let view = || {
            let fields = ["output", "error", "skipped"];
            let pairs = fields.map(|name| (name, jinja(self.field(name).unwrap_or(&Value::Null))));
            minijinja::Value::from_pairs(pairs)
        };
        self.jinja.get_or_init(view).clone()
    }
}

fn jinja(value: &Value) -> minijinja::Value {
    minijinja::Value::from(minijinja::value::Serde(value))
}

/// A failure as expressions see it.
pub(super) fn error_view(failure: &Failure) -> Value {
    json!({"code": failure.code, "message": failure.message, "details": failure.details})
}

/// The results of all steps; each is set once.
#[derive(Debug)]
pub(super) struct Results(BTreeMap<String, OnceLock<StepResult>>);

impl Results {
    pub(super) fn new<'a>(steps: impl Iterator<Item = &'a str>) -> Self {
        Self(steps.map(|id| (id.to_owned(), OnceLock::new())).collect())
    }

    pub(super) fn set(&self, step: &str, result: StepResult) {
        if let Some(slot) = self.0.get(step) {
            // A step ends once; should it ever be told twice, the first time counts.
            let _second = slot.set(result);
        }
    }

    pub(super) fn get(&self, step: &str) -> Option<&StepResult> {
        self.0.get(step)?.get()
    }
}

/// The variables of one evaluation.
#[derive(Clone)]
pub(super) struct Scope(Arc<Variables>);

struct Variables {
    input: Payload,
    results: Arc<Results>,
    run: Value,
    locals: Vec<(&'static str, Value)>,
}

impl Scope {
    pub(super) fn new(input: Payload, results: Arc<Results>, seed: Seed) -> Self {
        Self(Arc::new(Variables { input, results, run: json!({"seed": seed}), locals: Vec::new() }))
    }

    /// This scope with variables of one turn of a loop.
    pub(super) fn with(&self, locals: Vec<(&'static str, Value)>) -> Self {
        let Variables { input, results, run, .. } = &*self.0;
        let (input, results, run) = (input.clone(), Arc::clone(results), run.clone());
        Self(Arc::new(Variables { input, results, run, locals }))
    }

    pub(super) fn results(&self) -> &Results {
        &self.0.results
    }

    /// The value that a path starts at, taking names from `next` as far as the scope itself has them.
    pub(super) fn start(&self, root: &str, next: &mut dyn FnMut() -> Option<String>) -> Option<&Value> {
        match root {
            "input" => Some(self.0.input.value()),
            "run" => Some(&self.0.run),
            "steps" => {
                let result = self.0.results.get(&next()?)?;
                result.field(&next()?)
            }
            _ => self.0.locals.iter().find(|(name, _)| *name == root).map(|(_, value)| value),
        }
    }

    /// What there is instead of an undefined variable, for a person.
    pub(super) fn hint(&self, path: &str) -> String {
        let names: Vec<&str> = match path.split('.').collect::<Vec<_>>()[..] {
            ["steps", step, _] if self.0.results.get(step).is_some() => vec!["output", "error", "skipped"],
            ["steps"] => return "; write steps.<id>.output".to_owned(),
            ["steps", ..] => self.0.results.0.keys().map(String::as_str).collect(),
            _ => self.names().collect(),
        };
        format!("; there is {}", names.join(", "))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        ["input", "steps", "run"].into_iter().chain(self.0.locals.iter().map(|(name, _)| *name))
    }

    /// The scope as a Jinja context; parts are converted when they are looked at, and results only once.
    pub(super) fn as_jinja(&self) -> minijinja::Value {
        minijinja::Value::from_object(Context(Arc::clone(&self.0)))
    }
}

struct Context(Arc<Variables>);

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("variables")
    }
}

impl Object for Context {
    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        match key.as_str()? {
            "input" => Some(jinja(self.0.input.value())),
            "run" => Some(jinja(&self.0.run)),
            "steps" => Some(minijinja::Value::from_object(Steps(Arc::clone(&self.0.results)))),
            other => {
                let (_, value) = self.0.locals.iter().find(|(name, _)| *name == other)?;
                Some(jinja(value))
            }
        }
    }
}

#[derive(Debug)]
struct Steps(Arc<Results>);

impl Object for Steps {
    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        Some(self.0.get(key.as_str()?)?.jinja())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let ended = self.0.0.iter().filter(|(_, result)| result.get().is_some());
        Enumerator::Values(ended.map(|(id, _)| id.as_str().into()).collect())
    }
}
