//! What is wrong with settings: all of it at once, each with its key, its fault and an example.

use std::fmt;

use aos_core::{Failure, codes};
use serde_json::json;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The table's default.
    Default,
    /// The configuration file at this path.
    File(String),
    /// The environment.
    Environment,
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => f.write_str(path),
            Self::Environment => f.write_str("environment"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// One wrong setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key.
    pub key: String,
    /// Where the value stands.
    pub origin: Origin,
    /// What is wrong with it and what was expected. Never holds a secret's value.
    pub fault: String,
    /// A line that works.
    pub example: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.key, self.origin, self.fault)?;
        self.example.iter().try_for_each(|example| write!(f, "; for example {example}"))
    }
}

/// Every wrong setting of one start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<Problem>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [problem] => write!(f, "a setting is wrong: {problem}"),
            problems => {
                write!(f, "{} settings are wrong:", problems.len())?;
                problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let problems: Vec<_> = error
            .0
            .iter()
            .map(|p| json!({"key": p.key, "origin": p.origin.to_string(), "fault": p.fault, "example": p.example}))
            .collect();
        Self::new(codes::INVALID_SETTING, error.to_string()).details(json!({ "problems": problems }))
    }
}
