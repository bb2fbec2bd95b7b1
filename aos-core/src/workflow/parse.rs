//! Reads a definition by hand, so that every mistake is found and named with its place.

mod agent;

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::id::WorkflowId;
use crate::limit::RunLimits;
use crate::money::Money;
use crate::retry::RetryPolicy;
use crate::text::nearest;
use crate::workflow::expression::{Compiled, Template};
use crate::workflow::mistake::Mistake;
use crate::workflow::{Definition, OnError, Repeat, Step, StepAction, WorkflowVersion};

const MAX_STEPS: usize = 1_000;

/// Fields of a definition.
const FIELDS: [&str; 8] = ["id", "version", "description", "input", "budget", "limits", "steps", "output"];

/// Fields of a step that say what it does; exactly one is there.
const ACTIONS: [&str; 6] = ["skill", "workflow", "signal", "sleep", "agent", "set"];

/// All fields of a step.
const STEP_FIELDS: [&str; 17] = [
    "id",
    "skill",
    "workflow",
    "signal",
    "sleep",
    "agent",
    "set",
    "params",
    "needs",
    "if",
    "for_each",
    "concurrency",
    "repeat",
    "retry",
    "timeout",
    "on_error",
    "description",
];

pub(super) use agent::{DraftAgent, DraftTool};

/// A step whose skill or workflow is not resolved yet; [`Step::action`] means nothing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DraftStep {
    /// Its index in the definition.
    pub(super) place: usize,
    pub(super) action: DraftAction,
    pub(super) step: Step,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum DraftAction {
    Skill(String),
    Workflow(String),
    Agent(Box<DraftAgent>),
    Other(StepAction),
}

/// Checks a definition; gives every mistake in it, and what could be read of it nevertheless.
pub(super) fn definition(mut source: Value) -> (Option<Definition>, Vec<Mistake>) {
    if let Err(error) = crate::canonical::normalize(&mut source) {
        let (found, expected) = ("a value that JSON can't carry".to_owned(), "a JSON value".to_owned());
        return (None, vec![Mistake { path: String::new(), found, expected, why: Some(error.to_string()) }]);
    }
    let mut parser = Parser { mistakes: Vec::new() };
    (parser.definition(&source), parser.mistakes)
}

struct Parser {
    mistakes: Vec<Mistake>,
}

impl Parser {
    fn wrong(&mut self, path: &str, found: &str, expected: &str) {
        let (path, found, expected) = (path.to_owned(), found.to_owned(), expected.to_owned());
        self.mistakes.push(Mistake { path, found, expected, why: None });
    }

    /// A text that is not what it should be, and why.
    fn malformed(&mut self, path: &str, found: &str, expected: &str, why: &str) {
        self.mistakes.push(Mistake {
            path: path.to_owned(),
            found: format!("{found:?}"),
            expected: expected.to_owned(),
            why: Some(format!("{found:?} is not {expected}: {why}")),
        });
    }

    fn wrong_value(&mut self, path: &str, found: &Value, expected: &str) {
        self.wrong(path, &shown(found), expected);
    }

    fn definition(&mut self, source: &Value) -> Option<Definition> {
        let Value::Object(fields) = source else {
            self.wrong_value("", source, "an object with `id` and `steps`");
            return None;
        };
        self.known_fields("", fields, &FIELDS);
        let id = self.required_text("", fields, "id").and_then(|id| match WorkflowId::new(id) {
            Ok(id) => Some(id),
            Err(_) => {
                self.wrong("/id", &format!("{id:?}"), "1 to 64 of a-z, 0-9, '_', '-', '.', starting with a letter");
                None
            }
        });
        let version = match fields.get("version") {
            None => Some(semver::Version::new(1, 0, 0)),
            Some(Value::String(text)) if text.parse::<semver::Version>().is_ok() => text.parse().ok(),
            Some(other) => {
                self.wrong_value("/version", other, "a semantic version such as \"1.2.0\"");
                None
            }
        };
        let description = self.optional_text("", fields, "description").unwrap_or_default().to_owned();
        let input_schema = fields.get("input").cloned();
        if let Some(schema) = &input_schema
            && !schema.is_object()
            && !schema.is_boolean()
        {
            self.wrong_value("/input", schema, "a JSON Schema: an object");
        }
        let budget = fields.get("budget").and_then(|value| self.budget("/budget", value));
        let limits =
            fields.get("limits").and_then(|value| self.typed::<RunLimits>("/limits", value)).unwrap_or_default();
        let steps = self.steps(fields.get("steps"));
        let output = fields.get("output").cloned().unwrap_or_default();
        let ids: BTreeSet<_> = steps.iter().map(|(draft, _)| draft.step.id.clone()).collect();
        self.template("/output", &output, &ids, &[]);
        let steps = self.order(steps);
        let workflow = WorkflowVersion { id: id?, version: version? };
        let source = source.clone();
        Some(Definition { workflow, description, input_schema, budget, limits, steps, output, source })
    }

