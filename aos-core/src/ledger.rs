//! The contract of a store that keeps the account of model calls: one record per call of a provider, and the budgets that
//! calls are held to.
//!
//! A call is reserved before it is made, at the most that it can cost, and settled after it. What is not known is kept as
//! a range, never as nothing: a call whose outcome nobody knows may have cost anything up to what was reserved, and keeps
//! counting at that.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;

use crate::BoxFuture;
use crate::canonical::Hash;
use crate::error::{Failure, codes};
use crate::id::{ApiKeyId, CallId, EffectId, RunId, TenantId, WorkflowId};
use crate::llm::{Sent, Usage};
use crate::money::Money;
use crate::runs::StoreError;
use crate::time::{Day, Timestamp};

/// The most that a ledger keeps as one amount: about 9.2 million dollars. More is kept as this.
pub const MOST: Money = Money::from_picodollars(i64::MAX as u64);

/// A call that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCall {
    /// On whose behalf.
    pub tenant: TenantId,
    /// Its name: another one for every call, also for one that is made again after a crash.
    pub call: CallId,
    /// The run that asks; `None` outside of runs.
    pub run: Option<RunId>,
    /// The run's workflow.
    pub workflow: Option<WorkflowId>,
    /// The effect that asks.
    pub effect: Option<EffectId>,
    /// The effect's attempt, from 1.
    pub attempt: u32,
    /// Which call of the attempt it is, from 0: one that fails may be made to another model or adapter instead.
    pub fallback: u32,
    /// The adapter that makes it.
    pub adapter: String,
    /// The model that is asked for.
    pub model: String,
    /// The API key that the caller showed.
    pub api_key: Option<ApiKeyId>,
    /// Hash of the request.
    pub request: Hash,
    /// The most it can cost; `None` when there is no price for the model.
    pub bound: Option<Money>,
    /// The [price book](crate::llm::PriceBook) it is priced by.
    pub book: Option<Hash>,
    /// How long it may stay open; after that its process counts as dead, and its outcome as unknown.
    pub patience: Duration,
    /// Whether the answer is there already, from a cache: the call costs nothing, is held to no budget, and is not
    /// settled.
    pub cached: bool,
}

/// What is known of a call once it has ended, or was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// How far it got.
    pub sent: Sent,
    /// The model that answered, in the provider's words.
    pub model: Option<String>,
    /// The provider's name of the request.
    pub request_id: Option<String>,
    /// What it used, as far as that is known.
    pub usage: Option<Usage>,
    /// Of an answered call, what it cost; `None` when there is no price. Of one whose outcome is not known, what it has
    /// cost at least. Of others it does not count.
    pub cost: Option<Money>,
}

impl Settlement {
    /// A call of which only this much is known.
    pub const fn new(sent: Sent) -> Self {
        Self { sent, model: None, request_id: None, usage: None, cost: None }
    }

    /// What a call has cost at least and at most, by what is known of it; `bound` is what was reserved. For stores.
    pub fn range(&self, bound: Option<Money>) -> (Money, Option<Money>) {
        let known = self.cost.map(|cost| cost.min(MOST));
        match self.sent {
            Sent::No | Sent::Refused => (Money::ZERO, Some(Money::ZERO)),
            Sent::Unknown => {
                let least = known.unwrap_or_default();
                (least, bound.map(|bound| bound.max(least)))
            }
            Sent::Answered => (known.unwrap_or_default(), known),
        }
    }
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// It is under way.
    Open,
    /// It was answered.
    Settled,
    /// Nobody knows how it ended.
    Unknown,
    /// The provider refused it: it cost nothing.
    Refused,
    /// It was never sent: it cost nothing.
    NotSent,
    /// The answer came from a cache: it cost nothing.
    Cached,
}

impl CallState {
    /// Every state.
    pub const ALL: [Self; 6] = [Self::Open, Self::Settled, Self::Unknown, Self::Refused, Self::NotSent, Self::Cached];

    /// The state as wire text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Settled => "settled",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
            Self::NotSent => "not_sent",
            Self::Cached => "cached",
        }
    }

    /// The state of a wire text.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether what is learned now still changes it.
    pub const fn can_be_settled(self) -> bool {
        matches!(self, Self::Open | Self::Unknown)
    }
}

impl From<Sent> for CallState {
    fn from(sent: Sent) -> Self {
        match sent {
            Sent::No => Self::NotSent,
            Sent::Refused => Self::Refused,
            Sent::Unknown => Self::Unknown,
            Sent::Answered => Self::Settled,
        }
    }
}

/// A call as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// What was about to be called. Its `patience` is what it was when the call was reserved.
    pub new: NewCall,
    /// When it was reserved, by the store's clock.
    pub at: Timestamp,
    /// Where it stands.
    pub state: CallState,
    /// When it was settled last, or judged unknown.
    pub settled_at: Option<Timestamp>,
    /// The model that answered.
    pub model: Option<String>,
    /// The provider's name of the request.
    pub request_id: Option<String>,
    /// What it used.
    pub usage: Option<Usage>,
    /// What it has cost at least.
    pub cost_min: Money,
    /// What it has cost at most; `None` when there is no price.
    pub cost_max: Option<Money>,
}

