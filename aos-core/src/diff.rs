//! A short, readable difference between two JSON values, for drift reports and cassette misses.

use std::fmt;

use serde_json::Value;

/// How many changes [`diff`] lists; the first ones say what is wrong, the rest is noise.
pub const MAX_CHANGES: usize = 50;

/// How many characters of one value the `Display` forms show.
const SHOWN_CHARS: usize = 160;

/// How deep [`diff`] descends; deeper differences are shown at this level. Parsed JSON never nests deeper.
const MAX_DEPTH: usize = 128;

/// One place where two values differ.
///
/// Its `Display` form has three lines: the place, the expected value, the actual value. Long texts are cut to the
/// part around the first difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// JSON pointer (RFC 6901) to the place; empty for the whole value. Where items were inserted into or removed
    /// from an array, the index is that of the side that has the item.
    pub path: String,
    /// The value on the expected side; `None` when there is nothing at this place.
    pub expected: Option<Value>,
    /// The value on the actual side; `None` when there is nothing at this place.
    pub actual: Option<Value>,
}

/// Where `actual` differs from `expected`, in document order with keys sorted; at most [`MAX_CHANGES`] places, empty
/// when they are equal.
///
/// Arrays are compared after taking off what they have in common at both ends, so that one inserted item is one
/// change.
///
/// ```
/// use aos_core::diff::{diff, display};
/// use serde_json::json;
///
/// let changes = diff(&json!({"title": "Rust", "year": 2015}), &json!({"title": "Rust", "year": 2024}));
/// assert_eq!(changes[0].path, "/year");
/// assert_eq!(display(&changes).to_string(), "/year\n  expected 2015\n  actual   2024");
/// ```
pub fn diff(expected: &Value, actual: &Value) -> Vec<Change> {
    let mut differ = Differ { path: String::new(), changes: Vec::new() };
    differ.compare(expected, actual, 0);
    differ.changes
}

/// The changes as text, one after the other; says so when [`MAX_CHANGES`] cut the list.
pub fn display(changes: &[Change]) -> impl fmt::Display + '_ {
    Display(changes)
}

struct Differ {
    path: String,
    changes: Vec<Change>,
}

impl Differ {
    fn compare(&mut self, expected: &Value, actual: &Value, depth: usize) {
        if self.full() {
            return;
        }
        match (expected, actual) {
            (Value::Object(expected), Value::Object(actual)) if depth < MAX_DEPTH => {
                // serde_json may keep insertion order, so sort: the report must not depend on a feature of another crate.
                let mut keys: Vec<&String> = expected.keys().chain(actual.keys()).collect();
                keys.sort_unstable();
                keys.dedup();
                for key in keys {
                    self.within(&key.replace('~', "~0").replace('/', "~1"), |differ| {
                        differ.either(expected.get(key), actual.get(key), depth + 1);
                    });
                }
            }
            (Value::Array(expected), Value::Array(actual)) if depth < MAX_DEPTH => {
                self.compare_arrays(expected, actual, depth);
            }
            _ if expected == actual => {}
            _ => self.push(Some(expected), Some(actual)),
        }
    }

    fn compare_arrays(&mut self, expected: &[Value], actual: &[Value], depth: usize) {
        // Of equally long arrays, items are compared one by one; else the common ends say where items came or went.
        let (mut start, mut end) = (0, 0);
        if expected.len() != actual.len() {
            start = expected.iter().zip(actual).take_while(|(e, a)| e == a).count();
            let most = expected.len().min(actual.len()) - start;
            end = expected.iter().rev().zip(actual.iter().rev()).take(most).take_while(|(e, a)| e == a).count();
        }
        let (expected, actual) = (&expected[start..expected.len() - end], &actual[start..actual.len() - end]);
        for index in 0..expected.len().max(actual.len()) {
            if self.full() {
                return;
            }
            self.within(&(start + index).to_string(), |differ| {
                differ.either(expected.get(index), actual.get(index), depth + 1);
            });
        }
    }

    fn either(&mut self, expected: Option<&Value>, actual: Option<&Value>, depth: usize) {
        match (expected, actual) {
            (Some(expected), Some(actual)) => self.compare(expected, actual, depth),
            _ => self.push(expected, actual),
        }
    }

    fn push(&mut self, expected: Option<&Value>, actual: Option<&Value>) {
        if !self.full() {
            self.changes.push(Change { path: self.path.clone(), expected: expected.cloned(), actual: actual.cloned() });
        }
    }

    fn within(&mut self, part: &str, visit: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push('/');
        self.path.push_str(part);
        visit(self);
        self.path.truncate(length);
    }

    fn full(&self) -> bool {
        self.changes.len() >= MAX_CHANGES
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
        let (expected, actual) = (text(&self.expected), text(&self.actual));
        let common = expected.chars().zip(actual.chars()).take_while(|(e, a)| e == a).count();
        f.write_str(if self.path.is_empty() { "(the whole value)" } else { &self.path })?;
        write!(f, "\n  expected {}", excerpt(&expected, common))?;
        write!(f, "\n  actual   {}", excerpt(&actual, common))
    }
}

