//! The contract of [`LedgerStore`].

use std::time::Duration;

use aos_core::canonical::{Hash, MAX_SAFE_INTEGER};
use aos_core::id::{ApiKeyId, CallId, EffectId, WorkflowId};
use aos_core::ledger::{
    BudgetUse, CallRecord, CallState, CostBy, CostLine, CostQuery, LedgerStore, MOST, NewCall, Period, Reserved, Scope,
    Settlement,
};
use aos_core::llm::{Sent, Usage};
use aos_core::money::Money;
use aos_core::time::Timestamp;

use super::fixture::{LEASE, LONG, NASTY, other_tenant, race, readable, run, tenant};
use super::{Backend, Outcome};

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

/// What was reserved is read back, with a time; texts as they were, but for U+0000.
pub async fn what_was_reserved_is_read_back(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_ledger()?;
    assert_eq!(calls(&*store).await, []);
    let new = whole("c1");
    book(&*store, &new).await;
    let mut record = only(&*store).await;
    let kept = NewCall { adapter: readable(&new.adapter), model: readable(&new.model), ..new };
    (record.new.adapter, record.new.model) = (readable(&record.new.adapter), readable(&record.new.model));
    assert_eq!(record, CallRecord::open(&kept, record.at));
    assert_eq!((record.state, record.cost_min, record.cost_max), (CallState::Open, Money::ZERO, Some(cents(10))));
    let bare = NewCall { bound: None, book: None, ..call("c2") };
    book(&*store, &bare).await;
    let calls = calls(&*store).await;
    assert_eq!((calls.len(), &calls[0].new, calls[0].cost_max), (2, &bare, None), "the newest first");
    Ok(())
}

/// A settlement replaces what was reserved by what is known.
pub async fn a_settlement_says_what_is_known(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_ledger()?;
    let unknown = |cost| Settlement { cost, ..Settlement::new(Sent::Unknown) };
    for (n, (settlement, state, cost)) in [
        (answered(Some(cents(3))), CallState::Settled, (cents(3), Some(cents(3)))),
        (answered(Some(cents(30))), CallState::Settled, (cents(30), Some(cents(30)))),
        (answered(None), CallState::Settled, (cents(0), None)),
        (unknown(None), CallState::Unknown, (cents(0), Some(cents(10)))),
        (unknown(Some(cents(4))), CallState::Unknown, (cents(4), Some(cents(10)))),
        (Settlement::new(Sent::Refused), CallState::Refused, (cents(0), Some(cents(0)))),
        (Settlement::new(Sent::No), CallState::NotSent, (cents(0), Some(cents(0)))),
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("c{n}");
        book(&*store, &call(&text)).await;
        let settlement = Settlement { request_id: Some(NASTY.into()), ..settlement };
        settle(&*store, &text, &settlement).await;
        let record = calls(&*store).await.remove(0);
        assert_eq!((record.state, (record.cost_min, record.cost_max)), (state, cost), "{settlement:?}");
        assert_eq!((&record.model, record.usage), (&settlement.model, settlement.usage));
        assert_eq!(record.request_id.as_deref().map(readable), Some(readable(NASTY)));
        assert!(record.settled_at.is_some_and(|at| at >= record.at), "{record:?}");
        assert_eq!(record.new, call(&text));
    }
    Ok(())
}

/// What was settled stays; what was unknown is settled once more is known; what was never reserved is nothing.
pub async fn only_what_is_uncertain_is_settled(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_ledger()?;
    settle(&*store, "never", &answered(Some(cents(1)))).await;
    assert_eq!(calls(&*store).await, []);
    book(&*store, &call("c")).await;
    settle(&*store, "c", &Settlement::new(Sent::Unknown)).await;
    assert_eq!(only(&*store).await.state, CallState::Unknown);
    settle(&*store, "c", &answered(Some(cents(3)))).await;
    let record = only(&*store).await;
    assert_eq!((record.state, record.cost_max), (CallState::Settled, Some(cents(3))));
    for late in [answered(Some(cents(5))), Settlement::new(Sent::Unknown), Settlement::new(Sent::No)] {
        settle(&*store, "c", &late).await;
        assert_eq!(only(&*store).await, record, "{late:?}");
    }
    Ok(())
}

