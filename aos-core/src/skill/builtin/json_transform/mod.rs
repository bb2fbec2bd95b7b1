//! `json_transform@1.0.0`: a list of operations on JSON.

mod contract;
mod edit;
mod operation;
mod sort;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::BoxFuture;
use crate::error::{Failure, codes};
use crate::payload::Payload;
use crate::skill::{CrashClass, Determinism, Skill, SkillCall, SkillContract, SkillResult};

use operation::{Operation, Work};

/// The largest input and the largest result of an operation, in bytes of JSON text.
pub(super) const MAX_BYTES: usize = 10_000_000;

/// The deepest input and result.
pub(super) const MAX_DEPTH: usize = 64;

/// The longest array.
pub(super) const MAX_ITEMS: usize = 1_000_000;

/// The most operations.
pub(super) const MAX_OPERATIONS: usize = 100;

/// The skill `json_transform@1.0.0`: `{"input": …, "ops": [{"op": …}, …]}` gives `input` after all operations.
///
/// | operation | what it does |
/// |---|---|
/// | `extract` | the list of the nodes that `path` selects; with `one`, the only node (else `default`, else a failure) |
/// | `map` | each item of an array becomes the node that `path` selects in it, or an object of `fields`; `null` where there is none |
/// | `filter` | keeps the items of an array for which the filter expression `where` holds (`@.price < 10`) |
/// | `pick` | keeps only the nodes that `paths` select, where they are |
/// | `omit` | removes the nodes that `paths` select |
/// | `merge` | merges the object `with` into an object, member by member at every depth; other values are replaced |
/// | `flatten` | puts the items of inner arrays in their place, `depth` levels deep (1) |
/// | `sort` | sorts an array by `by` (a list of `path` and `order`), or by its items; equal items keep their order |
///
/// Paths and filter expressions are JSONPath (RFC 9535). Every operation but `pick` and `omit` takes `at`, a path to
/// the values it works on; without it that is the whole value. Sorting puts null before false, true, numbers, texts
/// (by Unicode scalar values), arrays (item by item) and objects (by their canonical text); what has no value to sort
/// by comes last in either order.
///
/// Bounds: 10 MB of input and of every result, 64 levels, arrays of 1,000,000 items, 100 operations, and a bound on
/// what queries visit. Whatever goes wrong is [`codes::TRANSFORM_FAILED`] and names the operation (`ops[2] (sort)`).
#[derive(Clone, Debug)]
pub struct JsonTransform(SkillContract);

impl JsonTransform {
    /// The skill.
    pub fn new() -> Self {
        let contract = super::contract("json_transform", Determinism::Deterministic, CrashClass::Pure)
            .description("Reshapes JSON: extract, map, filter, pick, omit, merge, flatten, sort.")
            .schemas(contract::input_schema(), json!(true));
        Self(contract)
    }
}

impl Default for JsonTransform {
    fn default() -> Self {
        Self::new()
    }
}

impl Skill for JsonTransform {
    fn contract(&self) -> &SkillContract {
        &self.0
    }

    fn call(&self, call: SkillCall) -> BoxFuture<'_, SkillResult> {
        Box::pin(std::future::ready(transform(&call.input).map(Into::into)))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    input: Value,
    ops: Vec<Value>,
}

fn transform(input: &Payload) -> Result<Payload, Failure> {
    let failed = |why: String| Failure::new(codes::TRANSFORM_FAILED, why);
    if input.len() > MAX_BYTES {
        return Err(failed(format!("the input has {} bytes, and at most {MAX_BYTES} are transformed", input.len())));
    }
    let Input { input: mut value, ops } = input.to()?;
    check("`input`", &value).map_err(failed)?;
    if ops.len() > MAX_OPERATIONS {
        return Err(failed(format!("`ops` has {} operations: at most {MAX_OPERATIONS} are carried out", ops.len())));
    }
    // All operations are read before the first is carried out, so that a mistake in the last one costs nothing.
    let mut operations = Vec::with_capacity(ops.len());
    for (index, op) in ops.iter().enumerate() {
        operations.push(Operation::read(op).map_err(|why| failed(format!("ops[{index}]{}: {why}", named(op))))?);
    }
    let mut work = Work::default();
    for (index, operation) in operations.iter().enumerate() {
        let here =
            |why: String| failed(format!("ops[{index}]{}: {why}", named(&ops[index]))).details(json!({"op": index}));
        value = operation.apply(value, &mut work).map_err(here)?;
        check("the result", &value).map_err(here)?;
    }
    Ok(Payload::new(value)?)
}

fn named(op: &Value) -> String {
    match op.get("op").and_then(Value::as_str) {
        Some(name) => format!(" ({})", name.chars().take(40).collect::<String>()),
        None => String::new(),
    }
}

/// Says which bound `value` passes.
fn check(what: &str, value: &Value) -> Result<(), String> {
    let mut bytes = 0;
    let mut open = vec![(value, 1)];
    while let Some((value, depth)) = open.pop() {
        bytes += own_bytes(value);
        if bytes > MAX_BYTES {
            return Err(format!("{what} is larger than {MAX_BYTES} bytes"));
        }
        let is_leaf = !matches!(value, Value::Array(_) | Value::Object(_));
        if depth > MAX_DEPTH && !is_leaf {
            return Err(format!("{what} nests deeper than {MAX_DEPTH} levels"));
        }
        match value {
            Value::Array(items) if items.len() > MAX_ITEMS => {
                return Err(format!(
                    "{what} has an array of {} items, and at most {MAX_ITEMS} are allowed",
                    items.len()
                ));
            }
            Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(fields) => open.extend(fields.values().map(|value| (value, depth + 1))),
            _ => {}
        }
    }
    Ok(())
}

/// About how many bytes a value's text has, those of its parts apart.
pub(super) fn own_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.len() + 2,
        Value::Object(fields) => 2 + fields.keys().map(|key| key.len() + 4).sum::<usize>(),
    }
}

#[cfg(test)]
mod tests;