/// At most [`SHOWN_CHARS`] characters of `text`, beginning a little before character `around` when it is far in.
fn excerpt(text: &str, around: usize) -> String {
    let length = text.chars().count();
    if length <= SHOWN_CHARS {
        return text.to_owned();
    }
    let start = if around < SHOWN_CHARS * 3 / 4 { 0 } else { (around - SHOWN_CHARS / 4).min(length - SHOWN_CHARS) };
    let shown: String = text.chars().skip(start).take(SHOWN_CHARS).collect();
    let before = if start > 0 { "…" } else { "" };
    let after = if start + SHOWN_CHARS < length { "…" } else { "" };
    format!("{before}{shown}{after} ({length} characters)")
}

struct Display<'a>(&'a [Change]);

impl fmt::Display for Display<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, change) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            change.fmt(f)?;
        }
        if self.0.len() >= MAX_CHANGES {
            write!(f, "\n(differences after the first {MAX_CHANGES} are not listed)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_the_places_that_differ() {
        let table = [
            (json!({"a": 1}), json!({"a": 1}), vec![]),
            (json!(1), json!("1"), vec![("", Some(json!(1)), Some(json!("1")))]),
            (json!({"a": 1}), json!({"a": 2}), vec![("/a", Some(json!(1)), Some(json!(2)))]),
            (json!({"a": 1}), json!({}), vec![("/a", Some(json!(1)), None)]),
            (json!({}), json!({"a": null}), vec![("/a", None, Some(json!(null)))]),
            (json!({"a": null}), json!({"a": false}), vec![("/a", Some(json!(null)), Some(json!(false)))]),
            (
                json!({"b": {"x/y": 1, "m~n": 2}}),
                json!({"b": {"x/y": 2, "m~n": 3}}),
                vec![("/b/m~0n", Some(json!(2)), Some(json!(3))), ("/b/x~1y", Some(json!(1)), Some(json!(2)))],
            ),
            (json!([1, 2, 3]), json!([1, 5, 3]), vec![("/1", Some(json!(2)), Some(json!(5)))]),
            (json!([1, 2, 3]), json!([0, 1, 2, 3]), vec![("/0", None, Some(json!(0)))]),
            (json!([1, 2, 3]), json!([1, 3]), vec![("/1", Some(json!(2)), None)]),
            (json!([1, 1, 1]), json!([1, 1]), vec![("/2", Some(json!(1)), None)]),
            (json!([]), json!([[]]), vec![("/0", None, Some(json!([])))]),
            (json!([{"id": 1}]), json!({"id": 1}), vec![("", Some(json!([{"id": 1}])), Some(json!({"id": 1})))]),
            (
                json!([{"id": 1, "n": "a"}, 2]),
                json!([{"id": 1, "n": "b"}]),
                vec![("/0/n", Some(json!("a")), Some(json!("b"))), ("/1", Some(json!(2)), None)],
            ),
        ];
        for (expected, actual, changes) in table {
            let changes: Vec<Change> = changes
                .into_iter()
                .map(|(path, expected, actual): (&str, _, _)| Change { path: path.into(), expected, actual })
                .collect();
            assert_eq!(diff(&expected, &actual), changes, "{expected} {actual}");
        }
    }

    #[test]
    fn reads_alone() {
        let long = "x".repeat(1_000);
        let table = [
            (json!(1), json!(2), "(the whole value)\n  expected 1\n  actual   2".to_owned()),
            (json!({"a": 1}), json!({}), "/a\n  expected 1\n  actual   nothing".to_owned()),
            (
                json!(format!("{long}a")),
                json!(format!("{long}b")),
                format!(
                    "(the whole value)\n  expected …{x}a\" (1003 characters)\n  actual   …{x}b\" (1003 characters)",
                    x = "x".repeat(158)
                ),
            ),
            (
                json!({"a": format!("b{long}")}),
                json!({"a": 1}),
                format!("/a\n  expected \"b{}… (1003 characters)\n  actual   1", "x".repeat(158)),
            ),
        ];
        for (expected, actual, text) in table {
            assert_eq!(display(&diff(&expected, &actual)).to_string(), text);
        }
    }

    #[test]
    fn is_bounded() {
        let (expected, actual) = (json!(vec![0; 100_000]), json!(vec![1; 100_000]));
        let changes = diff(&expected, &actual);
        assert_eq!(changes.len(), MAX_CHANGES);
        let text = display(&changes).to_string();
        assert!(text.ends_with("(differences after the first 50 are not listed)"), "{text}");
        assert!(text.len() < 4_000);
    }

    #[test]
    fn deep_values_are_compared_as_a_whole_below_the_bound() {
        let nest = |leaf: i32| (0..500).fold(json!(leaf), |inner, _| json!([inner]));
        let changes = diff(&nest(1), &nest(2));
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].path, "/0".repeat(MAX_DEPTH));
        assert_eq!(diff(&nest(1), &nest(1)), []);
    }

    proptest::proptest! {
        #[test]
        fn is_empty_exactly_for_equal_values(a in tree(), b in tree()) {
            proptest::prop_assert_eq!(diff(&a, &b).is_empty(), a == b);
            proptest::prop_assert!(diff(&a, &a.clone()).is_empty());
        }
    }

    fn tree() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![Just(json!(null)), (0..3).prop_map(Value::from), "[ab~/]{0,2}".prop_map(Value::from)];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ab/]{0,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
