//! Drift as a value: the first place where replay and journal disagree.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::canonical::Hash;
use crate::error::{Failure, codes};
use crate::event::RunStarted;
use crate::id::EffectId;
use crate::workflow::WorkflowVersion;

/// In what replay and journal disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftClass {
    /// An effect is asked for with another input.
    Input,
    /// The run, or an effect that the engine answers itself, gives something else.
    Output,
    /// Another version of a skill or child workflow is called.
    SkillVersion,
    /// Effects are asked for in another order.
    Order,
    /// The journal has an effect that the program no longer asks for.
    Missing,
    /// The program asks for an effect that the journal doesn't have.
    Extra,
    /// Another decision to retry, or another number of attempts.
    Retry,
    /// Another cost, or another decision of the budget.
    Cost,
    /// The journal was made by another plan.
    Plan,
}

impl fmt::Display for DriftClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::SkillVersion => "skill_version",
            Self::Order => "order",
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Retry => "retry",
            Self::Cost => "cost",
            Self::Plan => "plan",
        })
    }
}

/// The first place where replay and journal disagree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// In what they disagree.
    pub class: DriftClass,
    /// About which effect; `None` for the run as a whole.
    pub effect: Option<EffectId>,
    /// Index of the journal entry.
    pub index: u64,
    /// What the journal says.
    pub expected: Value,
    /// What the program did.
    pub actual: Value,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "drift of class {} at entry {}", self.class, self.index)?;
        if let Some(effect) = &self.effect {
            write!(f, ", effect {effect}")?;
        }
        let changes = crate::diff::diff(&self.expected, &self.actual);
        write!(f, "\n{}", crate::diff::display(&changes))
    }
}

/// Why a replay did not reach the end of its journal.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReplayError {
    /// The journal is damaged.
    #[error("entry {index} of the journal is damaged: {why}")]
    Corrupt {
        /// The entry.
        index: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The journal has a format version that this release doesn't know.
    #[error("entry {index} of the journal has format version {found}, which this release does not read")]
    Version {
        /// The entry.
        index: u64,
        /// The version found.
        found: u64,
    },
    /// Program and journal disagree.
    #[error("{0}")]
    Drift(Box<Drift>),
    /// The program can't be run at all.
    #[error("the program can't be run: {0}")]
    Program(Failure),
}

impl ReplayError {
    pub(crate) fn plan(started: &RunStarted, plan: Hash, workflow: &WorkflowVersion) -> Self {
        Self::Drift(Box::new(Drift {
            class: DriftClass::Plan,
            effect: None,
            index: 0,
            expected: serde_json::json!({"plan": started.plan, "workflow": started.workflow}),
            actual: serde_json::json!({"plan": plan, "workflow": workflow}),
        }))
    }

    /// Index of the journal entry, when there is one.
    pub fn index(&self) -> Option<u64> {
        match self {
            Self::Corrupt { index, .. } | Self::Version { index, .. } => Some(*index),
            Self::Drift(drift) => Some(drift.index),
            Self::Program(_) => None,
        }
    }
}

impl From<ReplayError> for Failure {
    fn from(error: ReplayError) -> Self {
        let code = match &error {
            ReplayError::Corrupt { .. } => codes::JOURNAL_CORRUPT,
            ReplayError::Version { .. } => codes::JOURNAL_VERSION,
            ReplayError::Drift(drift) => {
                let details = serde_json::to_value(drift).unwrap_or_default();
                return Self::new(codes::DRIFT, error.to_string()).details(details);
            }
            ReplayError::Program(failure) => return failure.clone(),
        };
        Self::new(code, error.to_string())
    }
}
