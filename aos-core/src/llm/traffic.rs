//! The calls of models that a journal holds, to be priced again.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::price::{PriceBook, PriceRef};
use super::response::Usage;
use crate::event::{Event, Requested};
use crate::id::EffectId;
use crate::journal::Entry;
use crate::money::Money;
use crate::time::Timestamp;

/// The skill that calls models.
const SKILL: &str = "llm_invoke";

/// One attempt of an effect that asked a model and got an answer, of whatever use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// The effect.
    pub effect: EffectId,
    /// The attempt, from 1.
    pub attempt: u32,
    /// When its answer was recorded.
    pub at: Timestamp,
    /// The model that answered.
    pub model: String,
    /// What it used.
    pub usage: Usage,
    /// What it cost; `None` when nobody could tell.
    pub cost: Option<Money>,
    /// The price by which that was computed; `None` when it was not by a book: the answer of a stub, say.
    pub price: Option<PriceRef>,
}

/// What an answer, or the details of a failure, say about it.
#[derive(Deserialize)]
struct Paid {
    model: String,
    usage: Usage,
    price: Option<PriceRef>,
    cost: Option<Money>,
}

impl Traffic {
    /// The traffic of a journal, in its order.
    pub fn of(entries: &[Entry]) -> Vec<Self> {
        let mut asked: BTreeSet<&EffectId> = BTreeSet::new();
        let mut traffic = Vec::new();
        for Entry { at, event, .. } in entries {
            let (effect, attempt, paid) = match event {
                Event::EffectRequested { effect, request: Requested::Call { skill, .. } }
                    if skill.id.as_str() == SKILL =>
                {
                    asked.insert(effect);
                    continue;
                }
                Event::EffectCompleted { effect, attempt, output, .. } => (effect, attempt, paid(output.value())),
                Event::AttemptFailed { effect, attempt, failure, .. }
                | Event::EffectFailed { effect, attempt, failure } => {
                    let paid = paid(&failure.details).map(|paid| Paid {
                        // Without a price the failure has what was booked for it, which is an estimate.
                        cost: Some(failure.cost).filter(|cost| paid.price.is_some() || cost.is_zero()),
                        ..paid
                    });
                    (effect, attempt, paid)
                }
                _ => continue,
            };
            let Some(Paid { model, usage, price, cost }) = paid.filter(|_| asked.contains(effect)) else { continue };
            let (effect, attempt, at) = (effect.clone(), *attempt, *at);
            traffic.push(Self { effect, attempt, at, model, usage, cost, price });
        }
        traffic
    }

    /// What it cost by the book that it was recorded with.
    pub fn cost_as_recorded(&self, book: &PriceBook) -> Option<Money> {
        let price = self.price.as_ref()?;
        Some(book.price_as_of(&self.model, &self.usage, price.from)?.cost)
    }

    /// What it would cost by another book at the time at which it was recorded.
    pub fn cost_by(&self, book: &PriceBook) -> Option<Money> {
        Some(book.price(&self.model, &self.usage, self.at)?.cost)
    }
}

fn paid(value: &Value) -> Option<Paid> {
    Paid::deserialize(value).ok()
}
