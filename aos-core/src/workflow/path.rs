//! Chains of names and indices (`steps.fetch.output.items[0]`), looked up without Jinja.
//!
//! Most expressions are of this kind, and an engine step has microseconds. The meaning is Jinja's, strictly: a name
//! that is not there is an error, whatever it is looked up in.

use std::borrow::Cow;

use serde_json::Value;

use crate::workflow::scope::Scope;

#[derive(Debug, PartialEq)]
pub(super) struct VariablePath {
    root: String,
    segments: Vec<Segment>,
}

#[derive(Debug, PartialEq)]
enum Segment {
    Name(String),
    Index(usize),
}

impl VariablePath {
    /// `None` when the text is anything but a chain of names and indices; Jinja decides then.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (root, mut rest) = name(text)?;
        // Words that Jinja reads as something other than a variable.
        const WORDS: [&str; 17] = [
            "true", "false", "none", "True", "False", "None", "not", "and", "or", "in", "is", "if", "else", "loop",
            "self", "super", "range",
        ];
        if WORDS.contains(&root) || matches!(root, "dict" | "namespace" | "debug") {
            return None;
        }
        let mut segments = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let (segment, after) = name(after)?;
                segments.push(Segment::Name(segment.to_owned()));
                rest = after;
            } else {
                let (digits, after) = rest.strip_prefix('[')?.split_once(']')?;
                let plain = !digits.is_empty() && digits.len() < 10 && digits.bytes().all(|b| b.is_ascii_digit());
                segments.push(Segment::Index(plain.then(|| digits.parse().ok())??));
                rest = after;
            }
        }
        // A whole result is an object that only Jinja makes.
        if root == "steps" && !matches!(segments[..], [Segment::Name(_), Segment::Name(_), ..]) {
            return None;
        }
        Some(Self { root: root.to_owned(), segments })
    }

    /// The leading names, dotted, as Jinja lists the variables of an expression.
    pub(super) fn names(&self) -> String {
        let names = self.segments.iter().map_while(|segment| match segment {
            Segment::Name(name) => Some(name.as_str()),
            Segment::Index(_) => None,
        });
        std::iter::once(self.root.as_str()).chain(names).collect::<Vec<_>>().join(".")
    }

    /// The value at the path.
    ///
    /// # Errors
    /// Which part is undefined, and what there is instead.
    pub(super) fn lookup(&self, scope: &Scope) -> Result<Value, String> {
        let mut segments = self.segments.iter();
        let mut shown = self.root.clone();
        let start = scope.start(&self.root, &mut || next_name(&mut segments, &mut shown));
        let start = start.ok_or_else(|| format!("{shown} is undefined{}", scope.hint(&shown)))?;
        let mut value = Cow::Borrowed(start);
        for segment in segments {
            let part = match segment {
                Segment::Name(name) => format!(".{name}"),
                Segment::Index(index) => format!("[{index}]"),
            };
            let next = segment.of(&value).ok_or_else(|| format!("{shown}{part} is undefined{}", among(&value)))?;
            value = next;
            shown.push_str(&part);
        }
        Ok(value.into_owned())
    }
}

impl Segment {
    fn of<'v>(&self, value: &Cow<'v, Value>) -> Option<Cow<'v, Value>> {
        match (self, value) {
            (Self::Name(name), Cow::Borrowed(value)) => value.get(name).map(Cow::Borrowed),
            (Self::Index(index), Cow::Borrowed(Value::Array(items))) => items.get(*index).map(Cow::Borrowed),
            (Self::Index(index), value) => {
                let character = value.as_str()?.chars().nth(*index)?;
                Some(Cow::Owned(character.to_string().into()))
            }
            // One character of a text.
            (Self::Name(_), Cow::Owned(_)) => None,
        }
    }
}

/// The next name of the chain, for the scope itself, which has `steps.<id>.output`.
fn next_name(segments: &mut std::slice::Iter<'_, Segment>, shown: &mut String) -> Option<String> {
    match segments.as_slice().first()? {
        Segment::Name(name) => {
            segments.next();
            shown.push('.');
            shown.push_str(name);
            Some(name.clone())
        }
        Segment::Index(_) => None,
    }
}

