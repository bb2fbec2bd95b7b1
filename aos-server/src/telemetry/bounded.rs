//! Label values that come from outside: workflows, skills, models, codes of skills.
//!
//! Each value makes new series on the page, and each series costs memory here and wherever the page is read. So only the
//! first values of a label get series of their own.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// The label of everything that has no series of its own.
pub const OTHER: &str = "other";

/// Longer values get no series of their own either.
const LONGEST: usize = 200;

/// The first values, or combinations of values, up to a number.
pub struct Bounded {
    limit: usize,
    first: Mutex<HashSet<String>>,
}

impl Bounded {
    /// Nothing yet, and `limit` values at most.
    pub fn new(limit: usize) -> Self {
        Self { limit, first: Mutex::default() }
    }

    /// Whether these values together get a series of their own. What did once does as long as the process lives.
    pub fn admits(&self, values: &[&str]) -> bool {
        // No id, version or code has such a character in it; a model that does may meet another one's series.
        let key = values.join("\u{1f}");
        // Every change is complete before anything that could panic.
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.contains(&key) || (first.len() < self.limit && key.len() <= LONGEST && first.insert(key))
    }

    /// The value, or [`OTHER`].
    pub fn name<'a>(&self, value: &'a str) -> &'a str {
        if self.admits(&[value]) { value } else { OTHER }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_values_keep_their_names() {
        let names = Bounded::new(2);
        assert_eq!(
            ["a", "a", "b", "c", "b", "a", "c"].map(|name| names.name(name)),
            ["a", "a", "b", OTHER, "b", "a", OTHER]
        );
    }

    #[test]
    fn a_combination_is_not_its_text() {
        let pairs = Bounded::new(1);
        assert!(pairs.admits(&["ab", "c"]));
        assert!(!pairs.admits(&["a", "bc"]));
    }

    #[test]
    fn a_long_value_takes_no_place() {
        let names = Bounded::new(1);
        assert_eq!(names.name(&"x".repeat(LONGEST + 1)), OTHER);
        assert_eq!(names.name("short"), "short");
    }
}
