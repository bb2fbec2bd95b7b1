//! Priorities, delayed starts, limits and pauses.

use std::time::Duration;

use aos_core::event::Fork;
use aos_core::id::EffectId;
use aos_core::journal::{Line, Transition};
use aos_core::queue::{ConcurrencyLimit, Priority};
use aos_core::runs::{Created, Lease, Message, NewRun, RunState, StoreError};
use aos_core::time::Timestamp;

use crate::conformance::fixture::{
    LEASE, LONG, Runs, append, beginning, finished, first_lease, new_run, other_tenant, park, race, run, signal,
    tenant, worker,
};
use crate::conformance::{Backend, Outcome};

/// Of the runs that are ready, the most urgent are claimed first, and of these the oldest.
pub async fn the_most_urgent_is_claimed_first(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    for (id, priority) in [("e", 0), ("c", 5), ("a", 9), ("d", 5), ("b", 7)] {
        let new = NewRun { priority: Priority::new(priority).unwrap(), ..new_run(id) };
        store.runs.create(new, None).await.unwrap();
        assert_eq!(store.get(id).await.new.priority.get(), priority);
    }
    // Not ready, however urgent.
    park(&store, "parked", None, 0).await;
    let mut order = Vec::new();
    for max in [2, 100] {
        let claims = store.runs.claim(&worker("w"), max, LONG).await.unwrap();
        order.extend(claims.into_iter().map(|claim| claim.record.new.run.to_string()));
    }
    assert_eq!(order, ["a", "b", "c", "d", "e"]);
    Ok(())
}

/// A run is not claimed, nor leased at its creation, before its time.
pub async fn a_delayed_run_starts_at_its_time(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    store.leased("first").await;
    let now = store.get("first").await.created_at;
    let late = NewRun { start_at: Some(now.saturating_add(Duration::from_secs(60))), ..new_run("late") };
    let created = store.runs.create(late.clone(), Some(first_lease())).await.unwrap();
    let Created::New(record, None) = created else { panic!("leased before its time: {created:?}") };
    assert_eq!((record.state, record.new.start_at), (RunState::Queued, late.start_at));
    assert_eq!(store.get("late").await, record);
    assert_eq!(store.claim_one("w").await, None);
    store.roles.pass(Duration::from_secs(61)).await?;
    assert_eq!(store.claim_one("w").await.unwrap().run, run("late"));
    // A time that has passed is no delay.
    let past = NewRun { start_at: Some(Timestamp::EPOCH), ..new_run("past") };
    let created = store.runs.create(past, Some(first_lease())).await.unwrap();
    assert!(matches!(created, Created::New(_, Some(_))), "{created:?}");
    Ok(())
}

/// No more runs of a limited workflow are held than the limit says, whoever claims or creates, until one is let go.
pub async fn a_limit_holds_runs_back(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let flow = new_run("r").workflow.id;
    store.create("before").await;
    store.runs.limit(&tenant(), &flow, Some(2)).await.unwrap();
    store.runs.limit(&other_tenant(), &flow, Some(0)).await.unwrap();
    assert_eq!(
        store.runs.limits(&tenant()).await.unwrap(),
        [ConcurrencyLimit { workflow: flow.clone(), max: 2 }],
        "each tenant has its own"
    );
    let created = store.runs.create(new_run("claimed"), Some(first_lease())).await.unwrap();
    assert!(matches!(created, Created::New(_, None)), "limits are kept by claims: {created:?}");
    for id in ["x", "y"] {
        store.create(id).await;
    }
    let other = NewRun { workflow: "other@1.0.0".parse().unwrap(), ..new_run("other") };
    store.runs.create(other, None).await.unwrap();
    let claims = store.runs.claim(&worker("w"), 100, LONG).await.unwrap();
    let held: Vec<&Lease> = claims.iter().map(|claim| &claim.lease).filter(|lease| lease.run != run("other")).collect();
    assert_eq!(held.iter().map(|lease| lease.run.as_str()).collect::<Vec<_>>(), ["before", "claimed"]);
    assert_eq!(store.claim_one("w").await, None);
    // Each of the ways to let go makes room for one.
    store.runs.release(held[0]).await.unwrap();
    assert_eq!(store.runs.claim(&worker("w"), 100, LONG).await.unwrap().len(), 1);
    store.journal.append(append(held[1], 0, &[], Transition::Finish(finished()))).await.unwrap();
    assert_eq!(store.runs.claim(&worker("w"), 100, LONG).await.unwrap().len(), 1);
    assert_eq!(store.claim_one("w").await, None);
    store.runs.limit(&tenant(), &flow, None).await.unwrap();
    assert_eq!(store.runs.limits(&tenant()).await.unwrap(), []);
    assert!(store.claim_one("w").await.is_some());
    Ok(())
}

/// A fork is leased with its creation, whatever holds its workflow back: its past has to be written.
pub async fn a_fork_is_leased_to_get_its_past(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let flow = new_run("r").workflow.id;
    store.runs.limit(&tenant(), &flow, Some(0)).await.unwrap();
    let fork = Some(Fork { run: run("origin"), effect: EffectId::new("a").unwrap() });
    for (id, start_at) in [("now", None), ("later", Some(Timestamp::MAX))] {
        let new = NewRun { forked_from: fork.clone(), start_at, ..new_run(id) };
        let created = store.runs.create(new, Some(beginning(&["past"]))).await.unwrap();
        let Created::New(_, Some(lease)) = created else { panic!("{id}: {created:?}") };
        assert_eq!(store.lines(id).await, [Line::new("past")]);
        store.runs.release(&lease).await.unwrap();
    }
    assert_eq!(store.claim_one("w").await, None, "the limit holds for what is claimed");
    Ok(())
}