    fn budget(&mut self, path: &str, value: &Value) -> Option<Money> {
        let parsed = match value {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) if number.is_u64() => number.to_string().parse().ok(),
            _ => None,
        };
        if parsed.is_none() {
            self.wrong_value(path, value, "US dollars as a string, such as \"0.50\"");
        }
        parsed
    }

    fn steps(&mut self, value: Option<&Value>) -> Vec<(DraftStep, BTreeSet<String>)> {
        let items = match value {
            Some(Value::Array(items)) if !items.is_empty() && items.len() <= MAX_STEPS => items,
            Some(Value::Array(items)) => {
                self.wrong("/steps", &format!("{} steps", items.len()), &format!("1 to {MAX_STEPS}"));
                return Vec::new();
            }
            Some(other) => {
                self.wrong_value("/steps", other, "an array of steps");
                return Vec::new();
            }
            None => {
                self.wrong("/steps", "nothing", "an array of steps");
                return Vec::new();
            }
        };
        let mut ids = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            if let Some(Value::String(id)) = item.get("id")
                && !ids.insert(id.clone())
            {
                self.wrong(&format!("/steps/{index}/id"), &format!("{id:?} again"), "an id that no other step has");
            }
        }
        items.iter().enumerate().filter_map(|(place, item)| self.step(place, item, &ids)).collect()
    }

    fn step(&mut self, place: usize, value: &Value, ids: &BTreeSet<String>) -> Option<(DraftStep, BTreeSet<String>)> {
        let path = &format!("/steps/{place}");
        let Value::Object(fields) = value else {
            let expected = format!("a step: an object with `id` and one of {}", ACTIONS.join(", "));
            self.wrong_value(path, value, &expected);
            return None;
        };
        self.known_fields(path, fields, &STEP_FIELDS);
        let id = self.required_text(path, fields, "id")?;
        let valid = id.len() <= 64
            && id.starts_with(|c: char| c.is_ascii_lowercase())
            && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !valid {
            self.wrong(
                &format!("{path}/id"),
                &format!("{id:?}"),
                "1 to 64 of a-z, 0-9 and '_', starting with a letter",
            );
        }
        let action = self.action(path, fields);
        let repeat = fields.get("repeat").and_then(|value| self.repeat(&format!("{path}/repeat"), value));
        if repeat.is_some() && fields.contains_key("for_each") {
            self.wrong(&format!("{path}/repeat"), "repeat together with for_each", "one of them");
        }
        let mut locals: Vec<&str> = Vec::new();
        if fields.contains_key("for_each") {
            locals.extend(["item", "index"]);
        }
        if repeat.is_some() {
            locals.extend(["turn", "output"]);
        }
        let mut mentioned = BTreeSet::new();
        let params = match &action {
            Some(DraftAction::Agent(agent)) => {
                for (at, template) in agent.templates() {
                    mentioned.extend(self.template(&format!("{path}/agent/{at}"), template, ids, &locals));
                }
                agent.prompt()
            }
            _ => {
                let at = if fields.contains_key("set") { "set" } else { "params" };
                let params = fields.get(at).cloned().unwrap_or_default();
                mentioned.extend(self.template(&format!("{path}/{at}"), &params, ids, &locals));
                params
            }
        };
        for (kind, instead) in [("set", "the template under `set` only"), ("agent", "what stands under `agent` only")] {
            if fields.contains_key(kind) && fields.contains_key("params") {
                self.wrong(&format!("{path}/params"), &format!("params of a step with `{kind}`"), instead);
            }
        }
        let condition = self.expression(path, fields, "if", ids, &[], &mut mentioned);
        let for_each = self.expression(path, fields, "for_each", ids, &[], &mut mentioned);
        if let Some(repeat) = &repeat {
            let at = format!("{path}/repeat/until");
            mentioned.extend(self.compile(&at, &repeat.until, ids, &["turn", "output"]));
        }
        let on_error = self.on_error(path, fields, ids, &locals, &mut mentioned);
        let needs = self.needs(path, fields, ids);
        mentioned.extend(needs);
        if mentioned.remove(id) {
            self.wrong(path, &format!("a mention of {id:?} in itself"), "only steps that come before it");
        }
        let step = Step {
            id: id.to_owned(),
            action: StepAction::Set,
            params,
            needs: mentioned.iter().cloned().collect(),
            condition,
            for_each,
            concurrency: fields.get("concurrency").and_then(|v| self.count(&format!("{path}/concurrency"), v)),
            repeat,
            retry: fields.get("retry").and_then(|v| self.retry(&format!("{path}/retry"), v)),
            timeout_ms: fields.get("timeout").and_then(|v| self.duration(&format!("{path}/timeout"), v)),
            on_error,
        };
        Some((DraftStep { place, action: action?, step }, mentioned))
    }

    fn action(&mut self, path: &str, fields: &Map<String, Value>) -> Option<DraftAction> {
        let there: Vec<_> = ACTIONS.into_iter().filter(|name| fields.contains_key(*name)).collect();
        let [name] = there[..] else {
            let found = if there.is_empty() { "none of them".to_owned() } else { there.join(" and ") };
            self.wrong(path, &found, &format!("exactly one of {}", ACTIONS.join(", ")));
            return None;
        };
        let at = format!("{path}/{name}");
        let value = &fields[name];
        Some(match (name, value) {
            ("set", _) => DraftAction::Other(StepAction::Set),
            ("sleep", _) => DraftAction::Other(StepAction::Sleep { sleep_ms: self.duration(&at, value)? }),
            ("agent", _) => DraftAction::Agent(Box::new(self.agent(&at, value)?)),
            ("skill", Value::String(text)) => DraftAction::Skill(text.clone()),
            ("workflow", Value::String(text)) => DraftAction::Workflow(text.clone()),
            ("signal", Value::String(text)) if !text.is_empty() && text.len() <= 64 => {
                DraftAction::Other(StepAction::Signal { signal: text.clone() })
            }
            ("signal", _) => {
                self.wrong_value(&at, value, "a signal's name: a string of 1 to 64 bytes");
                return None;
            }
            _ => {
                self.wrong_value(&at, value, "a name with a version requirement, such as \"http_call@^1\"");
                return None;
            }
        })
    }

    fn repeat(&mut self, path: &str, value: &Value) -> Option<Repeat> {
        let Value::Object(fields) = value else {
            self.wrong_value(path, value, "an object with `until` and `max`");
            return None;
        };
        self.known_fields(path, fields, &["until", "max", "pause"]);
        let until = self.required_text(path, fields, "until").map(str::to_owned);
        let max = match fields.get("max") {
            Some(value) => self.count(&format!("{path}/max"), value),
            None => {
                self.wrong(&format!("{path}/max"), "nothing", "the most turns: a number from 1");
                None
            }
        };
        let pause_ms = fields.get("pause").and_then(|value| self.duration(&format!("{path}/pause"), value));
        Some(Repeat { until: until?, max: max?, pause_ms: pause_ms.unwrap_or_default() })
    }

    fn retry(&mut self, path: &str, value: &Value) -> Option<RetryPolicy> {
        let policy: RetryPolicy = self.typed(path, value)?;
        if policy.max_attempts == 0 || policy.max_attempts > 1_000 {
            let found = policy.max_attempts.to_string();
            self.wrong(&format!("{path}/max_attempts"), &found, "a number from 1 to 1000");
        }
        if policy.jitter_percent > 100 {
            self.wrong(&format!("{path}/jitter_percent"), &policy.jitter_percent.to_string(), "a number from 0 to 100");
        }
        Some(policy)
    }

    fn on_error(
        &mut self,
        path: &str,
        fields: &Map<String, Value>,
        ids: &BTreeSet<String>,
        locals: &[&str],
        mentioned: &mut BTreeSet<String>,
    ) -> OnError {
        match fields.get("on_error") {
            None => OnError::Fail,
            Some(Value::String(text)) if text == "fail" => OnError::Fail,
            Some(Value::String(text)) if text == "continue" => OnError::Continue,
            Some(Value::Object(object)) if object.len() == 1 && object.contains_key("fallback") => {
                let locals: Vec<_> = locals.iter().copied().chain(["error"]).collect();
                let template = object["fallback"].clone();
                mentioned.extend(self.template(&format!("{path}/on_error/fallback"), &template, ids, &locals));
                OnError::Fallback(template)
            }
            Some(other) => {
                self.wrong_value(&format!("{path}/on_error"), other, "fail, continue or {fallback: template}");
                OnError::Fail
            }
        }
    }

    fn needs(&mut self, path: &str, fields: &Map<String, Value>, ids: &BTreeSet<String>) -> BTreeSet<String> {
        let mut needs = BTreeSet::new();
        match fields.get("needs") {
            None => {}
            Some(Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    match item {
                        Value::String(id) if ids.contains(id) => drop(needs.insert(id.clone())),
                        other => {
                            let expected = one_of("the id of a step", other.as_str(), ids);
                            self.wrong_value(&format!("{path}/needs/{index}"), other, &expected);
                        }
                    }
                }
            }
            Some(other) => self.wrong_value(&format!("{path}/needs"), other, "an array of step ids"),
        }
        needs
    }

    fn expression(
        &mut self,
        path: &str,
        fields: &Map<String, Value>,
        name: &str,
        ids: &BTreeSet<String>,
        locals: &[&str],
        mentioned: &mut BTreeSet<String>,
    ) -> Option<String> {
        let at = format!("{path}/{name}");
        match fields.get(name)? {
            Value::String(text) => {
                mentioned.extend(self.compile(&at, text, ids, locals));
                Some(text.clone())
            }
            Value::Bool(value) if name == "if" => Some(value.to_string()),
            // A literal array is an expression too.
            literal @ Value::Array(_) if name == "for_each" => Some(literal.to_string()),
            other => {
                self.wrong_value(&at, other, "an expression: a string");
                None
            }
        }
    }

    /// Checks an expression; gives the steps that it mentions.
    fn compile(&mut self, path: &str, source: &str, ids: &BTreeSet<String>, locals: &[&str]) -> BTreeSet<String> {
        match Compiled::new(source) {
            Ok(compiled) => self.variables(path, compiled.variables(), ids, locals),
            Err(why) => {
                self.malformed(path, source, "an expression", &why);
                BTreeSet::new()
            }
        }
    }

    /// Checks a template; gives the steps that it mentions.
    fn template(&mut self, path: &str, value: &Value, ids: &BTreeSet<String>, locals: &[&str]) -> BTreeSet<String> {
        let (mut variables, mut mistakes) = (BTreeSet::new(), Vec::new());
        Template::compile(value, path, &mut variables, &mut mistakes);
        for mistake in mistakes {
            self.malformed(&mistake.pointer, &mistake.found, "a template", &mistake.why);
        }
        self.variables(path, variables, ids, locals)
    }

    fn variables(
        &mut self,
        path: &str,
        variables: BTreeSet<String>,
        ids: &BTreeSet<String>,
        locals: &[&str],
    ) -> BTreeSet<String> {
        /// Functions and names that Jinja brings.
        const BUILT_IN: [&str; 3] = ["range", "dict", "loop"];
        let mut steps = BTreeSet::new();
        for variable in variables {
            let mut parts = variable.split('.');
            let root = parts.next().unwrap_or_default();
            match (root, parts.next()) {
                ("steps", Some(step)) if ids.contains(step) => {
                    if let Some(field) = parts.next()
                        && !["output", "error", "skipped"].contains(&field)
                    {
                        self.wrong(path, &format!("{variable:?}"), &format!("steps.{step}.output, .error or .skipped"));
                    }
                    steps.insert(step.to_owned());
                }
                ("steps", Some(step)) => {
                    self.wrong(path, &format!("{variable:?}"), &one_of("a step of this definition", Some(step), ids));
                }
                ("steps", None) => self.wrong(path, "\"steps\" alone", "steps.<id>.output with the id written out"),
                ("input" | "run", _) => {}
                (root, _) if locals.contains(&root) || BUILT_IN.contains(&root) => {}
                (root, _) => {
                    let known = ["input", "steps", "run"].into_iter().chain(locals.iter().copied());
                    let known: BTreeSet<_> = known.map(str::to_owned).collect();
                    self.wrong(path, &format!("the name {root:?}"), &one_of("a variable", Some(root), &known));
                }
            }
        }
        steps
    }

    /// Says so when steps wait for each other in a circle.
    fn order(&mut self, steps: Vec<(DraftStep, BTreeSet<String>)>) -> Vec<DraftStep> {
        let needs: BTreeMap<&str, &BTreeSet<String>> =
            steps.iter().map(|(draft, needs)| (draft.step.id.as_str(), needs)).collect();
        let mut done: BTreeSet<&str> = BTreeSet::new();
        loop {
            let before = done.len();
            for (id, needs) in &needs {
                if needs.iter().all(|need| done.contains(need.as_str()) || !contains(&steps, need)) {
                    done.insert(id);
                }
            }
            if done.len() == before {
                break;
            }
        }
        if let Some(circle) = circle(&needs, &done) {
            let place = steps.iter().position(|(draft, _)| draft.step.id == circle[0]).unwrap_or_default();
            self.wrong(
                &format!("/steps/{place}"),
                &format!("a circle: {}", circle.join(" → ")),
                "steps that can be put in order",
            );
        }
        steps.into_iter().map(|(draft, _)| draft).collect()
    }

    fn known_fields(&mut self, path: &str, fields: &Map<String, Value>, known: &[&str]) {
        for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
            let at = format!("{path}/{}", escape(name));
            let meant = nearest(name, known.iter().copied());
            let expected = match meant {
                Some(meant) => format!("{meant:?}, perhaps"),
                None => format!("one of {}", known.join(", ")),
            };
            self.wrong(&at, "an unknown field", &expected);
        }
    }

    fn required_text<'a>(&mut self, path: &str, fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
        if !fields.contains_key(name) {
            self.wrong(&format!("{path}/{name}"), "nothing", "a string");
        }
        self.optional_text(path, fields, name)
    }

    fn optional_text<'a>(&mut self, path: &str, fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
        match fields.get(name)? {
            Value::String(text) => Some(text),
            other => {
                self.wrong_value(&format!("{path}/{name}"), other, "a string");
                None
            }
        }
    }

    fn typed<T: DeserializeOwned>(&mut self, path: &str, value: &Value) -> Option<T> {
        match T::deserialize(value) {
            Ok(typed) => Some(typed),
            Err(error) => {
                self.wrong_value(path, value, &error.to_string());
                None
            }
        }
    }

    fn count(&mut self, path: &str, value: &Value) -> Option<u32> {
        let count =
            value.as_u64().and_then(|count| u32::try_from(count).ok()).filter(|count| (1..=100_000).contains(count));
        if count.is_none() {
            self.wrong_value(path, value, "a number from 1 to 100000");
        }
        count
    }

    fn duration(&mut self, path: &str, value: &Value) -> Option<u64> {
        let parsed = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => duration_ms(text),
            _ => None,
        };
        // A year is longer than any wait that is meant.
        let parsed = parsed.filter(|ms| *ms <= 366 * 24 * 3_600_000);
        if parsed.is_none() {
            self.wrong_value(
                path,
                value,
                "a duration up to a year, such as 500, \"500ms\", \"30s\", \"5m\", \"2h\" or \"7d\"",
            );
        }
        parsed
    }
}