impl CallRecord {
    /// The record of a call that is reserved at this moment. For stores.
    pub fn open(new: &NewCall, at: Timestamp) -> Self {
        let bound = new.bound.map(|bound| bound.min(MOST));
        Self {
            new: NewCall { bound, ..new.clone() },
            at,
            state: if new.cached { CallState::Cached } else { CallState::Open },
            settled_at: None,
            model: None,
            request_id: None,
            usage: None,
            cost_min: Money::ZERO,
            cost_max: if new.cached { Some(Money::ZERO) } else { bound },
        }
    }

    /// What it counts in budgets: the most that it can have cost.
    pub fn counts(&self) -> Money {
        self.cost_max.or(self.new.bound).unwrap_or_default()
    }
}

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

/// Keeps the account.
///
/// # Contract
/// - `reserve` writes an open record, durable when it resolves with [`Reserved::Booked`], if every budget whose scope the
///   call is in has room for its bound; of those that have none it gives the first by scope and period, and then it has
///   written nothing. However many processes reserve at the same time, what is reserved and spent under a budget never
///   passes its limit by a reservation.
/// - Reserving the same call again changes nothing and is `Booked`: whoever is in doubt may ask again.
/// - `settle` puts what is known in place of what was reserved, durable when it resolves. It changes open records, and
///   those whose outcome was unknown: what is learned late counts. Of others, and of calls that were never reserved, it
///   changes nothing and is `Ok`.
/// - A call counts in budgets at the most that it can have cost ([`CallRecord::counts`]), on the day on which it was
///   reserved, open or not.
/// - `sweep` judges at most `max` records unknown that have been open for longer than their patience, of any tenant; they
///   keep counting at their bound. It gives how many they were.
/// - `set_budget` sets, changes or lifts a limit and says whether there was one. Calls of the period that were made before
///   count as well. A limit below what is spent refuses all that costs anything.
/// - `costs` gives the dearest line first, by what it cost at most, then by key; by days, the first day first.
/// - `calls` gives the newest first.
/// - All times are the store's clock's. Texts come back as they were given, but U+0000 in one may come back as U+FFFD.
///   Amounts beyond [`MOST`] come back as that, and so do sums; counts of tokens beyond 2^53 - 1 may come back as that.
/// - Nothing of one tenant is visible to, or changed by, a call for another; `sweep` is for hosts, which work for all.
pub trait LedgerStore: Send + Sync {
    /// Writes down a call that is about to be made, if budgets allow it.
    fn reserve<'a>(&'a self, call: &'a NewCall) -> BoxFuture<'a, Result<Reserved, StoreError>>;

    /// Says how a call ended.
    fn settle<'a>(
        &'a self,
        tenant: &'a TenantId,
        call: &'a CallId,
        settlement: &'a Settlement,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Judges what a dead process has left open; gives how many records those were.
    fn sweep(&self, max: usize) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Sets a budget; `None` lifts it. Says whether there was one.
    fn set_budget<'a>(
        &'a self,
        tenant: &'a TenantId,
        scope: &'a Scope,
        period: Period,
        limit: Option<Money>,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// The budgets that are set, by scope and period as text, with what is used of them.
    fn budgets<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<BudgetUse>, StoreError>>;

    /// Sums up.
    fn costs<'a>(&'a self, query: &'a CostQuery) -> BoxFuture<'a, Result<Vec<CostLine>, StoreError>>;

    /// The last `limit` calls, of one run or of all.
    fn calls<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: Option<&'a RunId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<CallRecord>, StoreError>>;
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
    fn what_is_known_bounds_the_cost() {
        let cents = Money::from_cents;
        for (sent, cost, bound, expected) in [
            (Sent::Answered, Some(cents(2)), Some(cents(9)), (cents(2), Some(cents(2)))),
            (Sent::Answered, Some(cents(10)), Some(cents(9)), (cents(10), Some(cents(10)))),
            (Sent::Answered, None, Some(cents(9)), (cents(0), None)),
            (Sent::Answered, Some(Money::MAX), None, (MOST, Some(MOST))),
            (Sent::Unknown, None, Some(cents(9)), (cents(0), Some(cents(9)))),
            (Sent::Unknown, Some(cents(2)), Some(cents(9)), (cents(2), Some(cents(9)))),
            (Sent::Unknown, Some(cents(10)), Some(cents(9)), (cents(10), Some(cents(10)))),
            (Sent::Unknown, Some(cents(2)), None, (cents(2), None)),
            (Sent::Refused, Some(cents(2)), Some(cents(9)), (cents(0), Some(cents(0)))),
            (Sent::No, None, None, (cents(0), Some(cents(0)))),
        ] {
            let settlement = Settlement { cost, ..Settlement::new(sent) };
            assert_eq!(settlement.range(bound), expected, "{sent} {cost:?} {bound:?}");
        }
    }

    #[test]
    fn states_and_choices_keep_their_word() {
        assert!(CallState::ALL.into_iter().all(|state| CallState::from_text(state.as_str()) == Some(state)));
        assert!(CostBy::ALL.into_iter().all(|by| CostBy::from_text(by.as_str()) == Some(by)));
        assert!(Period::ALL.into_iter().all(|period| Period::from_text(period.as_str()) == Some(period)));
    }
}