fn name(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())).then_some((name, rest))
}

/// What there is where a name was not found, for a person.
fn among(value: &Value) -> String {
    match value {
        Value::Object(fields) if fields.is_empty() => "; the object is empty".to_owned(),
        Value::Object(fields) => {
            let names: Vec<_> = fields.keys().take(12).map(String::as_str).collect();
            format!("; there is {}", names.join(", "))
        }
        Value::Array(items) => format!("; the array has {} items", items.len()),
        Value::Null => "; the value is null".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => "; the value has no parts".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::error::Failure;
    use crate::payload::Payload;
    use crate::random::Seed;
    use crate::workflow::jinja;
    use crate::workflow::scope::{Results, StepResult};

    const NAMES: [&str; 12] =
        ["a", "b", "output", "error", "skipped", "fetch", "failed", "open", "items", "keys", "length", "code"];

    /// Any JSON whose members have names that paths ask for.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            (-1e6..1e6).prop_map(Value::from),
            "[a-zé]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let name = prop_oneof![4 => prop::sample::select(&NAMES[..]).prop_map(str::to_owned), 1 => "[0-3]"];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(name, inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    fn any_path() -> impl Strategy<Value = String> {
        let root = prop::sample::select(vec!["input", "input", "item", "steps", "run", "nothing"]);
        let segment = prop_oneof![
            4 => prop::sample::select(&NAMES[..]).prop_map(|name| format!(".{name}")),
            1 => Just(".seed".to_owned()),
            2 => (0..4).prop_map(|index| format!("[{index}]")),
        ];
        let steps = prop::sample::select(vec!["fetch.output", "failed.error", "failed.output", "open.output", "fetch"]);
        let rest = proptest::collection::vec(segment, 0..5).prop_map(|segments| segments.concat());
        (root, steps, rest, any::<bool>()).prop_map(|(root, step, rest, known)| {
            if root == "steps" && known { format!("steps.{step}{rest}") } else { format!("{root}{rest}") }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        /// A path is looked up as Jinja evaluates it: the same value, or an error in both.
        #[test]
        fn means_what_jinja_means(input in any_json(), output in any_json(), item in any_json(), text in any_path()) {
            let payload = |value: &Value| Payload::new(value.clone()).unwrap();
            let results = Results::new(["fetch", "failed", "open"].into_iter());
            results.set("fetch", StepResult::output(payload(&output)));
            let failure = Failure::new(crate::codes::TIMEOUT, "slow").details(json!({"a": [1]}));
            results.set("failed", StepResult::failed(Payload::null(), failure));
            let scope = Scope::new(payload(&input), Arc::new(results), Seed::new(7)).with(vec![("item", item)]);

            let Some(path) = VariablePath::parse(&text) else { return Ok(()) };
            let found = path.lookup(&scope);
            let expression = jinja::ENVIRONMENT.compile_expression(&text).unwrap();
            let expected = expression.eval(scope.as_jinja()).map_err(|e| jinja::explain(&e));
            match (found, expected.and_then(|value| jinja::json(&value))) {
                (Ok(found), Ok(expected)) => prop_assert_eq!(found, expected, "{}", text),
                (Err(why), Err(_)) => prop_assert!(why.contains("undefined"), "{}: {}", text, why),
                (found, expected) => prop_assert!(false, "{text}: found {found:?}, and Jinja gives {expected:?}"),
            }
        }
    }

    #[test]
    fn takes_chains_only() {
        for text in ["input", "steps.fetch.output", "item[0].name", "a_1.b2[12]"] {
            assert!(VariablePath::parse(text).is_some(), "{text}");
        }
        for text in
            ["", "1", "true", "a b", "a.", "a[", "a[-1]", "a['b']", "a|length", "a.b()", "a + b", ".a", "a[1", "ä"]
        {
            assert!(VariablePath::parse(text).is_none(), "{text}");
        }
    }
}
