//! Chains of names and indices (`steps.fetch.output.items[0]`), looked up without Jinja.
//!
//! Most expressions are of this kind, and an engine step has microseconds. The meaning is Jinja's, strictly: a name
//! that is not there is an error, whatever it is looked up in.

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
        let mut value = start.ok_or_else(|| format!("{shown} is undefined{}", scope.hint(&shown)))?;
        for segment in segments {
            let (next, part) = match segment {
                Segment::Name(name) => (value.get(name.as_str()), format!(".{name}")),
                Segment::Index(index) => (value.get(*index), format!("[{index}]")),
            };
            value = next.ok_or_else(|| format!("{shown}{part} is undefined{}", among(value)))?;
            shown.push_str(&part);
        }
        Ok(value.clone())
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
    use super::*;

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