/// Reserving a call again changes nothing, whatever has become of it, and whether or not there is room for another.
pub async fn reserving_again_changes_nothing(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_ledger()?;
    limit(&*store, "tenant", Period::Day, cents(10)).await;
    book(&*store, &call("c")).await;
    book(&*store, &call("c")).await;
    assert_eq!((only(&*store).await.state, used(&*store).await), (CallState::Open, (cents(0), cents(10))));
    settle(&*store, "c", &answered(Some(cents(9)))).await;
    book(&*store, &call("c")).await;
    assert_eq!((only(&*store).await.state, used(&*store).await), (CallState::Settled, (cents(9), cents(0))));
    Ok(())
}

/// An answer from a cache costs nothing, is held to no budget, and stays as it is.
pub async fn a_cached_answer_costs_nothing(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_ledger()?;
    limit(&*store, "tenant", Period::Total, Money::ZERO).await;
    book(&*store, &NewCall { cached: true, bound: None, ..call("c") }).await;
    settle(&*store, "c", &answered(Some(cents(5)))).await;
    let record = only(&*store).await;
    assert_eq!((record.state, record.cost_min, record.cost_max), (CallState::Cached, Money::ZERO, Some(Money::ZERO)));
    assert!(record.new.cached);
    assert_eq!(used(&*store).await, (Money::ZERO, Money::ZERO));
    Ok(())
}

/// A call is refused, with the budget's name and state, when its bound has no room; what is settled makes room.
pub async fn a_budget_refuses_what_has_no_room(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_ledger()?;
    assert!(!limit(&*store, "tenant", Period::Day, cents(25)).await);
    book(&*store, &call("a")).await;
    book(&*store, &call("b")).await;
    settle(&*store, "a", &answered(Some(cents(8)))).await;
    let budget = refused(&*store, &call("c")).await;
    assert_eq!((budget.scope, budget.period, budget.limit), (Scope::Tenant, Period::Day, cents(25)));
    assert_eq!((budget.spent, budget.reserved), (cents(8), cents(10)));
    let at = calls(&*store).await[0].at;
    assert_eq!(budget.resets_at, Some(at.day().next().start()));
    assert_eq!(calls(&*store).await.len(), 2, "what is refused is not written");
    book(&*store, &NewCall { bound: Some(cents(7)), ..call("d") }).await;
    assert_eq!(used(&*store).await, (cents(8), cents(17)));
    for (text, settlement, expected) in [
        ("b", Settlement::new(Sent::Refused), (cents(8), cents(7))),
        ("d", Settlement::new(Sent::Unknown), (cents(15), cents(0))),
        // There is no price for the answer: it counts as what was reserved.
        ("e", answered(None), (cents(25), cents(0))),
    ] {
        if text == "e" {
            book(&*store, &call(text)).await;
        }
        settle(&*store, text, &settlement).await;
        assert_eq!(used(&*store).await, expected, "{text}");
    }
    settle(&*store, "d", &answered(Some(cents(70)))).await;
    assert_eq!(used(&*store).await, (cents(88), cents(0)), "an answer that is dearer than its bound counts whole");
    refused(&*store, &NewCall { bound: Some(Money::ZERO), ..call("f") }).await;
    Ok(())
}

/// A call without a price is refused by any budget it is in, and by no other.
pub async fn a_call_without_a_price_has_no_room(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_ledger()?;
    let unpriced = |text, of| NewCall { bound: None, ..in_workflow(text, of) };
    limit(&*store, "workflow:a", Period::Total, MOST).await;
    assert_eq!(refused(&*store, &unpriced("c1", "a")).await.scope, Scope::Workflow(workflow("a")));
    book(&*store, &unpriced("c2", "b")).await;
    settle(&*store, "c2", &answered(None)).await;
    assert_eq!(only(&*store).await.cost_max, None);
    Ok(())
}

