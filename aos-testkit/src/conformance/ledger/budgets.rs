//! Budgets, and who is refused.

use std::time::Duration;

use aos_core::id::ApiKeyId;
use aos_core::ledger::{CallState, MOST, NewCall, Period, Reserved, Scope, Settlement};
use aos_core::llm::Sent;
use aos_core::money::Money;

use super::{answered, book, call, calls, cents, id, in_workflow, limit, only, refused, settle, used, workflow};
use crate::conformance::fixture::{race, tenant};
use crate::conformance::{Backend, Outcome};

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
