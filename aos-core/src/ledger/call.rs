//! Calls of models, and what is known of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::MOST;
use crate::canonical::Hash;
use crate::id::{ApiKeyId, CallId, EffectId, RunId, TenantId, WorkflowId};
use crate::llm::{Sent, Usage};
use crate::money::Money;
use crate::time::Timestamp;

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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn states_keep_their_word() {
        assert!(CallState::ALL.into_iter().all(|state| CallState::from_text(state.as_str()) == Some(state)));
    }
}
