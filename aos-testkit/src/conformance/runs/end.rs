//! What comes after the end: dead runs that are revived, and ended runs that are deleted.

use std::time::Duration;

use aos_core::Failure;
use aos_core::journal::Transition;
use aos_core::runs::{NewRun, PurgeFilter, RunState, StoreError};
use aos_core::time::Timestamp;

use crate::conformance::fixture::{LONG, Runs, append, new_run, other_tenant, park, run, signal, tenant, worker};
use crate::conformance::{Backend, Outcome};

fn ended_before(at: Timestamp) -> PurgeFilter {
    let states = vec![RunState::Succeeded, RunState::Failed, RunState::Cancelled];
    PurgeFilter { tenant: tenant(), states, workflow: None, ended_before: at }
}

/// A dead run that is revived goes on from its journal, as one that was never rescued.
pub async fn a_dead_run_can_be_revived(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    store.runs.send(&tenant(), &run("r"), signal("kept")).await.unwrap();
    let bury = Transition::Bury(Failure::new(aos_core::codes::RUN_DEAD, "five workers"));
    store.journal.append(append(&lease, 0, &["line"], bury)).await.unwrap();
    let revived = store.runs.revive(&tenant(), &run("r")).await.unwrap();
    assert_eq!((revived.state, revived.rescues, &revived.failure), (RunState::Queued, 0, &None));
    assert_eq!((revived.finished_at, revived.inbox_last), (None, 1));
    assert_eq!(store.get("r").await, revived);
    let claims = store.runs.claim(&worker("w"), 10, LONG).await.unwrap();
    assert_eq!((claims.len(), claims[0].record.rescues, claims[0].lease.epoch), (1, 0, lease.epoch + 1));
    assert_eq!(store.lines("r").await.len(), 1);
    store.journal.append(append(&claims[0].lease, 1, &["more"], Transition::Continue)).await.unwrap();
    for (owner, id) in [(tenant(), "unknown"), (other_tenant(), "r")] {
        let refused = store.runs.revive(&owner, &run(id)).await;
        assert!(matches!(refused, Err(StoreError::NotFound { .. })), "{refused:?}");
    }
    let refused = store.runs.revive(&tenant(), &run("r")).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    Ok(())
}

/// A dead run that is discarded has been cancelled: nobody gets it any more, and what it did can still be read.
pub async fn a_dead_run_can_be_discarded(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    let bury = Transition::Bury(Failure::new(aos_core::codes::RUN_DEAD, "five workers"));
    store.journal.append(append(&lease, 0, &["line"], bury)).await.unwrap();
    store.roles.pass(Duration::from_secs(10)).await?;
    let dead = store.get("r").await;
    let why = Failure::new(aos_core::codes::CANCELLED, "no use \u{0}");
    let discarded = store.runs.discard(&tenant(), &run("r"), why.clone()).await.unwrap();
    assert_eq!((discarded.state, &discarded.failure), (RunState::Cancelled, &Some(why.clone())));
    assert!(discarded.finished_at > dead.finished_at, "{discarded:?}");
    assert_eq!(store.get("r").await, discarded);
    assert_eq!(store.lines("r").await.len(), 1);
    assert_eq!(store.runs.claim(&worker("w"), 10, LONG).await.unwrap(), []);
    assert_eq!(store.runs.stats().await.unwrap().by_state.iter().map(|(_, runs)| runs).sum::<u64>(), 0);
    for refused in
        [store.runs.discard(&tenant(), &run("r"), why.clone()).await, store.runs.revive(&tenant(), &run("r")).await]
    {
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    }
    let refused = store.runs.discard(&other_tenant(), &run("r"), why).await;
    assert!(matches!(refused, Err(StoreError::NotFound { .. })), "{refused:?}");
    assert_eq!(store.runs.purge(&ended_before(Timestamp::MAX), 10).await.unwrap(), 1);
    Ok(())
}

/// Of the runs that ended before a time, those that ended first are deleted first, whole, and leave their names free.
pub async fn ended_runs_are_purged(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    for id in ["one", "two", "three"] {
        let new = NewRun { idempotency_key: Some(id.into()), ..new_run(id) };
        store.runs.create(new, None).await.unwrap();
        store.runs.send(&tenant(), &run(id), signal("s")).await.unwrap();
        let lease = store.claim_one("w").await.unwrap();
        store.finish(&lease).await;
        store.roles.pass(Duration::from_secs(10)).await?;
    }
    park(&store, "open", None, 0).await;
    let third = store.get("three").await.finished_at.unwrap();
    let other = PurgeFilter { tenant: other_tenant(), ..ended_before(Timestamp::MAX) };
    let open = PurgeFilter { states: vec![RunState::Parked, RunState::Dead], ..ended_before(Timestamp::MAX) };
    let workflow = PurgeFilter { workflow: Some("unknown".parse().unwrap()), ..ended_before(Timestamp::MAX) };
    for (filter, max, deleted, left) in [
        (other, 10, 0, vec!["open", "three", "two", "one"]),
        (open, 10, 0, vec!["open", "three", "two", "one"]),
        (workflow, 10, 0, vec!["open", "three", "two", "one"]),
        (ended_before(third), 1, 1, vec!["open", "three", "two"]),
        (ended_before(third), 10, 1, vec!["open", "three"]),
        (ended_before(Timestamp::MAX), 10, 1, vec!["open"]),
    ] {
        assert_eq!(store.runs.purge(&filter, max).await.unwrap(), deleted, "{filter:?}");
        let page = store.runs.list(Default::default()).await.unwrap();
        let ids: Vec<_> = page.runs.iter().map(|record| record.new.run.as_str()).collect();
        assert_eq!(ids, left, "{filter:?}");
    }
    let gone = store.journal.read(&tenant(), &run("one"), 0, 1).await;
    assert!(matches!(gone, Err(StoreError::NotFound { .. })), "{gone:?}");
    // Nothing is left that the second run of that name could meet.
    store.runs.create(NewRun { idempotency_key: Some("one".into()), ..new_run("one") }, None).await.unwrap();
    assert_eq!(store.runs.inbox(&tenant(), &run("one"), 0).await.unwrap(), []);
    assert_eq!(store.lines("one").await, []);
    Ok(())
}

/// A child whose parent has not ended is kept: the parent may ask for its result.
pub async fn a_child_is_kept_for_its_parent(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let parent = store.leased("parent").await;
    store.runs.create(NewRun { parent: Some(run("parent")), ..new_run("child") }, None).await.unwrap();
    let child = store.claim_one("w").await.unwrap();
    store.finish(&child).await;
    assert_eq!(store.runs.purge(&ended_before(Timestamp::MAX), 10).await.unwrap(), 0);
    store.finish(&parent).await;
    assert_eq!(store.runs.purge(&ended_before(Timestamp::MAX), 10).await.unwrap(), 2);
    Ok(())
}