/// A lease that has run out is no longer held: its run can be rescued although the limit is reached.
pub async fn a_limit_counts_live_leases_only(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let flow = new_run("r").workflow.id;
    store.runs.limit(&tenant(), &flow, Some(1)).await.unwrap();
    store.create("r").await;
    store.create("s").await;
    let claims = store.runs.claim(&worker("w"), 100, LEASE).await.unwrap();
    assert_eq!(claims.len(), 1);
    store.roles.pass(LEASE * 2).await?;
    let rescued = store.runs.claim(&worker("v"), 100, LEASE).await.unwrap();
    assert_eq!(rescued.len(), 1);
    Ok(())
}

/// However many claim at once, a limit is never exceeded.
pub async fn racing_claims_keep_a_limit(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let flow = new_run("r").workflow.id;
    store.runs.limit(&tenant(), &flow, Some(3)).await.unwrap();
    for index in 0..40 {
        store.create(&format!("r{index}")).await;
    }
    let claimed = race(backend, 12, |racer| {
        let runs = store.runs.clone();
        Box::pin(async move {
            let mut mine = 0;
            for _ in 0..5 {
                mine += runs.claim(&worker(&format!("w{racer}")), 2, LONG).await.unwrap().len();
            }
            mine
        })
    });
    let more = store.runs.claim(&worker("w"), 100, LONG).await.unwrap();
    assert_eq!(claimed.into_iter().sum::<usize>() + more.len(), 3);
    Ok(())
}

/// A run that nobody holds is paused at once, and claimed by nobody until it is resumed.
pub async fn a_paused_run_is_left_alone(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    store.create("queued").await;
    park(&store, "parked", Some(Timestamp::EPOCH), 0).await;
    for id in ["queued", "parked"] {
        for _ in 0..2 {
            let record = store.runs.pause(&tenant(), &run(id)).await.unwrap();
            assert_eq!((record.state, record.pausing), (RunState::Paused, false), "{id}");
            assert_eq!(store.get(id).await, record);
        }
        store.runs.send(&tenant(), &run(id), signal("go")).await.unwrap();
    }
    assert_eq!(store.claim_one("w").await, None);
    for id in ["queued", "parked"] {
        assert_eq!(store.runs.resume(&tenant(), &run(id)).await.unwrap().state, RunState::Queued);
        assert_eq!(store.claim_one("w").await.unwrap().run, run(id));
        let record = store.runs.resume(&tenant(), &run(id)).await.unwrap();
        assert_eq!((record.state, record.inbox_last), (RunState::Running, 1), "resuming again changes nothing");
    }
    Ok(())
}

/// A run that is held is paused when it is let go; until then its holder hears of it, and so does a rescuer.
pub async fn a_held_run_is_paused_when_it_is_let_go(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let (parks, released) = (store.leased("parks").await, store.leased("released").await);
    for id in ["parks", "released"] {
        let record = store.runs.pause(&tenant(), &run(id)).await.unwrap();
        assert_eq!((record.state, record.pausing), (RunState::Running, true), "{id}");
        store.runs.changed(&tenant(), &run(id), 0).await;
    }
    let park = Transition::Park { wake_at: Some(Timestamp::EPOCH), inbox_seen: 0 };
    store.journal.append(append(&parks, 0, &["line"], park)).await.unwrap();
    store.runs.release(&released).await.unwrap();
    for id in ["parks", "released"] {
        let record = store.get(id).await;
        assert_eq!((record.state, record.pausing), (RunState::Paused, false), "{id}");
    }
    assert_eq!(store.claim_one("w").await, None);
    // Taken back in time, the request is forgotten.
    let lease = store.leased("resumed").await;
    store.runs.pause(&tenant(), &run("resumed")).await.unwrap();
    assert!(!store.runs.resume(&tenant(), &run("resumed")).await.unwrap().pausing);
    store.runs.release(&lease).await.unwrap();
    assert_eq!(store.get("resumed").await.state, RunState::Queued);
    let lease = store.claim_one("w").await.unwrap();
    store.runs.pause(&tenant(), &lease.run).await.unwrap();
    store.roles.pass(LEASE * 2).await?;
    let rescued = store.runs.claim(&worker("v"), 1, LEASE).await.unwrap();
    assert!(rescued[0].record.pausing);
    Ok(())
}

/// A request to stop takes a paused or delayed run back into circulation; an ended run can't be paused.
pub async fn a_paused_run_can_be_cancelled(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let now = store.create("paused").await.created_at;
    store.runs.pause(&tenant(), &run("paused")).await.unwrap();
    let late = NewRun { start_at: Some(now.saturating_add(LONG)), ..new_run("late") };
    store.runs.create(late, None).await.unwrap();
    let cancel = || Message::Cancel { reason: "enough".into() };
    for id in ["paused", "late"] {
        store.runs.send(&tenant(), &run(id), cancel()).await.unwrap();
        let lease = store.claim_one("w").await.unwrap();
        assert_eq!((lease.run.as_str(), store.get(id).await.inbox_last), (id, 1));
        store.finish(&lease).await;
        for refused in [store.runs.pause(&tenant(), &run(id)).await, store.runs.resume(&tenant(), &run(id)).await] {
            assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
        }
    }
    for (owner, id) in [(tenant(), "unknown"), (other_tenant(), "paused")] {
        let refused = store.runs.pause(&owner, &run(id)).await;
        assert!(matches!(refused, Err(StoreError::NotFound { .. })), "{refused:?}");
    }
    Ok(())
}
