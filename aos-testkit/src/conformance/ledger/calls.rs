//! Records of calls: reserved, settled, judged.

use aos_core::ledger::{CallRecord, CallState, CostBy, CostQuery, NewCall, Period, Scope, Settlement};
use aos_core::llm::Sent;
use aos_core::money::Money;

use super::{answered, book, call, calls, cents, id, limit, only, refused, settle, used, whole};
use crate::conformance::fixture::{LEASE, NASTY, other_tenant, readable};
use crate::conformance::{Backend, Outcome};

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
