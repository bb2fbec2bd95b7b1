//! Jinja within bounds of time and memory.
//!
//! Jinja's fuel pays for instructions and for the bytes that they make, 64 of them for one unit. It does not see what is
//! behind a list whose items are the same value many times, so what walks through values is bounded here as well: filters,
//! tests, what is printed, and the result. Operators (`~` and comparisons) are out of reach.

use std::sync::LazyLock;

use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior};
use serde_json::{Map, Number, Value};

/// Instructions that one evaluation may take.
const FUEL: u64 = 100_000;

/// The most that one value may weigh when all of it is looked at: bytes of text, and [`ITEM_WEIGHT`] for each item.
/// More than a payload has.
const MAX_WEIGHT: usize = 24_000_000;

const ITEM_WEIGHT: usize = 16;

/// How deep a value may nest that Jinja makes a text of, which takes its stack.
const MAX_DEPTH: usize = crate::canonical::MAX_DEPTH;

/// Filters that walk through all of what they are given.
const WALKING_FILTERS: [&str; 24] = [
    "capitalize",
    "dictsort",
    "e",
    "escape",
    "format",
    "groupby",
    "indent",
    "int",
    "float",
    "join",
    "lines",
    "lower",
    "max",
    "min",
    "replace",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "trim",
    "unique",
    "upper",
    "safe",
];

/// Tests that walk through all of what they compare.
const WALKING_TESTS: [&str; 16] =
    ["==", "!=", "<", "<=", ">", ">=", "eq", "equalto", "ne", "lt", "lessthan", "le", "gt", "greaterthan", "ge", "in"];

pub(super) static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = plain();
    for name in WALKING_FILTERS {
        environment.add_filter(name, move |args: Rest<minijinja::Value>| {
            check(&args)?;
            PLAIN.empty_state().apply_filter(name, &args)
        });
    }
    for name in WALKING_TESTS {
        environment.add_test(name, move |args: Rest<minijinja::Value>| {
            check(&args)?;
            PLAIN.empty_state().perform_test(name, &args)
        });
    }
    environment.set_formatter(|out: &mut Output, _: &mut State, value: &minijinja::Value| {
        Budget::default().spend(value, 0)?;
        write!(out, "{value}").map_err(Error::from)
    });
    environment
});

/// Where the filters of [`ENVIRONMENT`] find the originals.
static PLAIN: LazyLock<Environment<'static>> = LazyLock::new(plain);

fn plain() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_recursion_limit(100);
    // With it a loop can nest values deeper with every turn, until dropping them takes more stack than there is.
    environment.remove_global("namespace");
    environment.remove_filter("pprint");
    environment
}

fn check(args: &[minijinja::Value]) -> Result<(), Error> {
    let mut budget = Budget::default();
    args.iter().try_for_each(|arg| budget.spend(arg, 0))
}

/// What may still be looked at of one value.
struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(MAX_WEIGHT)
    }
}

impl Budget {
    fn spend(&mut self, value: &minijinja::Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::new(ErrorKind::InvalidOperation, "a value nests too deep"));
        }
        self.take(ITEM_WEIGHT + value.as_str().map_or(0, str::len))?;
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable => value.try_iter()?.try_for_each(|item| self.spend(&item, depth + 1)),
            ValueKind::Map => value.try_iter()?.try_for_each(|key| {
                self.spend(&key, depth + 1)?;
                self.spend(&value.get_item(&key)?, depth + 1)
            }),
            _ => Ok(()),
        }
    }

    fn take(&mut self, weight: usize) -> Result<(), Error> {
        self.0 = self.0.checked_sub(weight).ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, format!("a value has more than about {MAX_WEIGHT} bytes"))
        })?;
        Ok(())
    }
}

/// A Jinja error without the parts that mean nothing here.
pub(super) fn explain(error: &Error) -> String {
    use minijinja::ErrorKind as Kind;
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    match error.kind() {
        Kind::UndefinedError => {
            let name = detail.strip_prefix(": ").map(|name| format!("{name} is undefined"));
            name.unwrap_or_else(|| "it uses a name that is undefined here".to_owned())
        }
        Kind::OutOfFuel => format!("it takes more than {FUEL} instructions"),
        kind => format!("{kind}{detail}"),
    }
}

/// A Jinja value as JSON, without changing anything silently.
pub(super) fn json(value: &minijinja::Value) -> Result<Value, String> {
    Budget::default().spend(value, 0).map_err(|e| explain(&e))?;
    convert(value)
}

/// Converts a value that is within bounds.
fn convert(value: &minijinja::Value) -> Result<Value, String> {
    Ok(match value.kind() {
        ValueKind::Undefined => return Err("its value is undefined".to_owned()),
        ValueKind::None => Value::Null,
        ValueKind::Bool => Value::Bool(value.is_true()),
        ValueKind::Number => Value::Number(number(value)?),
        ValueKind::String => Value::String(value.as_str().unwrap_or_default().to_owned()),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|e| explain(&e))?;
            Value::Array(items.map(|item| convert(&item)).collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let mut object = Map::new();
            for key in value.try_iter().map_err(|e| explain(&e))? {
                let item = value.get_item(&key).map_err(|e| explain(&e))?;
                object.insert(key.to_string(), convert(&item)?);
            }
            Value::Object(object)
        }
        kind => return Err(format!("its value is a {kind}, which JSON can't express")),
    })
}

fn number(value: &minijinja::Value) -> Result<Number, String> {
    if value.is_integer() {
        let integer = i64::try_from(value.clone()).map_err(|_| "its value is an integer beyond 64 bits".to_owned())?;
        return Ok(integer.into());
    }
    let float = f64::try_from(value.clone()).map_err(|e| explain(&e))?;
    Number::from_f64(float).ok_or_else(|| format!("its value is {float}, which JSON can't express"))
}
