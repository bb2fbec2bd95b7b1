//! The operations: how they are read, and what each does.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::sort::{self, SortKey};
use super::{MAX_BYTES, edit, own_bytes};
use crate::jsonpath::{JsonPath, MAX_VISITS, Node};
use crate::text;

/// The names of all operations.
pub(super) const NAMES: [&str; 8] = ["extract", "filter", "flatten", "map", "merge", "omit", "pick", "sort"];

/// What the operations of one call may still do.
pub(super) struct Work {
    visits: u64,
    copied: usize,
}

impl Default for Work {
    fn default() -> Self {
        Self { visits: MAX_VISITS, copied: 0 }
    }
}

impl Work {
    /// The nodes that `path` selects; all queries of a call share one bound.
    fn select<'v>(&mut self, path: &JsonPath, value: &'v Value) -> Result<Vec<Node<'v>>, String> {
        path.select(value, &mut self.visits).map_err(|error| error.to_string())
    }

    /// A copy of `value`, counted: one node may be selected, and one value put, a great many times.
    fn copy(&mut self, value: &Value) -> Result<Value, String> {
        self.count(value)?;
        Ok(value.clone())
    }

    fn count(&mut self, value: &Value) -> Result<(), String> {
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            self.copied += own_bytes(value);
            if self.copied > MAX_BYTES {
                return Err(format!("the result is larger than {MAX_BYTES} bytes"));
            }
            match value {
                Value::Array(items) => open.extend(items),
                Value::Object(fields) => open.extend(fields.values()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// One operation, and where it works.
pub(super) struct Operation {
    at: Option<JsonPath>,
    action: Action,
}

enum Action {
    Extract { path: JsonPath, one: bool, default: Option<Value> },
    Map(Each),
    Filter(JsonPath),
    Pick(Vec<JsonPath>),
    Omit(Vec<JsonPath>),
    Merge(Map<String, Value>),
    Flatten(usize),
    Sort(Vec<SortKey>),
}

enum Each {
    Node(JsonPath),
    Fields(BTreeMap<String, JsonPath>),
}

impl Operation {
    /// Reads an operation; the error says which field is wrong.
    pub(super) fn read(op: &Value) -> Result<Self, String> {
        let Value::Object(fields) = op else { return Err("expected an object with \"op\"".into()) };
        let mut fields = fields.clone();
        let Some(Value::String(name)) = fields.remove("op") else {
            return Err(format!("`op` is missing: expected one of {}", NAMES.join(", ")));
        };
        let is_edit = matches!(name.as_str(), "pick" | "omit");
        let at = match fields.remove("at") {
            Some(_) if is_edit => return Err("`at` is not taken: begin `paths` with it".into()),
            Some(Value::String(at)) => Some(path("at", &at)?),
            Some(_) => return Err("`at`: expected a JSONPath query as text".into()),
            None => None,
        };
        Ok(Self { at, action: Action::read(&name, fields)? })
    }

    /// Carries the operation out on `value`.
    pub(super) fn apply(&self, mut value: Value, work: &mut Work) -> Result<Value, String> {
        work.copied = 0;
        let Some(at) = &self.at else { return self.action.apply(value, work) };
        let places = edit::places(&work.select(at, &value)?);
        // From the last to the first: what is inside of another place comes after it, and is done before it.
        for place in places.iter().rev() {
            if let Some(here) = edit::find(&mut value, place) {
                let before = here.take();
                *here = self.action.apply(before, work).map_err(|why| format!("at {}: {why}", edit::pointer(place)))?;
            }
        }
        Ok(value)
    }
}

impl Action {
    fn read(name: &str, fields: Map<String, Value>) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Extract {
            path: String,
            #[serde(default)]
            one: bool,
            #[serde(default, deserialize_with = "given")]
            default: Option<Value>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Mapped {
            path: Option<String>,
            fields: Option<BTreeMap<String, String>>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Filter {
            r#where: String,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Paths {
            paths: Vec<String>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Merge {
            with: Map<String, Value>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Flatten {
            depth: Option<usize>,
        }

        fn paths(Paths { paths }: Paths) -> Result<Vec<JsonPath>, String> {
            paths.iter().map(|text| path("paths", text)).collect()
        }

        Ok(match name {
            "extract" => {
                let Extract { path: text, one, default } = strict(fields)?;
                if default.is_some() && !one {
                    return Err("`default` goes with `one`".into());
                }
                Self::Extract { path: path("path", &text)?, one, default }
            }
            "map" => Self::Map(match strict(fields)? {
                Mapped { path: Some(text), fields: None } => Each::Node(path("path", &text)?),
                Mapped { path: None, fields: Some(fields) } => Each::Fields(
                    fields
                        .into_iter()
                        .map(|(key, text)| Ok((key, path("fields", &text)?)))
                        .collect::<Result<_, String>>()?,
                ),
                _ => return Err("expected either `path` or `fields`".into()),
            }),
            "filter" => {
                let Filter { r#where: text } = strict(fields)?;
                Self::Filter(filter(&text)?)
            }
            "pick" => Self::Pick(paths(strict(fields)?)?),
            "omit" => Self::Omit(paths(strict(fields)?)?),
            "merge" => Self::Merge(strict::<Merge>(fields)?.with),
            "flatten" => Self::Flatten(strict::<Flatten>(fields)?.depth.unwrap_or(1)),
            "sort" => Self::Sort(sort::read(fields)?),
            _ => {
                let hint =
                    text::nearest(name, NAMES).map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default();
                return Err(format!("there is no operation {name:?}{hint}: expected one of {}", NAMES.join(", ")));
            }
        })
    }

    fn apply(&self, value: Value, work: &mut Work) -> Result<Value, String> {
        match self {
            Self::Extract { path, one, default } => extract(&value, path, *one, default.as_ref(), work),
            Self::Map(each) => {
                let items = array(value)?.into_iter().map(|item| each.apply(&item, work));
                items.collect::<Result<_, _>>().map(Value::Array)
            }
            Self::Filter(filter) => {
                if !value.is_array() {
                    return Err(not_an_array(&value));
                }
                let kept = edit::places(&work.select(filter, &value)?);
                Ok(edit::keep(value, &kept))
            }
            Self::Pick(paths) => {
                let places = selected(&value, paths, work)?;
                Ok(edit::keep(value, &places))
            }
            Self::Omit(paths) => {
                let places = selected(&value, paths, work)?;
                edit::remove(value, &places)
            }
            Self::Merge(with) => match value {
                Value::Object(mut fields) => {
                    with.values().try_for_each(|value| work.count(value))?;
                    edit::merge(&mut fields, with);
                    Ok(Value::Object(fields))
                }
                other => Err(format!("expected an object, found {}", kind(&other))),
            },
            Self::Flatten(depth) => {
                let mut items = Vec::new();
                flatten(array(value)?, *depth, &mut items);
                Ok(Value::Array(items))
            }
            Self::Sort(keys) => sort::sort(array(value)?, keys, &mut work.visits).map(Value::Array),
        }
    }
}

impl Each {
    fn apply(&self, item: &Value, work: &mut Work) -> Result<Value, String> {
        let mut first = |path: &JsonPath| {
            let nodes = work.select(path, item)?;
            nodes.first().map_or(Ok(Value::Null), |node| work.copy(node.value))
        };
        match self {
            Self::Node(path) => first(path),
            Self::Fields(fields) => fields
                .iter()
                .map(|(key, path)| Ok((key.clone(), first(path)?)))
                .collect::<Result<Map<_, _>, String>>()
                .map(Value::Object),
        }
    }
}

fn extract(
    value: &Value,
    path: &JsonPath,
    one: bool,
    default: Option<&Value>,
    work: &mut Work,
) -> Result<Value, String> {
    let nodes = work.select(path, value)?;
    if !one {
        return nodes.iter().map(|node| work.copy(node.value)).collect::<Result<_, _>>().map(Value::Array);
    }
    match (&nodes[..], default) {
        ([node], _) => work.copy(node.value),
        ([], Some(default)) => work.copy(default),
        (nodes, _) => Err(format!("expected one node, and the path selects {}", nodes.len())),
    }
}

fn selected(value: &Value, paths: &[JsonPath], work: &mut Work) -> Result<Vec<edit::Place>, String> {
    let mut places = Vec::new();
    for path in paths {
        places.extend(edit::places(&work.select(path, value)?));
    }
    places.sort_unstable();
    places.dedup();
    Ok(places)
}

fn flatten(items: Vec<Value>, depth: usize, out: &mut Vec<Value>) {
    for item in items {
        match item {
            Value::Array(inner) if depth > 0 => flatten(inner, depth - 1, out),
            other => out.push(other),
        }
    }
}

fn array(value: Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(not_an_array(&other)),
    }
}

fn not_an_array(value: &Value) -> String {
    format!("expected an array, found {}", kind(value))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A query, or what is wrong with it.
pub(super) fn path(field: &str, text: &str) -> Result<JsonPath, String> {
    JsonPath::parse(text).map_err(|error| format!("`{field}`: {error}"))
}

/// `@.price < 10` as the query `$[?@.price < 10]`.
fn filter(text: &str) -> Result<JsonPath, String> {
    let wrong = || format!("`where`: {text:?} is not a filter expression: expected one such as \"@.price < 10\"");
    // Parentheses around it would not survive a text that closes the bracket itself and opens another.
    let (alone, grouped) = (JsonPath::parse(&format!("$[?{text}]")), JsonPath::parse(&format!("$[?({text})]")));
    match (alone, grouped) {
        (Ok(path), Ok(_)) => Ok(path),
        (Err(error), _) | (_, Err(error)) => Err(format!("{} ({error})", wrong())),
    }
}

/// Reads fields, all of them known.
pub(super) fn strict<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, String> {
    T::deserialize(Value::Object(fields)).map_err(|error| error.to_string())
}

/// Tells a `null` that was given from nothing given.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