/// Each budget counts the calls in its scope; the first that has no room is named, and the others keep nothing.
pub async fn budgets_count_what_is_in_their_scope(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_ledger()?;
    let key = |text| Some(ApiKeyId::new(text).expect("a valid id"));
    limit(&*store, "workflow:a", Period::Day, cents(30)).await;
    limit(&*store, "key:k", Period::Total, cents(20)).await;
    limit(&*store, "tenant", Period::Total, cents(1_000)).await;
    book(&*store, &in_workflow("c1", "a")).await;
    book(&*store, &in_workflow("c2", "b")).await;
    book(&*store, &NewCall { api_key: key("k"), ..in_workflow("c3", "a") }).await;
    book(&*store, &NewCall { api_key: key("k"), ..call("c4") }).await;
    book(&*store, &NewCall { api_key: key("other"), ..call("c5") }).await;
    let both = refused(&*store, &NewCall { api_key: key("k"), ..in_workflow("c6", "a") }).await;
    assert_eq!(both.scope.to_string(), "key:k");
    book(&*store, &in_workflow("c7", "a")).await;
    assert_eq!(refused(&*store, &in_workflow("c8", "a")).await.scope.to_string(), "workflow:a");
    let budgets = store.budgets(&tenant()).await.unwrap();
    let used: Vec<_> = budgets.iter().map(|b| (b.scope.to_string(), b.period, b.limit, b.reserved)).collect();
    let expected =
        [("key:k", Period::Total, 20, 20), ("tenant", Period::Total, 1_000, 60), ("workflow:a", Period::Day, 30, 30)]
            .map(|(scope, period, limit, reserved)| (scope.to_owned(), period, cents(limit), cents(reserved)));
    assert_eq!(used, expected);
    assert_eq!(budgets[1].resets_at, None);
    Ok(())
}

/// A budget that is set counts what there was before, open or not; lifted, it refuses nothing more.
pub async fn a_budget_counts_what_was_before_it(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_ledger()?;
    for text in ["a", "b", "c"] {
        book(&*store, &in_workflow(text, "w")).await;
    }
    settle(&*store, "a", &answered(Some(cents(4)))).await;
    settle(&*store, "b", &Settlement::new(Sent::Unknown)).await;
    for (n, (scope, period)) in
        [("tenant", Period::Day), ("tenant", Period::Total), ("workflow:w", Period::Day)].into_iter().enumerate()
    {
        let next = format!("d{n}");
        assert!(!limit(&*store, scope, period, cents(20)).await);
        assert_eq!(used(&*store).await, (cents(14), cents(10)), "{scope} {period:?}");
        refused(&*store, &in_workflow(&next, "w")).await;
        assert!(limit(&*store, scope, period, cents(34)).await, "it was set before");
        book(&*store, &in_workflow(&next, "w")).await;
        assert_eq!(used(&*store).await, (cents(14), cents(20)), "{scope} {period:?}");
        settle(&*store, &next, &Settlement::new(Sent::No)).await;
        let scope: Scope = scope.parse().expect("a valid scope");
        assert!(store.set_budget(&tenant(), &scope, period, None).await.unwrap());
        assert!(!store.set_budget(&tenant(), &scope, period, None).await.unwrap());
    }
    book(&*store, &NewCall { bound: Some(MOST), ..in_workflow("e", "w") }).await;
    Ok(())
}

/// With the day a daily budget begins anew; a call that ends after it counts on the day on which it began.
pub async fn a_daily_budget_begins_anew(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_ledger()?;
    limit(&*store, "tenant", Period::Day, cents(10)).await;
    limit(&*store, "key:k", Period::Total, cents(10)).await;
    let call = |text| NewCall { api_key: ApiKeyId::new("k").ok(), ..call(text) };
    book(&*store, &call("a")).await;
    assert_eq!(refused(&*store, &call("b")).await.scope.to_string(), "key:k");
    roles.pass(Duration::from_secs(86_400)).await?;
    let (total, day) = (0, 1);
    let budgets = store.budgets(&tenant()).await.unwrap();
    assert_eq!((budgets[total].reserved, budgets[day].reserved), (cents(10), cents(0)));
    settle(&*store, "a", &answered(Some(cents(1)))).await;
    let budgets = store.budgets(&tenant()).await.unwrap();
    assert_eq!((budgets[total].spent, budgets[total].reserved), (cents(1), cents(0)));
    assert_eq!((budgets[day].spent, budgets[day].reserved), (cents(0), cents(0)));
    book(&*store, &NewCall { bound: Some(cents(9)), ..call("c") }).await;
    let budgets = store.budgets(&tenant()).await.unwrap();
    assert_eq!((budgets[total].reserved, budgets[day].reserved), (cents(9), cents(9)));
    Ok(())
}

