//! Values that are text in their wire form, read without an intermediate `String`; and what a wrong name was meant to be.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserializer, de};

/// Deserialises a string and parses it.
pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    struct Text<T>(PhantomData<T>);

    impl<T: FromStr<Err: fmt::Display>> de::Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(PhantomData))
}

/// The candidate that `name` is most likely a slip of: at most a third of its letters (and at least one) differ.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.chars().take(MAX_NAME).collect();
    candidates
        .into_iter()
        .map(|candidate| (distance(&name, candidate), candidate))
        .filter(|(distance, _)| *distance <= (name.len() / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Longer names than this are compared by their beginning: they are not slips of the pen.
const MAX_NAME: usize = 64;

/// How many insertions, deletions, replacements and swaps of neighbours turn `a` into `b`.
fn distance(a: &[char], b: &str) -> usize {
    let b: Vec<char> = b.chars().take(MAX_NAME).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        for (name, expected) in [
            ("cluade", Some("claude")),
            ("Claude", Some("claude")),
            ("stubb", Some("stub")),
            ("stub", Some("stub")),
            ("recorder", Some("recorded")),
            ("x", None),
            ("", None),
            ("something else", None),
        ] {
            assert_eq!(nearest(name, ["claude", "recorded", "stub"]), expected, "{name}");
        }
        assert_eq!(nearest(&"a".repeat(100_000), ["a"]), None);
    }
}
