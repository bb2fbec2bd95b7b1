//! Pages of runs, and counts.

use std::time::Duration;

use aos_core::journal::Transition;
use aos_core::runs::{NewRun, RunFilter, RunState, StoreError};
use aos_core::time::Timestamp;
use aos_core::{Failure, codes};

use crate::conformance::fixture::{LONG, Runs, append, first_lease, new_run, other_tenant, park, run, worker};
use crate::conformance::{Backend, Outcome};

/// Pages are newest first, and runs created meanwhile neither shift nor repeat what follows a cursor.
pub async fn pages_are_stable_under_inserts(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    for index in 0..25 {
        store.create(&format!("r{index}")).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    for page in 0.. {
        let filter = RunFilter { cursor, limit: 10, ..RunFilter::default() };
        let found = store.runs.list(filter).await.unwrap();
        assert!(found.runs.len() <= 10);
        seen.extend(found.runs.iter().map(|record| record.new.run.to_string()));
        store.create(&format!("meanwhile{page}")).await;
        cursor = found.next;
        if cursor.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..25).rev().map(|index| format!("r{index}")).collect();
    assert_eq!(seen, expected);
    let all = store.runs.list(RunFilter { limit: 28, ..RunFilter::default() }).await.unwrap();
    assert_eq!((all.runs.len(), all.next), (28, None), "no page follows one that ends exactly");
    Ok(())
}

/// Lists show what fits every part of the filter.
pub async fn lists_filter(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    store.create("queued").await;
    let child = NewRun { parent: Some(run("queued")), workflow: "other@2.0.0".parse().unwrap(), ..new_run("child") };
    store.runs.create(child, Some(first_lease())).await.unwrap();
    let lease = store.leased("ended").await;
    store.finish(&lease).await;
    park(&store, "parked", None, 0).await;
    let states = |states: &[RunState]| RunFilter { states: states.to_vec(), ..RunFilter::default() };
    let workflow = |id: &str| RunFilter { workflow: Some(id.parse().unwrap()), ..RunFilter::default() };
    let parent = |id: &str| RunFilter { parent: Some(run(id)), ..RunFilter::default() };
    for (filter, expected) in [
        (RunFilter::default(), vec!["parked", "ended", "child", "queued"]),
        (states(&[RunState::Queued]), vec!["queued"]),
        (states(&[RunState::Running, RunState::Parked]), vec!["parked", "child"]),
        (states(&[RunState::Dead]), vec![]),
        (states(&RunState::ALL), vec!["parked", "ended", "child", "queued"]),
        (workflow("flow"), vec!["parked", "ended", "queued"]),
        (workflow("unknown"), vec![]),
        (parent("queued"), vec!["child"]),
        (parent("child"), vec![]),
        (RunFilter { states: vec![RunState::Queued], ..parent("queued") }, vec![]),
        (RunFilter { tenant: other_tenant(), ..RunFilter::default() }, vec![]),
    ] {
        let found = store.runs.list(filter.clone()).await.unwrap();
        let ids: Vec<_> = found.runs.iter().map(|record| record.new.run.as_str()).collect();
        assert_eq!((&ids, found.next), (&expected, None), "{filter:?}");
        assert_eq!(store.runs.count(filter.clone(), 100).await.unwrap(), expected.len() as u64, "{filter:?}");
    }
    Ok(())
}

/// Only runs that ended before a time are listed when one is given.
pub async fn lists_filter_by_end(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    // Those that were created first end last.
    let (late, soon) = (store.leased("late").await, store.leased("soon").await);
    store.create("open").await;
    for lease in [soon, late] {
        store.roles.pass(Duration::from_secs(10)).await?;
        store.finish(&lease).await;
    }
    store.create("new").await;
    let end = store.get("late").await.finished_at.unwrap();
    let before = |ended_before| RunFilter { ended_before: Some(ended_before), ..RunFilter::default() };
    for (filter, expected) in [
        (before(Timestamp::MAX), vec!["soon", "late"]),
        (before(end), vec!["soon"]),
        (before(Timestamp::EPOCH), vec![]),
        (
            RunFilter { states: vec![RunState::Succeeded, RunState::Queued], ..before(Timestamp::MAX) },
            vec!["soon", "late"],
        ),
        (RunFilter { created_before: Some(Timestamp::EPOCH), ..before(Timestamp::MAX) }, vec![]),
        (RunFilter { workflow: Some("flow".parse().unwrap()), ..before(end) }, vec!["soon"]),
    ] {
        let found = store.runs.list(filter.clone()).await.unwrap();
        let ids: Vec<_> = found.runs.iter().map(|record| record.new.run.as_str()).collect();
        assert_eq!(ids, expected, "{filter:?}");
        assert_eq!(store.runs.count(filter.clone(), 100).await.unwrap(), expected.len() as u64, "{filter:?}");
    }
    Ok(())
}

/// Counting stops where it is told to, and minds neither cursor nor limit.
pub async fn counting_stops(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    for index in 0..7 {
        store.create(&format!("r{index}")).await;
    }
    let queued = RunFilter { states: vec![RunState::Queued, RunState::Running], limit: 2, ..RunFilter::default() };
    let next = store.runs.list(queued.clone()).await.unwrap().next;
    let later = RunFilter { cursor: next, ..queued.clone() };
    for (filter, at_most, counted) in
        [(queued.clone(), 100, 7), (queued.clone(), 7, 7), (queued.clone(), 3, 3), (queued, 0, 0), (later, 100, 7)]
    {
        assert_eq!(store.runs.count(filter.clone(), at_most).await.unwrap(), counted, "{filter:?} {at_most}");
    }
    Ok(())
}

/// Only runs created before a time are listed when one is given.
pub async fn lists_filter_by_age(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    for id in ["old", "middle", "new"] {
        store.create(id).await;
        store.roles.pass(Duration::from_secs(10)).await?;
    }
    let middle = Some(store.get("middle").await.created_at);
    let before = |created_before| RunFilter { created_before, ..RunFilter::default() };
    for (filter, expected) in [
        (before(Some(Timestamp::MAX)), vec!["new", "middle", "old"]),
        (before(middle), vec!["old"]),
        (before(Some(Timestamp::EPOCH)), vec![]),
        (RunFilter { states: vec![RunState::Queued], ..before(middle) }, vec!["old"]),
        (RunFilter { states: vec![RunState::Dead], ..before(middle) }, vec![]),
        (RunFilter { workflow: Some("flow".parse().unwrap()), limit: 1, ..before(middle) }, vec!["old"]),
    ] {
        let found = store.runs.list(filter.clone()).await.unwrap();
        let ids: Vec<_> = found.runs.iter().map(|record| record.new.run.as_str()).collect();
        assert_eq!(ids, expected, "{filter:?}");
    }
    Ok(())
}

/// A cursor that is none is an error, never another page.
pub async fn an_unknown_cursor_is_refused(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    store.create("r").await;
    for cursor in ["", "nonsense", "' OR 1=1 --", "1 2", "🙂"] {
        let filter = RunFilter { cursor: Some(cursor.into()), ..RunFilter::default() };
        let error = store.runs.list(filter).await.unwrap_err();
        assert!(matches!(error, StoreError::NotFound { .. }), "{cursor:?}: {error:?}");
    }
    Ok(())
}

/// Stats count the open runs over all tenants, and tell since when the oldest claimable one has waited.
pub async fn stats_count(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    assert_eq!(store.runs.stats().await.unwrap().oldest, None);
    let theirs = NewRun { tenant: other_tenant(), ..new_run("theirs") };
    store.runs.create(theirs, None).await.unwrap();
    let oldest = store.runs.get(&other_tenant(), &run("theirs")).await.unwrap().unwrap().created_at;
    store.create("queued").await;
    store.leased("running").await;
    park(&store, "parked", None, 0).await;
    let ended = store.leased("ended").await;
    store.finish(&ended).await;
    let dead = store.leased("dead").await;
    let bury = Transition::Bury(Failure::new(codes::RUN_DEAD, "five workers"));
    store.journal.append(append(&dead, 0, &[], bury)).await.unwrap();
    let stats = store.runs.stats().await.unwrap();
    let expected = [
        (RunState::Queued, 2),
        (RunState::Running, 1),
        (RunState::Parked, 1),
        (RunState::Paused, 0),
        (RunState::Dead, 1),
    ];
    assert_eq!(stats.by_state, expected);
    assert_eq!(stats.oldest, Some(oldest));
    store.runs.claim(&worker("w"), 10, LONG).await.unwrap();
    assert_eq!(store.runs.stats().await.unwrap().oldest, None);
    Ok(())
}