/// What is open beyond its patience becomes unknown, keeps counting, and can still be settled.
pub async fn a_sweep_judges_what_was_left_open(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_ledger()?;
    limit(&*store, "tenant", Period::Total, cents(40)).await;
    for text in ["a", "b", "c"] {
        book(&*store, &NewCall { patience: LEASE, ..call(text) }).await;
    }
    book(&*store, &call("d")).await;
    settle(&*store, "a", &answered(Some(cents(1)))).await;
    assert_eq!(store.sweep(10).await.unwrap(), 0);
    roles.pass(LEASE * 2).await?;
    assert_eq!(store.sweep(1).await.unwrap(), 1);
    assert_eq!(store.sweep(10).await.unwrap(), 1);
    assert_eq!(store.sweep(10).await.unwrap(), 0);
    assert_eq!(used(&*store).await, (cents(21), cents(10)));
    let states: Vec<_> = calls(&*store).await.iter().map(|call| (call.state, call.cost_max)).collect();
    let unknown = (CallState::Unknown, Some(cents(10)));
    assert_eq!(states, [(CallState::Open, Some(cents(10))), unknown, unknown, (CallState::Settled, Some(cents(1)))]);
    assert!(calls(&*store).await[1].settled_at.is_some());
    settle(&*store, "b", &answered(Some(cents(2)))).await;
    assert_eq!(used(&*store).await, (cents(13), cents(10)));
    Ok(())
}

/// However many reserve at once, a budget is never passed, and what is not used is there for others.
pub async fn racing_reservations_keep_a_budget(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let (store, again) = (roles.need_ledger()?, roles.again().await?);
    let again = again.need_ledger()?;
    limit(&*store, "tenant", Period::Total, cents(50)).await;
    limit(&*store, "workflow:w", Period::Day, cents(70)).await;
    let booked = race(backend, 16, |racer| {
        let store = if racer % 2 == 0 { store.clone() } else { again.clone() };
        Box::pin(async move {
            let mut booked = 0_u64;
            for n in 0..4 {
                let text = format!("c-{racer}-{n}");
                if store.reserve(&in_workflow(&text, "w")).await.unwrap() != Reserved::Booked {
                    continue;
                }
                booked += 1;
                // Of every two one gives back what it did not use.
                if n % 2 == 0 {
                    store.settle(&tenant(), &id(&text), &answered(Some(cents(1)))).await.unwrap();
                }
            }
            booked
        })
    });
    let records = calls(&*store).await;
    let booked: u64 = booked.into_iter().sum();
    assert_eq!(records.len() as u64, booked);
    let count = |state| records.iter().filter(|call| call.state == state).count() as u64;
    let (settled, open) = (count(CallState::Settled), count(CallState::Open));
    let (spent, reserved) = (cents(settled), cents(10 * open));
    assert!(booked >= 5 && spent.saturating_add(reserved) <= cents(50), "{settled} settled, {open} open");
    for budget in store.budgets(&tenant()).await.unwrap() {
        assert_eq!((budget.spent, budget.reserved), (spent, reserved), "{budget:?}");
    }
    Ok(())
}

/// A budget that is set while calls are made counts each of them.
pub async fn a_budget_set_amid_calls_counts_them_all(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let (store, again) = (roles.need_ledger()?, roles.again().await?);
    let again = again.need_ledger()?;
    race(backend, 9, |racer| {
        let store = if racer % 2 == 0 { store.clone() } else { again.clone() };
        Box::pin(async move {
            if racer == 0 {
                limit(&*store, "tenant", Period::Day, cents(10_000)).await;
            }
            for n in 0..6 {
                let text = format!("c-{racer}-{n}");
                book(&*store, &call(&text)).await;
                if n % 2 == 0 {
                    settle(&*store, &text, &answered(Some(cents(3)))).await;
                }
            }
        })
    });
    assert_eq!(used(&*store).await, (cents(9 * 3 * 3), cents(9 * 3 * 10)));
    Ok(())
}

