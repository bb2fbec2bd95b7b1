//! How much calls may cost.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;

use super::NewCall;
use crate::error::{Failure, codes};
use crate::id::{ApiKeyId, WorkflowId};
use crate::money::Money;
use crate::time::{Day, Timestamp};

/// Whose calls a budget is for; as text `tenant`, `workflow:<id>` or `key:<id>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All of the tenant's.
    Tenant,
    /// Those of one workflow's runs, whatever its version.
    Workflow(WorkflowId),
    /// Those that one API key asked for.
    ApiKey(ApiKeyId),
}

impl Scope {
    /// The scopes that a call is in.
    pub fn of(call: &NewCall) -> Vec<Self> {
        let workflow = call.workflow.clone().map(Self::Workflow);
        let key = call.api_key.clone().map(Self::ApiKey);
        [Some(Self::Tenant), workflow, key].into_iter().flatten().collect()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant => f.write_str("tenant"),
            Self::Workflow(id) => write!(f, "workflow:{id}"),
            Self::ApiKey(id) => write!(f, "key:{id}"),
        }
    }
}

/// Why a text is not a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not the scope of a budget: {why}")]
pub struct ScopeError {
    found: String,
    why: String,
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let error = |why: String| ScopeError { found: text.chars().take(80).collect(), why };
        match text.split_once(':') {
            None if text == "tenant" => Ok(Self::Tenant),
            Some(("workflow", id)) => id.parse().map(Self::Workflow).map_err(|e| error(format!("{e}"))),
            Some(("key", id)) => id.parse().map(Self::ApiKey).map_err(|e| error(format!("{e}"))),
            _ => Err(error("expected \"tenant\", \"workflow:<id>\" or \"key:<id>\"".into())),
        }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::deserialize(deserializer)
    }
}

/// What a budget's limit is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// Each day, UTC, by the store's clock; a call belongs to the day on which it was reserved.
    #[default]
    Day,
    /// All time.
    Total,
}

impl Period {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Day, Self::Total];

    /// The period as wire text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Total => "total",
        }
    }

    /// The period of a wire text.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.as_str() == text)
    }

    /// The day whose calls count for a limit at a time; the first one where all calls do. For stores.
    pub const fn day(self, at: Timestamp) -> Day {
        match self {
            Self::Day => at.day(),
            Self::Total => Day::from_number(0),
        }
    }

    /// When it begins anew.
    pub const fn resets_at(self, at: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Day => Some(at.day().next().start()),
            Self::Total => None,
        }
    }
}

/// A budget, and how much of it is used in the present period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BudgetUse {
    /// Whose calls it is for.
    pub scope: Scope,
    /// What the limit is for.
    pub period: Period,
    /// The most that calls may cost.
    pub limit: Money,
    /// What those that have ended count.
    pub spent: Money,
    /// What is reserved for those that are open.
    pub reserved: Money,
    /// When it begins anew; `None` when it does not.
    pub resets_at: Option<Timestamp>,
}

impl BudgetUse {
    /// What is left for new calls.
    pub fn left(&self) -> Money {
        self.limit.saturating_sub(self.spent).saturating_sub(self.reserved)
    }

    /// Whether there is no room for a call that may cost this much. A call without a price has no room anywhere: a
    /// budget that let it pass would not be one.
    pub fn refuses(&self, bound: Option<Money>) -> bool {
        let used = self.spent.saturating_add(self.reserved);
        bound.is_none_or(|bound| used.saturating_add(bound) > self.limit)
    }

    /// The failure of a call that is refused.
    pub fn exceeded(&self, call: &NewCall) -> Failure {
        let Self { scope, period, limit, spent, reserved, resets_at } = self;
        let name = match period {
            Period::Day => format!("the daily budget of {scope}"),
            Period::Total => format!("the budget of {scope}"),
        };
        let left = self.left();
        let mut message = match call.bound {
            Some(bound) => format!(
                "the call may cost up to ${bound}, and ${left} of ${limit} are left of {name} (${spent} spent, ${reserved} reserved)"
            ),
            None => format!(
                "there is no price for the model {:?}, so {name} can't be kept: add the model to the price book",
                call.model
            ),
        };
        if let Some(at) = resets_at.filter(|_| call.bound.is_some()) {
            message.push_str(&format!("; it begins anew at {at}"));
        }
        Failure::new(codes::BUDGET_EXCEEDED, message).details(json!({"budget": self, "bound": call.bound}))
    }
}

/// The answer to a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// Go ahead, and settle it.
    Booked,
    /// This budget has no room for it; nothing was written.
    Refused(Box<BudgetUse>),
}

impl Reserved {
    /// The failure of a call that was refused.
    ///
    /// # Errors
    /// [`codes::BUDGET_EXCEEDED`], naming the budget.
    pub fn check(self, call: &NewCall) -> Result<(), Failure> {
        match self {
            Self::Booked => Ok(()),
            Self::Refused(budget) => Err(budget.exceeded(call)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_round_trip() {
        for text in ["tenant", "workflow:nightly_report", "key:k-1.a"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        for text in ["", "tenants", "tenant:", "workflow", "workflow:", "workflow:A", "key:", "run:r"] {
            assert!(text.parse::<Scope>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn periods_keep_their_word() {
        assert!(Period::ALL.into_iter().all(|period| Period::from_text(period.as_str()) == Some(period)));
    }
}
