//! Who goes first, and how many go at once: plain values that run stores act on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::WorkflowId;

/// How urgent a run is, from 0 to 9: of the runs that are ready, those with the higher number are claimed first. 5
/// unless somebody says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

impl Priority {
    /// The least urgent.
    pub const LOWEST: Self = Self(0);
    /// The most urgent.
    pub const HIGHEST: Self = Self(9);

    /// A priority from 0 to 9.
    ///
    /// # Errors
    /// A number above 9.
    pub const fn new(number: u8) -> Result<Self, PriorityError> {
        if number > Self::HIGHEST.0 { Err(PriorityError) } else { Ok(Self(number)) }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Every priority, the most urgent first.
    pub fn all() -> impl Iterator<Item = Self> {
        (Self::LOWEST.0..=Self::HIGHEST.0).rev().map(Self)
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Priority {
    type Err = PriorityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text.parse().map_err(|_| PriorityError)?)
    }
}

impl TryFrom<u8> for Priority {
    type Error = PriorityError;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        Self::new(number)
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

/// Not a priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a priority is a whole number from 0 (last) to 9 (first)")]
pub struct PriorityError;

/// How many runs of one workflow, whatever its version, workers may hold at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConcurrencyLimit {
    /// Whose runs.
    pub workflow: WorkflowId,
    /// At most this many; 0 holds them all back.
    pub max: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_zero_to_nine() {
        assert_eq!(Priority::default().get(), 5);
        assert_eq!(Priority::all().map(Priority::get).collect::<Vec<_>>(), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
        assert_eq!("7".parse(), Priority::new(7));
        for text in ["10", "-1", "", "high", "256"] {
            assert_eq!(text.parse::<Priority>(), Err(PriorityError), "{text:?}");
        }
        assert!(serde_json::from_str::<Priority>("10").is_err());
    }
}
