//! The contract of [`LedgerStore`].

mod budgets;
mod calls;
mod costs;

pub use budgets::*;
pub use calls::*;
pub use costs::*;

use aos_core::canonical::Hash;
use aos_core::id::{ApiKeyId, CallId, EffectId, WorkflowId};
use aos_core::ledger::{BudgetUse, CallRecord, LedgerStore, NewCall, Period, Reserved, Settlement};
use aos_core::llm::{Sent, Usage};
use aos_core::money::Money;

use super::fixture::{LONG, NASTY, run, tenant};

fn id(text: &str) -> CallId {
    CallId::new(text).expect("a valid id")
}

fn workflow(text: &str) -> WorkflowId {
    WorkflowId::new(text).expect("a valid id")
}

const fn cents(cents: u64) -> Money {
    Money::from_cents(cents)
}

/// A call of nobody's run that may cost ten cents.
fn call(text: &str) -> NewCall {
    NewCall {
        tenant: tenant(),
        call: id(text),
        run: None,
        workflow: None,
        effect: None,
        attempt: 1,
        fallback: 0,
        adapter: "claude".into(),
        model: "m".into(),
        api_key: None,
        request: Hash::of("request"),
        bound: Some(cents(10)),
        book: Some(Hash::of("book")),
        patience: LONG,
        cached: false,
    }
}

fn in_workflow(text: &str, of: &str) -> NewCall {
    NewCall { workflow: Some(workflow(of)), ..call(text) }
}

/// A call of which everything is known.
fn whole(text: &str) -> NewCall {
    NewCall {
        run: Some(run("r.1")),
        workflow: Some(workflow("flow")),
        effect: Some(EffectId::new("ask[3]").expect("a valid id")),
        attempt: 7,
        fallback: 2,
        adapter: NASTY.into(),
        model: NASTY.into(),
        api_key: Some(ApiKeyId::new("key-1").expect("a valid id")),
        ..call(text)
    }
}

fn usage() -> Usage {
    Usage { input_tokens: 1, output_tokens: 2, cache_read_tokens: 3, cache_write_tokens: 5, cache_write_1h_tokens: 4 }
}

fn answered(cost: Option<Money>) -> Settlement {
    Settlement { model: Some("m-1".into()), usage: Some(usage()), cost, ..Settlement::new(Sent::Answered) }
}

async fn book(store: &dyn LedgerStore, call: &NewCall) {
    assert_eq!(store.reserve(call).await.unwrap(), Reserved::Booked, "{call:?}");
}

async fn settle(store: &dyn LedgerStore, text: &str, settlement: &Settlement) {
    store.settle(&tenant(), &id(text), settlement).await.unwrap();
}

/// The budget that refuses a call.
async fn refused(store: &dyn LedgerStore, call: &NewCall) -> BudgetUse {
    match store.reserve(call).await.unwrap() {
        Reserved::Refused(budget) => *budget,
        Reserved::Booked => panic!("{call:?} was booked"),
    }
}

async fn calls(store: &dyn LedgerStore) -> Vec<CallRecord> {
    store.calls(&tenant(), None, 100).await.unwrap()
}

async fn only(store: &dyn LedgerStore) -> CallRecord {
    let mut calls = calls(store).await;
    assert_eq!(calls.len(), 1, "{calls:?}");
    calls.remove(0)
}

async fn limit(store: &dyn LedgerStore, scope: &str, period: Period, limit: Money) -> bool {
    store.set_budget(&tenant(), &scope.parse().expect("a valid scope"), period, Some(limit)).await.unwrap()
}

/// What is spent and reserved of the only budget.
async fn used(store: &dyn LedgerStore) -> (Money, Money) {
    let budgets = store.budgets(&tenant()).await.unwrap();
    assert_eq!(budgets.len(), 1, "{budgets:?}");
    (budgets[0].spent, budgets[0].reserved)
}
