//! Comparing two JSON Schemas by what they accept.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::keyword::{self, Effect};
use super::{Changes, Level};

/// Which way values flow through the schema.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Callers send values: the schema may accept more than before.
    Input,
    /// Consumers receive values: the schema may accept less than before.
    Output,
}

/// How deep the comparison descends; what lies deeper and differs is breaking.
const MAX_DEPTH: usize = 64;

/// The most pairs of branches that are looked at.
const MAX_PAIRS: usize = 250_000;

/// The most changes that are listed; a comparison that finds more stops.
const MAX_CHANGES: usize = 1_000;

/// Compares two schemas; `path` is where they are in the contract.
pub(super) fn compare(path: &str, old: &Value, new: &Value, side: Side, changes: &mut Changes) {
    let mut comparison = Comparison { side, old_root: old, new_root: new, met: BTreeSet::new(), depth: 0, changes };
    comparison.schemas(path, old, new);
}

struct Comparison<'a> {
    side: Side,
    old_root: &'a Value,
    new_root: &'a Value,
    /// Pairs of references that were met: each is compared, and reported, once. So recursive schemas end, and
    /// definitions that are referred to from many places cost nothing more.
    met: BTreeSet<(String, String)>,
    depth: usize,
    changes: &'a mut Changes,
}

