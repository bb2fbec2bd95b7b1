//! What calls cost, summed up.

use serde::{Deserialize, Serialize};

use crate::id::{RunId, TenantId, WorkflowId};
use crate::llm::Usage;
use crate::money::Money;
use crate::time::Timestamp;

/// By what costs are summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostBy {
    /// The model that answered; the one asked for where none did.
    Model,
    /// The workflow.
    Workflow,
    /// The day on which the call was reserved, UTC.
    Day,
    /// The run.
    Run,
    /// The effect, in whatever run.
    Effect,
    /// The effect and its attempt: `effect#2`.
    Attempt,
    /// The adapter.
    Adapter,
    /// The API key.
    Key,
}

impl CostBy {
    /// Every one.
    pub const ALL: [Self; 8] =
        [Self::Model, Self::Workflow, Self::Day, Self::Run, Self::Effect, Self::Attempt, Self::Adapter, Self::Key];

    /// The choice as wire text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Workflow => "workflow",
            Self::Day => "day",
            Self::Run => "run",
            Self::Effect => "effect",
            Self::Attempt => "attempt",
            Self::Adapter => "adapter",
            Self::Key => "key",
        }
    }

    /// The choice of a wire text.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.as_str() == text)
    }
}

/// Which costs are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostQuery {
    /// Whose.
    pub tenant: TenantId,
    /// By what they are summed up.
    pub by: CostBy,
    /// Only calls reserved at this time or later.
    pub since: Option<Timestamp>,
    /// Only calls reserved before this time.
    pub until: Option<Timestamp>,
    /// Only calls of this run.
    pub run: Option<RunId>,
    /// Only calls of this workflow's runs.
    pub workflow: Option<WorkflowId>,
    /// At most so many lines.
    pub limit: usize,
}

impl CostQuery {
    /// All costs of a tenant, in at most 1,000 lines.
    pub const fn new(tenant: TenantId, by: CostBy) -> Self {
        Self { tenant, by, since: None, until: None, run: None, workflow: None, limit: 1_000 }
    }
}

/// The costs of the calls that have something in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CostLine {
    /// What they have in common; `None` for those that have no such thing, a call outside of runs say.
    pub key: Option<String>,
    /// How many they are.
    pub calls: u64,
    /// How many of them may yet turn out to have cost something else: those that are open, or whose outcome is unknown.
    pub uncertain: u64,
    /// How many of them have no price, and are in neither amount.
    pub unpriced: u64,
    /// What they used, as far as that is known.
    pub usage: Usage,
    /// What they have cost at least.
    pub cost_min: Money,
    /// What they have cost at most.
    pub cost_max: Money,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_keep_their_word() {
        assert!(CostBy::ALL.into_iter().all(|by| CostBy::from_text(by.as_str()) == Some(by)));
    }
}
