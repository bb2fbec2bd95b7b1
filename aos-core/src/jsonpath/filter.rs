//! Filter expressions: logic, comparisons and functions (RFC 9535, sections 2.3.5 and 2.4).

use std::borrow::Cow;

use jsonpath_rust::parser::model::{
    Comparable, Comparison, Filter, FilterAtom, FnArg, Literal, SingularQuery, SingularQuerySegment, Test, TestFunction,
};
use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::evaluate::{Evaluation, Node, Spent, position};

/// Bytes that one compiled pattern may take.
const PATTERN_BYTES: usize = 1 << 20;

/// A value, or nothing.
type Maybe<'v> = Option<Cow<'v, Value>>;

impl<'v> Evaluation<'v> {
    /// Whether `filter` holds for the node `@`.
    pub(super) fn holds(&mut self, filter: &Filter, at: &Node<'v>) -> Result<bool, Spent> {
        self.spend(1)?;
        match filter {
            Filter::Or(filters) => {
                for filter in filters {
                    if self.holds(filter, at)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Filter::And(filters) => {
                for filter in filters {
                    if !self.holds(filter, at)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Filter::Atom(FilterAtom::Filter { expr, not }) => Ok(self.holds(expr, at)? != *not),
            Filter::Atom(FilterAtom::Test { expr, not }) => Ok(self.test(expr, at)? != *not),
            Filter::Atom(FilterAtom::Comparison(comparison)) => self.compare(comparison, at),
        }
    }

    fn test(&mut self, test: &Test, at: &Node<'v>) -> Result<bool, Spent> {
        match test {
            Test::Function(function) => match &**function {
                TestFunction::Match(text, pattern) => self.matches(text, pattern, true, at),
                TestFunction::Search(text, pattern) => self.matches(text, pattern, false, at),
                // Refused when the query was read.
                _ => Ok(false),
            },
            query => Ok(!self.nodes(query, at)?.is_empty()),
        }
    }

    /// The nodes of a query within a filter.
    fn nodes(&mut self, query: &Test, at: &Node<'v>) -> Result<Vec<Node<'v>>, Spent> {
        match query {
            Test::RelQuery(segments) => self.segments(segments, at.clone()),
            Test::AbsQuery(query) => self.query(query),
            Test::Function(_) => Ok(Vec::new()),
        }
    }

    fn compare(&mut self, comparison: &Comparison, at: &Node<'v>) -> Result<bool, Spent> {
        let (left, right) = comparison.vals();
        let (left, right) = (self.comparable(left, at)?, self.comparable(right, at)?);
        // Comparing looks at the whole of both.
        self.spend(left.as_deref().map_or(0, weight) + right.as_deref().map_or(0, weight))?;
        // Normalized numbers that are equal are equal values.
        let equal = left == right;
        Ok(match comparison {
            Comparison::Eq(..) => equal,
            Comparison::Ne(..) => !equal,
            Comparison::Lt(..) => less(&left, &right),
            Comparison::Lte(..) => equal || less(&left, &right),
            Comparison::Gt(..) => less(&right, &left),
            Comparison::Gte(..) => equal || less(&right, &left),
        })
    }

    fn comparable(&mut self, comparable: &Comparable, at: &Node<'v>) -> Result<Maybe<'v>, Spent> {
        match comparable {
            Comparable::Literal(literal) => Ok(Some(Cow::Owned(self::literal(literal)))),
            Comparable::Function(function) => self.function(function, at),
            Comparable::SingularQuery(SingularQuery::Current(segments)) => Ok(singular(segments, at.value)),
            Comparable::SingularQuery(SingularQuery::Root(segments)) => Ok(singular(segments, self.root)),
        }
    }

    fn function(&mut self, function: &TestFunction, at: &Node<'v>) -> Result<Maybe<'v>, Spent> {
        Ok(match function {
            TestFunction::Length(value) => {
                let value = self.argument(value, at)?;
                let length = match value.as_deref() {
                    Some(Value::String(text)) => {
                        self.spend(text.len() / 16)?;
                        Some(text.chars().count())
                    }
                    Some(Value::Array(items)) => Some(items.len()),
                    Some(Value::Object(fields)) => Some(fields.len()),
                    _ => None,
                };
                length.map(|length| Cow::Owned(Value::from(length)))
            }
            TestFunction::Count(FnArg::Test(query)) => Some(Cow::Owned(Value::from(self.nodes(query, at)?.len()))),
            TestFunction::Value(FnArg::Test(query)) => match &self.nodes(query, at)?[..] {
                [node] => Some(Cow::Borrowed(node.value)),
                _ => None,
            },
            // Refused when the query was read.
            _ => None,
        })
    }

    /// A function's argument as a value.
    fn argument(&mut self, argument: &FnArg, at: &Node<'v>) -> Result<Maybe<'v>, Spent> {
        match argument {
            FnArg::Literal(literal) => Ok(Some(Cow::Owned(self::literal(literal)))),
            FnArg::Test(test) => match &**test {
                Test::Function(function) => self.function(function, at),
                query => Ok(self.nodes(query, at)?.first().map(|node| Cow::Borrowed(node.value))),
            },
            FnArg::Filter(_) => Ok(None),
        }
    }

    fn matches(&mut self, text: &FnArg, pattern: &FnArg, whole: bool, at: &Node<'v>) -> Result<bool, Spent> {
        let (text, pattern) = (self.argument(text, at)?, self.argument(pattern, at)?);
        let (Some(Value::String(text)), Some(Value::String(pattern))) = (text.as_deref(), pattern.as_deref()) else {
            return Ok(false);
        };
        self.spend(text.len() / 16 + 1)?;
        let key = (pattern.clone(), whole);
        if !self.patterns.contains_key(&key) {
            // To compile a pattern is work too, and every node may bring its own.
            self.spend(1_000 + pattern.len())?;
            self.patterns.insert(key.clone(), compile(pattern, whole));
        }
        Ok(self.patterns.get(&key).and_then(Option::as_ref).is_some_and(|regex| regex.is_match(text)))
    }
}

fn singular<'v>(segments: &[SingularQuerySegment], start: &'v Value) -> Maybe<'v> {
    let mut value = start;
    for segment in segments {
        value = match (segment, value) {
            (SingularQuerySegment::Name(name), Value::Object(fields)) => fields.get(name)?,
            (SingularQuerySegment::Index(index), Value::Array(items)) => items.get(position(*index, items.len())?)?,
            _ => return None,
        };
    }
    Some(Cow::Borrowed(value))
}

fn literal(literal: &Literal) -> Value {
    let mut value = match literal {
        Literal::Int(number) => Value::from(*number),
        Literal::Float(number) => Value::from(*number),
        Literal::String(text) => Value::from(text.as_str()),
        Literal::Bool(truth) => Value::from(*truth),
        Literal::Null => Value::Null,
    };
    // `1.0` means what `1` means. A number that no document can hold equals nothing in one, whatever its form.
    let _ = crate::canonical::normalize(&mut value);
    value
}

fn less(left: &Maybe<'_>, right: &Maybe<'_>) -> bool {
    match (left.as_deref(), right.as_deref()) {
        (Some(Value::Number(left)), Some(Value::Number(right))) => left.as_f64() < right.as_f64(),
        // Byte order of UTF-8 is the order of Unicode scalar values.
        (Some(Value::String(left)), Some(Value::String(right))) => left < right,
        _ => false,
    }
}

/// How many values there are in a value, a text counted by its length.
fn weight(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(weight).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(weight).sum::<usize>(),
        Value::String(text) => 1 + text.len() / 64,
        _ => 1,
    }
}

/// An I-Regexp (RFC 9485); `None` for a text that is none.
fn compile(pattern: &str, whole: bool) -> Option<Regex> {
    let mut translated = String::with_capacity(pattern.len() + 8);
    let mut in_class = false;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let escaped = chars.next()?;
                // Of the letters only these; `\d`, `\b` and the like are no I-Regexp.
                if escaped.is_ascii_alphanumeric() && !matches!(escaped, 'n' | 'r' | 't' | 'p' | 'P') {
                    return None;
                }
                translated.extend(['\\', escaped]);
            }
            '[' if in_class => return None,
            '[' => {
                in_class = true;
                translated.push(c);
            }
            ']' => {
                in_class = false;
                translated.push(c);
            }
            '.' if !in_class => translated.push_str(r"[^\n\r]"),
            // Anchors are plain characters there, and `&&`, `--`, `~~` in a class have no meaning.
            '^' | '$' if !in_class => translated.extend(['\\', c]),
            '&' | '~' if in_class => translated.extend(['\\', c]),
            // No groups with flags, no lazy quantifiers.
            '(' if !in_class && chars.as_str().starts_with('?') => return None,
            '*' | '+' | '?' | '}' if !in_class && chars.as_str().starts_with(['?', '+', '*']) => return None,
            _ => translated.push(c),
        }
    }
    let translated = if whole { format!(r"\A(?:{translated})\z") } else { translated };
    RegexBuilder::new(&translated).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build().ok()
}