impl Comparison<'_> {
    fn schemas(&mut self, path: &str, old: &Value, new: &Value) {
        if self.changes.0.len() >= MAX_CHANGES {
            return;
        }
        let by_reference = reference(old).is_some() || reference(new).is_some();
        if old == new && !by_reference && !has_references(old, 0) {
            return;
        }
        if self.depth >= MAX_DEPTH {
            return self.unknown(path, Some(old), Some(new), "it nests too deep to be compared");
        }
        self.depth += 1;
        self.schemas_here(path, old, new);
        self.depth -= 1;
    }

    fn schemas_here(&mut self, path: &str, old: &Value, new: &Value) {
        match (old, new) {
            (Value::Bool(true) | Value::Object(_), Value::Bool(true) | Value::Object(_)) => {
                let empty = Map::new();
                let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
                self.objects(path, old, new);
            }
            (Value::Bool(false), Value::Bool(false)) => {}
            (Value::Bool(false), _) => self.effect(path, Some(old), Some(new), Effect::Wider, "it accepted nothing"),
            (_, Value::Bool(false)) => self.effect(path, Some(old), Some(new), Effect::Narrower, "it accepts nothing"),
            _ => self.unknown(path, Some(old), Some(new), "this is not a schema"),
        }
    }

    fn objects(&mut self, path: &str, old: &Map<String, Value>, new: &Map<String, Value>) {
        if self.references(path, old, new) {
            return;
        }
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let (before, after) = (old.get(name), new.get(name));
            let at = format!("{path}/{}", escape(name));
            match name.as_str() {
                // Compared where they are referred to.
                "$ref" | "$defs" | "definitions" => {}
                "properties" => self.properties(&at, before, after, old, new),
                "required" => self.required(&at, before, after),
                "items" | "additionalProperties" | "unevaluatedProperties" | "unevaluatedItems" | "propertyNames" => {
                    self.schemas(&at, before.unwrap_or(&Value::Bool(true)), after.unwrap_or(&Value::Bool(true)));
                }
                "anyOf" | "allOf" => self.branches(&at, before, after, name == "allOf"),
                "oneOf" if keyword::disjoint(before) && keyword::disjoint(after) => {
                    self.branches(&at, before, after, false);
                }
                // A `const` is an `enum` of one: compared once, for both.
                "const" if old.contains_key("enum") || new.contains_key("enum") => {}
                "const" | "enum" => self.enums(&at, old, new),
                "patternProperties" => self.patterns(&at, before, after),
                "prefixItems" => self.prefix(&at, before, after),
                _ if before == after && keyword::is_plain(name) => {}
                _ if before == after => {
                    // Schemas that are not descended into: the same text may refer to another definition now.
                    if before.is_some_and(|schema| has_references(schema, 0)) && self.old_root != self.new_root {
                        self.unknown(&at, before, after, "it refers to definitions, and the schema has changed");
                    }
                }
                "default" => self.default(&at, before, after),
                _ if keyword::is_annotation(name) => {
                    self.push(&at, Level::Cosmetic, before, after, "it describes, and decides nothing");
                }
                _ => {
                    let (effect, why) = keyword::effect(name, before, after);
                    self.effect(&at, before, after, effect, &why);
                }
            }
        }
    }

    /// Follows `$ref` on either side, so that inlining a definition, or naming one, is no change. True when there is
    /// nothing left to compare.
    fn references(&mut self, path: &str, old: &Map<String, Value>, new: &Map<String, Value>) -> bool {
        let (before, after) = (old.get("$ref"), new.get("$ref"));
        let at = format!("{path}/$ref");
        match (before, after) {
            (None, None) => false,
            (Some(from), Some(to)) => {
                match (resolve(self.old_root, from), resolve(self.new_root, to)) {
                    (Some(old), Some(new)) => {
                        if self.met.insert((from.to_string(), to.to_string())) {
                            self.schemas(&at, old, new);
                        }
                    }
                    // The same text that leads out of the document means the same document.
                    _ if from == to && from.as_str().is_some_and(|reference| !reference.starts_with('#')) => {}
                    _ => self.unknown(&at, before, after, "a reference that can't be followed"),
                }
                false
            }
            // The reference stands for all of the other side, unless there are keywords beside it.
            (Some(from), None) if old.len() == 1 => {
                match resolve(self.old_root, from) {
                    Some(old) => self.schemas(&at, old, &Value::Object(new.clone())),
                    None => self.unknown(&at, before, after, "a reference that can't be followed"),
                }
                true
            }
            (None, Some(to)) if new.len() == 1 => {
                match resolve(self.new_root, to) {
                    Some(new) => self.schemas(&at, &Value::Object(old.clone()), new),
                    None => self.unknown(&at, before, after, "a reference that can't be followed"),
                }
                true
            }
            _ => {
                self.unknown(&at, before, after, "a reference with keywords beside it came or went");
                false
            }
        }
    }

    fn properties(
        &mut self,
        path: &str,
        before: Option<&Value>,
        after: Option<&Value>,
        old: &Map<String, Value>,
        new: &Map<String, Value>,
    ) {
        let (Some(before), Some(after)) = (object_or_empty(before), object_or_empty(after)) else {
            return self.unknown(path, before, after, "`properties` is not an object");
        };
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            let at = format!("{path}/{}", escape(name));
            match (before.get(name), after.get(name)) {
                (Some(before), Some(after)) => self.schemas(&at, before, after),
                (Some(gone), None) => {
                    let why = match self.side {
                        Side::Input => "callers may send this property",
                        Side::Output => "consumers may read this property",
                    };
                    self.push(&at, Level::Breaking, Some(gone), None, why);
                }
                (None, Some(added)) if self.side == Side::Input && !requires(new, name) => {
                    self.push(&at, Level::Compatible, None, Some(added), "callers may leave the new property out");
                }
                (None, Some(added)) if self.side == Side::Input => {
                    self.push(&at, Level::Breaking, None, Some(added), "callers don't send the new property");
                }
                (None, Some(added)) if old.get("additionalProperties") == Some(&Value::Bool(false)) => {
                    let why = "the schema said that there are no other properties";
                    self.push(&at, Level::Breaking, None, Some(added), why);
                }
                (None, Some(added)) => {
                    self.push(&at, Level::Compatible, None, Some(added), "consumers may ignore the new property");
                }
                (None, None) => {}
            }
        }
    }

    fn required(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        let (Some(old), Some(new)) = (strings(before), strings(after)) else {
            return self.unknown(path, before, after, "`required` is not a list of names");
        };
        if let Some(name) = new.difference(&old).next() {
            self.effect(path, before, after, Effect::Narrower, &format!("{name:?} has become required"));
        }
        if let Some(name) = old.difference(&new).next() {
            self.effect(path, before, after, Effect::Wider, &format!("{name:?} is no longer required"));
        }
    }

    fn enums(&mut self, path: &str, old: &Map<String, Value>, new: &Map<String, Value>) {
        let (before, after) = (keyword::values(old), keyword::values(new));
        if old.get("enum") == new.get("enum") && old.get("const") == new.get("const") {
            return;
        }
        let shown = |object: &Map<String, Value>| object.get("enum").or(object.get("const")).cloned();
        let (effect, why) = match (&before, &after) {
            (None, None) => (Effect::Unknown, "`enum` is not a list".to_owned()),
            (None, Some(_)) => (Effect::Narrower, "only listed values are left".to_owned()),
            (Some(_), None) => (Effect::Wider, "values besides the listed ones are allowed".to_owned()),
            (Some(before), Some(after)) => keyword::sets(before, after, "value"),
        };
        self.effect(path, shown(old).as_ref(), shown(new).as_ref(), effect, &why);
    }

    /// `anyOf` and `allOf`, and a `oneOf` whose branches exclude each other: what both sides have is set apart, and
    /// what is left is compared in order.
    fn branches(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>, all: bool) {
        let (more, fewer) = if all { (Effect::Narrower, Effect::Wider) } else { (Effect::Wider, Effect::Narrower) };
        let (old, new) = match (before.map(Value::as_array), after.map(Value::as_array)) {
            (Some(Some(old)), Some(Some(new))) => (old, new),
            (None, Some(Some(_))) => return self.effect(path, before, after, Effect::Narrower, "a condition more"),
            (Some(Some(_)), None) => return self.effect(path, before, after, Effect::Wider, "a condition less"),
            _ => return self.unknown(path, before, after, "this is not a list of schemas"),
        };
        if old.len().saturating_mul(new.len()) > MAX_PAIRS {
            return self.unknown(path, None, None, "too many branches to compare");
        }
        let mut left: Vec<Option<&Value>> = old.iter().map(Some).collect();
        let mut added = Vec::new();
        for (index, branch) in new.iter().enumerate() {
            match left.iter_mut().find(|candidate| **candidate == Some(branch)).and_then(Option::take) {
                // Equal texts: what they refer to may differ.
                Some(same) => self.schemas(&format!("{path}/{index}"), same, branch),
                None => added.push((index, branch)),
            }
        }
        let mut gone = left.into_iter().flatten();
        for (index, branch) in added {
            let at = format!("{path}/{index}");
            match gone.next() {
                Some(before) => self.schemas(&at, before, branch),
                None => self.effect(&at, None, Some(branch), more, "a branch more"),
            }
        }
        for branch in gone {
            self.effect(path, Some(branch), None, fewer, "a branch less");
        }
    }

    fn patterns(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        let (Some(old), Some(new)) = (object_or_empty(before), object_or_empty(after)) else {
            return self.unknown(path, before, after, "`patternProperties` is not an object");
        };
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let any = Value::Bool(true);
            let (old, new) = (old.get(name).unwrap_or(&any), new.get(name).unwrap_or(&any));
            self.schemas(&format!("{path}/{}", escape(name)), old, new);
        }
    }

    fn prefix(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        match (before.and_then(Value::as_array), after.and_then(Value::as_array)) {
            (Some(old), Some(new)) if old.len() == new.len() => {
                for (index, (old, new)) in old.iter().zip(new).enumerate() {
                    self.schemas(&format!("{path}/{index}"), old, new);
                }
            }
            _ => self.unknown(path, before, after, "the leading items have changed"),
        }
    }

    fn default(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        let (level, why) = match (self.side, before) {
            (Side::Output, _) => (Level::Cosmetic, "nothing fills it into an output"),
            (Side::Input, None) => (Level::Compatible, "what an absent value means is now said"),
            (Side::Input, Some(_)) => (Level::Breaking, "callers that leave the value out get another one"),
        };
        self.push(path, level, before, after, why);
    }

    fn effect(&mut self, path: &str, old: Option<&Value>, new: Option<&Value>, effect: Effect, why: &str) {
        let (level, tail) = match (effect, self.side) {
            (Effect::Narrower, Side::Input) => (Level::Breaking, ": values that callers send may be refused"),
            (Effect::Wider, Side::Output) => (Level::Breaking, ": consumers may receive values they don't expect"),
            (Effect::Narrower, Side::Output) | (Effect::Wider, Side::Input) => (Level::Compatible, ""),
            (Effect::Same, _) => (Level::Cosmetic, ""),
            (Effect::Unknown, _) => (Level::Breaking, ": nobody can tell what this means for users"),
        };
        self.push(path, level, old, new, &format!("{why}{tail}"));
    }

    fn unknown(&mut self, path: &str, old: Option<&Value>, new: Option<&Value>, why: &str) {
        self.effect(path, old, new, Effect::Unknown, why);
    }

    fn push(&mut self, path: &str, level: Level, old: Option<&Value>, new: Option<&Value>, why: &str) {
        let (old, new) = (old.cloned().unwrap_or_default(), new.cloned().unwrap_or_default());
        self.changes.push(path.to_owned(), level, old, new, why);
    }
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()
}

/// Whether anything in a schema refers elsewhere, so that equal texts may mean different things.
fn has_references(schema: &Value, depth: usize) -> bool {
    if depth > MAX_DEPTH {
        return true;
    }
    match schema {
        Value::Object(fields) => {
            fields.contains_key("$ref") || fields.values().any(|value| has_references(value, depth + 1))
        }
        Value::Array(items) => items.iter().any(|item| has_references(item, depth + 1)),
        _ => false,
    }
}

/// Follows a reference within its own document.
fn resolve<'a>(root: &'a Value, reference: &Value) -> Option<&'a Value> {
    root.pointer(reference.as_str()?.strip_prefix('#')?)
}

fn object_or_empty(value: Option<&Value>) -> Option<Map<String, Value>> {
    value.map_or_else(|| Some(Map::new()), |value| value.as_object().cloned())
}

fn strings(value: Option<&Value>) -> Option<BTreeSet<&str>> {
    let Some(value) = value else { return Some(BTreeSet::new()) };
    value.as_array()?.iter().map(Value::as_str).collect()
}

fn requires(schema: &Map<String, Value>, name: &str) -> bool {
    strings(schema.get("required")).is_none_or(|names| names.contains(name))
}