/// What is summed up, by everything that calls have in common.
pub async fn costs_are_summed_up(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_ledger()?;
    let of = |text: &str, of_run: &str, of_workflow: &str, effect: &str, attempt, model: &str| NewCall {
        run: Some(run(of_run)),
        effect: EffectId::new(effect).ok(),
        attempt,
        model: model.into(),
        ..in_workflow(text, of_workflow)
    };
    for (new, settlement) in [
        (of("c1", "r1", "a", "x", 1, "m"), Some(answered(Some(cents(3))))),
        (of("c2", "r1", "a", "x", 2, "m"), Some(Settlement::new(Sent::Unknown))),
        (of("c3", "r2", "a", "y", 1, "n"), Some(Settlement::new(Sent::Refused))),
        (of("c4", "r3", "b", "x", 1, "n"), None),
        (NewCall { bound: None, adapter: "other".into(), ..call("c5") }, Some(answered(None))),
        (NewCall { api_key: ApiKeyId::new("k").ok(), cached: true, ..call("c6") }, None),
    ] {
        book(&*store, &new).await;
        if let Some(settlement) = settlement {
            settle(&*store, new.call.as_str(), &settlement).await;
        }
    }
    let day = calls(&*store).await[0].at.day().to_string();
    type Line<'a> = (Option<&'a str>, u64, u64, u64, u64, u64);
    let table: [(CostBy, &[Line<'_>]); 8] = [
        (CostBy::Model, &[(Some("m"), 2, 1, 0, 0, 10), (Some("n"), 2, 1, 0, 0, 10), (Some("m-1"), 2, 0, 1, 3, 3)]),
        (CostBy::Workflow, &[(Some("a"), 3, 1, 0, 3, 13), (Some("b"), 1, 1, 0, 0, 10), (None, 2, 0, 1, 0, 0)]),
        (CostBy::Day, &[(Some(day.as_str()), 6, 2, 1, 3, 23)]),
        (
            CostBy::Run,
            &[
                (Some("r1"), 2, 1, 0, 3, 13),
                (Some("r3"), 1, 1, 0, 0, 10),
                (None, 2, 0, 1, 0, 0),
                (Some("r2"), 1, 0, 0, 0, 0),
            ],
        ),
        (CostBy::Effect, &[(Some("x"), 3, 2, 0, 3, 23), (None, 2, 0, 1, 0, 0), (Some("y"), 1, 0, 0, 0, 0)]),
        (
            CostBy::Attempt,
            &[
                (Some("x#1"), 2, 1, 0, 3, 13),
                (Some("x#2"), 1, 1, 0, 0, 10),
                (None, 2, 0, 1, 0, 0),
                (Some("y#1"), 1, 0, 0, 0, 0),
            ],
        ),
        (CostBy::Adapter, &[(Some("claude"), 5, 2, 0, 3, 23), (Some("other"), 1, 0, 1, 0, 0)]),
        (CostBy::Key, &[(None, 5, 2, 1, 3, 23), (Some("k"), 1, 0, 0, 0, 0)]),
    ];
    for (by, expected) in table {
        let lines = store.costs(&CostQuery::new(tenant(), by)).await.unwrap();
        let lines: Vec<_> = lines.iter().map(shown).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(key, calls, uncertain, unpriced, min, max)| {
                (key.map(str::to_owned), *calls, *uncertain, *unpriced, cents(*min), cents(*max))
            })
            .collect();
        assert_eq!(lines, expected, "{by:?}");
    }
    Ok(())
}

type Shown = (Option<String>, u64, u64, u64, Money, Money);

fn shown(line: &CostLine) -> Shown {
    (line.key.clone(), line.calls, line.uncertain, line.unpriced, line.cost_min, line.cost_max)
}