/// A name as a part of a JSON pointer.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn contains(steps: &[(DraftStep, BTreeSet<String>)], id: &str) -> bool {
    steps.iter().any(|(draft, _)| draft.step.id == id)
}

fn circle(needs: &BTreeMap<&str, &BTreeSet<String>>, done: &BTreeSet<&str>) -> Option<Vec<String>> {
    let mut at = *needs.keys().find(|id| !done.contains(*id))?;
    let mut path: Vec<&str> = Vec::new();
    // Every step that is not done needs another one that is not done, so this comes back to a step on its path.
    while !path.contains(&at) {
        path.push(at);
        at = needs.get(at)?.iter().map(String::as_str).find(|need| !done.contains(need))?;
    }
    let start = path.iter().position(|id| *id == at)?;
    Some(path[start..].iter().copied().chain([at]).map(str::to_owned).collect())
}

fn duration_ms(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(end);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn one_of(what: &str, found: Option<&str>, known: &BTreeSet<String>) -> String {
    if let Some(meant) = found.and_then(|found| nearest(found, known.iter().map(String::as_str))) {
        return format!("{what}: {meant:?}, perhaps");
    }
    let names: Vec<_> = known.iter().take(20).map(String::as_str).collect();
    format!("{what}: one of {}", names.join(", "))
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 80 { text } else { text.chars().take(79).chain(['…']).collect() }
}
