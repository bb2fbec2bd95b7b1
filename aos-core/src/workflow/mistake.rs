//! Everything that is wrong with a definition, at once.

use std::fmt;

use serde::Serialize;
use serde_json::json;

use crate::error::{Failure, codes};

/// One mistake in a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// JSON pointer to the place; empty for the whole definition.
    pub path: String,
    /// What stands there, shortened.
    pub found: String,
    /// What was expected.
    pub expected: String,
    /// What is wrong, in a whole sentence, where that says more than what was found and expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        match &self.why {
            Some(why) => write!(f, "{path}: {why}"),
            None => write!(f, "{path}: found {}, expected {}", self.found, self.expected),
        }
    }
}

/// Why a definition can't be used: every mistake in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DefinitionError {
    /// The mistakes, in the order of the definition.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.mistakes.len();
        write!(f, "the definition has {count} {}", if count == 1 { "mistake" } else { "mistakes" })?;
        self.mistakes.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl From<DefinitionError> for Failure {
    fn from(error: DefinitionError) -> Self {
        Self::new(codes::INVALID_DEFINITION, error.to_string()).details(json!({"mistakes": error.mistakes}))
    }
}