/// By model, the one that answered counts; usage is summed up; filters and the limit leave out what they should.
pub async fn costs_are_filtered(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_ledger()?;
    for (text, of, model, cost) in [("c1", "a", "m", 1), ("c2", "a", "m", 2), ("c3", "b", "m", 4)] {
        book(&*store, &NewCall { run: Some(run(text)), model: model.into(), ..in_workflow(text, of) }).await;
        settle(&*store, text, &answered(Some(cents(cost)))).await;
        roles.pass(Duration::from_secs(86_400)).await?;
    }
    let records = calls(&*store).await;
    let [third, second, first] = &records[..] else { panic!("{records:?}") };
    let all = CostQuery::new(tenant(), CostBy::Model);
    let times = |tokens: Usage, n| Usage {
        input_tokens: tokens.input_tokens * n,
        output_tokens: tokens.output_tokens * n,
        cache_read_tokens: tokens.cache_read_tokens * n,
        cache_write_tokens: tokens.cache_write_tokens * n,
        cache_write_1h_tokens: tokens.cache_write_1h_tokens * n,
    };
    for (query, calls, cost) in [
        (all.clone(), 3, 7),
        (CostQuery { since: Some(second.at), ..all.clone() }, 2, 6),
        (CostQuery { until: Some(second.at), ..all.clone() }, 1, 1),
        (CostQuery { since: Some(first.at), until: Some(third.at), ..all.clone() }, 2, 3),
        (CostQuery { run: Some(run("c2")), ..all.clone() }, 1, 2),
        (CostQuery { workflow: Some(workflow("a")), ..all.clone() }, 2, 3),
    ] {
        let lines = store.costs(&query).await.unwrap();
        let expected = CostLine {
            key: Some("m-1".into()),
            calls,
            usage: times(usage(), calls),
            cost_min: cents(cost),
            cost_max: cents(cost),
            ..CostLine::default()
        };
        assert_eq!(lines, [expected], "{query:?}");
    }
    let none = CostQuery { since: Some(Timestamp::MAX), ..all.clone() };
    assert_eq!(store.costs(&none).await.unwrap(), []);
    let days = |limit| CostQuery { limit, ..CostQuery::new(tenant(), CostBy::Day) };
    let keys = |lines: Vec<CostLine>| lines.into_iter().filter_map(|line| line.key).collect::<Vec<_>>();
    let expected: Vec<_> = [first, second, third].map(|call| call.at.day().to_string()).into();
    assert_eq!(keys(store.costs(&days(10)).await.unwrap()), expected);
    assert_eq!(keys(store.costs(&days(2)).await.unwrap()), expected[..2]);
    assert_eq!(store.calls(&tenant(), Some(&run("c2")), 10).await.unwrap(), std::slice::from_ref(second));
    assert_eq!(store.calls(&tenant(), None, 2).await.unwrap(), records[..2]);
    Ok(())
}

/// Amounts too large to add up are kept at the most there is, and nothing fails.
pub async fn sums_saturate(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_ledger()?;
    for text in ["a", "b", "c"] {
        book(&*store, &NewCall { bound: Some(Money::MAX), ..call(text) }).await;
    }
    let huge = Usage { input_tokens: u64::MAX, ..Usage::default() };
    for text in ["a", "b"] {
        settle(&*store, text, &Settlement { usage: Some(huge), ..answered(Some(Money::MAX)) }).await;
    }
    let lines = store.costs(&CostQuery::new(tenant(), CostBy::Day)).await.unwrap();
    assert_eq!((lines[0].cost_min, lines[0].cost_max), (MOST, MOST));
    assert!(lines[0].usage.input_tokens > MAX_SAFE_INTEGER);
    limit(&*store, "tenant", Period::Total, Money::MAX).await;
    assert_eq!(used(&*store).await, (MOST, MOST));
    assert_eq!(refused(&*store, &NewCall { bound: Some(cents(1)), ..call("d") }).await.limit, MOST);
    Ok(())
}

/// Nothing of one tenant is visible to, or changed by, a call for another.
pub async fn tenants_are_apart(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_ledger()?;
    limit(&*store, "tenant", Period::Day, cents(10)).await;
    book(&*store, &call("c")).await;
    let theirs = NewCall { tenant: other_tenant(), bound: Some(cents(99)), ..call("c") };
    book(&*store, &theirs).await;
    store.settle(&other_tenant(), &id("c"), &answered(Some(cents(77)))).await.unwrap();
    assert_eq!(only(&*store).await.state, CallState::Open);
    assert_eq!(used(&*store).await, (cents(0), cents(10)));
    assert_eq!(store.budgets(&other_tenant()).await.unwrap(), []);
    assert!(!store.set_budget(&other_tenant(), &Scope::Tenant, Period::Day, None).await.unwrap());
    let lines = store.costs(&CostQuery::new(other_tenant(), CostBy::Adapter)).await.unwrap();
    assert_eq!(lines.iter().map(|line| line.cost_max).collect::<Vec<_>>(), [cents(77)]);
    assert_eq!(store.calls(&other_tenant(), None, 9).await.unwrap().len(), 1);
    Ok(())
}

/// Records and budgets are those of whoever else has the data open, too.
pub async fn is_there_for_another_process(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let (store, again) = (roles.need_ledger()?, roles.again().await?);
    let again = again.need_ledger()?;
    limit(&*store, "tenant", Period::Day, cents(10)).await;
    book(&*store, &call("c")).await;
    refused(&*again, &call("d")).await;
    settle(&*again, "c", &answered(Some(cents(2)))).await;
    assert_eq!(used(&*store).await, (cents(2), cents(0)));
    assert_eq!(calls(&*again).await, calls(&*store).await);
    Ok(())
}
