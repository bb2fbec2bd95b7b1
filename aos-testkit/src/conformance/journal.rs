//! The contract of [`JournalStore`](aos_core::journal::JournalStore).

use aos_core::error::{Failure, codes};
use aos_core::event::{RunFinished, RunStatus};
use aos_core::journal::{Append, Line, Transition};
use aos_core::money::Money;
use aos_core::runs::{RunState, StoreError};
use serde_json::json;

use super::fixture::{
    LEASE, LONG, Runs, append, finished, first_lease, nasty, new_run, other_tenant, payload, poll_once, race, run,
    tenant, worker,
};
use super::{Backend, Outcome};

/// `read` gives every line, in order, byte for byte as appended.
pub async fn lines_come_back_byte_for_byte(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    assert_eq!(store.lines("r").await, []);
    let long = "x".repeat(1_000_000);
    let appends = [
        vec!["{\"a\":1}", ""],
        vec!["\u{0}\u{1}\t\r", "👩‍👩‍👧\u{2028}", "  '; DROP TABLE entry;--  "],
        vec![""],
        vec![long.as_str(), "not JSON at all"],
    ];
    let mut expected: Vec<Line> = Vec::new();
    for lines in &appends {
        let first_index = expected.len() as u64;
        store.journal.append(append(&lease, first_index, lines, Transition::Continue)).await.unwrap();
        expected.extend(lines.iter().map(|line| Line::new(*line)));
        assert!(store.lines("r").await == expected, "after the append at {first_index}");
    }
    Ok(())
}

/// `read` begins at any index, stops at the limit, and is empty past the end.
pub async fn reads_pages(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    let all: Vec<String> = (0..10).map(|index| format!("line {index}")).collect();
    let mut first = 0;
    for size in [1, 4, 2, 3] {
        let lines: Vec<&str> = all[first..first + size].iter().map(String::as_str).collect();
        store.journal.append(append(&lease, first as u64, &lines, Transition::Continue)).await.unwrap();
        first += size;
    }
    for from in 0..12 {
        for limit in [0, 1, 3, 100] {
            let lines = store.journal.read(&tenant(), &run("r"), from as u64, limit).await.unwrap();
            let expected: Vec<Line> = all.iter().skip(from).take(limit).map(|line| Line::new(line.as_str())).collect();
            assert_eq!(lines, expected, "from {from}, at most {limit}");
        }
    }
    assert_eq!(store.journal.read(&tenant(), &run("r"), u64::MAX, usize::MAX).await.unwrap(), []);
    Ok(())
}

/// `read` of a run that the tenant does not have is `NotFound`.
pub async fn an_unknown_run_is_not_found(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let error = store.journal.read(&tenant(), &run("nobody"), 0, 1).await.unwrap_err();
    assert!(matches!(&error, StoreError::NotFound { id, .. } if id == "nobody"), "{error:?}");
    Ok(())
}

async fn is_fenced(store: &Runs, append: Append) {
    let (run, before) = (append.lease.run.to_string(), store.lines(append.lease.run.as_str()).await);
    let record = store.get(&run).await;
    let epoch = append.lease.epoch;
    let error = store.journal.append(append).await.unwrap_err();
    assert!(matches!(&error, StoreError::Fenced { epoch: e, .. } if *e == epoch), "{error:?}");
    assert_eq!(store.lines(&run).await, before);
    assert_eq!(store.get(&run).await, record);
}

/// An append under another epoch is fenced and changes nothing.
pub async fn a_stale_epoch_is_fenced(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    store.journal.append(append(&lease, 0, &["one"], Transition::Continue)).await.unwrap();
    for epoch in [0, lease.epoch - 1, lease.epoch + 1, u64::MAX] {
        let stale = aos_core::runs::Lease { epoch, ..lease.clone() };
        is_fenced(&store, append(&stale, 1, &["two"], Transition::Continue)).await;
        is_fenced(&store, append(&stale, 1, &["two"], Transition::Finish(finished()))).await;
        is_fenced(&store, append(&stale, 1, &[], Transition::Park { wake_at: None, inbox_seen: 0 })).await;
    }
    Ok(())
}

/// An append by somebody else than the holder is fenced.
pub async fn another_worker_is_fenced(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    let stranger = aos_core::runs::Lease { worker: worker("stranger"), ..lease };
    is_fenced(&store, append(&stranger, 0, &["one"], Transition::Continue)).await;
    Ok(())
}

/// A lease that was given back is not current.
pub async fn a_released_lease_is_fenced(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    store.runs.release(&lease).await.unwrap();
    is_fenced(&store, append(&lease, 0, &["one"], Transition::Continue)).await;
    Ok(())
}

/// Parking gives the lease back.
pub async fn a_parked_lease_is_fenced(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    let park = Transition::Park { wake_at: None, inbox_seen: 0 };
    store.journal.append(append(&lease, 0, &["one"], park)).await.unwrap();
    is_fenced(&store, append(&lease, 1, &["two"], Transition::Continue)).await;
    Ok(())
}

/// Finishing gives the lease back: nothing follows the end.
pub async fn a_finished_lease_is_fenced(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    store.finish(&lease).await;
    is_fenced(&store, append(&lease, 0, &["more"], Transition::Continue)).await;
    is_fenced(&store, append(&lease, 0, &[], Transition::Finish(finished()))).await;
    Ok(())
}

/// A lease past its deadline that nobody else has claimed is still current.
pub async fn an_expired_lease_that_nobody_claimed_is_current(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    store.create("r").await;
    let lease = store.claim_one("w").await.unwrap();
    store.roles.pass(LEASE * 2).await?;
    store.journal.append(append(&lease, 0, &["late"], Transition::Continue)).await.unwrap();
    assert_eq!(store.lines("r").await, [Line::new("late")]);
    Ok(())
}

/// An append that does not start at the next free index is a conflict and changes nothing.
pub async fn a_wrong_index_changes_nothing(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    store.journal.append(append(&lease, 0, &["one", "two"], Transition::Continue)).await.unwrap();
    for index in [0, 1, 3, u64::MAX] {
        for transition in [Transition::Continue, Transition::Finish(finished())] {
            let mut append = append(&lease, index, &["wrong"], transition);
            append.blobs.push(payload(json!(index.to_string())));
            let error = store.journal.append(append).await.unwrap_err();
            assert!(matches!(&error, StoreError::IndexConflict { index: i, .. } if *i == index), "{error:?}");
        }
    }
    assert_eq!(store.lines("r").await.len(), 2);
    assert_eq!(store.get("r").await.state, RunState::Running);
    store.journal.append(append(&lease, 2, &["three"], Transition::Continue)).await.unwrap();
    Ok(())
}

/// Of racing appends at one index under one lease, one wins.
pub async fn an_index_is_taken_once(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    for index in 0..5 {
        let results = race(backend, 8, |racer| {
            let (journal, lease) = (store.journal.clone(), lease.clone());
            Box::pin(async move {
                journal.append(append(&lease, index, &[&format!("by {racer}")], Transition::Continue)).await
            })
        });
        let won: Vec<usize> = (0..8).filter(|racer| results[*racer].is_ok()).collect();
        assert_eq!(won.len(), 1, "{results:?}");
        assert_eq!(store.lines("r").await.last(), Some(&Line::new(format!("by {}", won[0]))));
        for error in results.into_iter().filter_map(Result::err) {
            assert!(matches!(error, StoreError::IndexConflict { .. }), "{error:?}");
        }
    }
    Ok(())
}

/// The last entries and the end of the run come together.
pub async fn finish_is_atomic(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    let end = finished();
    store.journal.append(append(&lease, 0, &["the end"], Transition::Finish(end.clone()))).await.unwrap();
    let record = store.get("r").await;
    assert_eq!(record.state, RunState::Succeeded);
    assert_eq!(record.output, end.output);
    assert_eq!((record.failure, record.cost, record.content_hash), (None, end.cost, Some(end.content_hash)));
    assert!(record.finished_at >= Some(record.created_at));
    assert_eq!(store.lines("r").await.len(), 1);
    assert!(store.claim_one("w").await.is_none());
    Ok(())
}

/// Failures come back as they were, and every way to end has its state.
pub async fn failures_and_costs_are_kept(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let failure = Failure::new(codes::SKILL_FAILED, "\u{0}no 👎").details(json!({ "at": [1, null] })).cost(Money::MAX);
    let ends = [
        ("failed", RunStatus::Failed, RunState::Failed, Money::from_picodollars(1)),
        ("cancelled", RunStatus::Cancelled, RunState::Cancelled, Money::ZERO),
    ];
    for (id, status, state, cost) in ends {
        let lease = store.leased(id).await;
        let end = RunFinished { status, output: None, failure: Some(failure.clone()), cost, ..finished() };
        store.journal.append(append(&lease, 0, &[], Transition::Finish(end))).await.unwrap();
        let record = store.get(id).await;
        assert_eq!((record.state, record.cost, record.output), (state, cost, None));
        assert_eq!(record.failure.as_ref(), Some(&failure));
    }
    Ok(())
}

/// A buried run is dead with its failure, and never claimable again.
pub async fn a_buried_run_is_dead(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    let failure = Failure::new(codes::JOURNAL_CORRUPT, "it makes no sense");
    store.journal.append(append(&lease, 0, &[], Transition::Bury(failure.clone()))).await.unwrap();
    let record = store.get("r").await;
    assert_eq!((record.state, record.failure.as_ref()), (RunState::Dead, Some(&failure)));
    assert!(record.finished_at.is_some());
    is_fenced(&store, append(&lease, 0, &["more"], Transition::Continue)).await;
    let stats = store.runs.stats().await.unwrap();
    assert!(stats.by_state.contains(&(RunState::Dead, 1)), "{stats:?}");
    assert_eq!(stats.oldest, None);
    store.roles.pass(LONG * 2).await?;
    assert!(store.claim_one("w").await.is_none());
    Ok(())
}

/// The entries and the parking come together.
pub async fn park_is_atomic(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    let park = Transition::Park { wake_at: None, inbox_seen: 0 };
    store.journal.append(append(&lease, 0, &["sleep"], park)).await.unwrap();
    assert_eq!(store.get("r").await.state, RunState::Parked);
    assert_eq!(store.lines("r").await.len(), 1);
    assert!(store.claim_one("w").await.is_none(), "nothing has happened yet");
    Ok(())
}

/// An append may consist of its transition alone.
pub async fn an_empty_append_with_a_transition(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    store.journal.append(append(&lease, 0, &[], Transition::Continue)).await.unwrap();
    store.journal.append(append(&lease, 0, &["one"], Transition::Continue)).await.unwrap();
    store.journal.append(append(&lease, 1, &[], Transition::Finish(finished()))).await.unwrap();
    assert_eq!(store.lines("r").await.len(), 1);
    assert_eq!(store.get("r").await.state, RunState::Succeeded);
    Ok(())
}

/// The index is checked also when there are no lines.
pub async fn an_empty_append_at_a_wrong_index(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    store.journal.append(append(&lease, 0, &["one"], Transition::Continue)).await.unwrap();
    let error = store.journal.append(append(&lease, 0, &[], Transition::Finish(finished()))).await.unwrap_err();
    assert!(matches!(error, StoreError::IndexConflict { index: 0, .. }), "{error:?}");
    assert_eq!(store.get("r").await.state, RunState::Running);
    Ok(())
}

/// The payloads of an append are durable no later than its lines.
pub async fn blobs_are_there_with_the_lines(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let blobs = store.roles.need_blobs()?;
    let lease = store.leased("r").await;
    let large = payload(json!("x".repeat(5_000_000)));
    let mut first = append(&lease, 0, &["one"], Transition::Continue);
    first.blobs = vec![nasty(), large.clone(), nasty()];
    store.journal.append(first).await.unwrap();
    for blob in [nasty(), large] {
        assert!(blobs.get(&blob.hash()).await.unwrap().as_deref() == Some(blob.as_str().as_bytes()));
    }
    let mut again = append(&lease, 1, &["two"], Transition::Continue);
    again.blobs = vec![nasty()];
    store.journal.append(again).await.unwrap();
    Ok(())
}

/// Appends of different runs do not order or fail each other.
pub async fn runs_do_not_disturb_each_other(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let mut leases = Vec::new();
    for index in 0..16 {
        leases.push(store.leased(&format!("r{index}")).await);
    }
    // Every fourth is told to go wrong.
    let results = race(backend, leases.len(), |index| {
        let (journal, lease) = (store.journal.clone(), leases[index].clone());
        Box::pin(async move {
            let wrong = u64::from(index % 4 == 0);
            for step in 0..10 {
                let line = format!("run {index} step {step}");
                journal.append(append(&lease, step + wrong, &[&line], Transition::Continue)).await?;
            }
            Ok::<_, StoreError>(())
        })
    });
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result.is_err(), index % 4 == 0, "{result:?}");
        let lines = store.lines(&format!("r{index}")).await;
        let expected: Vec<Line> = (0..10).map(|step| Line::new(format!("run {index} step {step}"))).collect();
        assert_eq!(lines, if index % 4 == 0 { Vec::new() } else { expected });
    }
    Ok(())
}

/// A dropped `append` future may or may not have taken effect; a reader sees all of it or nothing, and the store
/// goes on working.
pub async fn a_dropped_append_is_whole_or_nothing(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let mut unfinished = 0;
    for index in 0..20 {
        let id = format!("r{index}");
        let lease = store.leased(&id).await;
        let mut dropped = append(&lease, 0, &["one", "two"], Transition::Finish(finished()));
        dropped.blobs.push(nasty());
        let future = store.journal.append(dropped);
        if index % 2 == 0 {
            poll_once(future).await;
        } else {
            drop(future);
        }
        // Whatever was under way comes before this, or has not begun.
        let tried = store.journal.append(append(&lease, 0, &[], Transition::Continue)).await;
        let (lines, state) = (store.lines(&id).await.len(), store.get(&id).await.state);
        match tried {
            Ok(()) => {
                unfinished += 1;
                assert!(
                    matches!((lines, state), (0, RunState::Running) | (2, RunState::Succeeded)),
                    "{lines} {state:?}"
                );
            }
            Err(_) => assert_eq!((lines, state), (2, RunState::Succeeded)),
        }
    }
    assert!(unfinished >= 10, "a future that nobody polls does nothing");
    Ok(())
}

/// Nothing of one tenant is visible to, or changed by, a call for another.
pub async fn tenants_are_apart(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    store.journal.append(append(&lease, 0, &["mine"], Transition::Continue)).await.unwrap();
    let error = store.journal.read(&other_tenant(), &run("r"), 0, 1).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
    let foreign = aos_core::runs::Lease { tenant: other_tenant(), ..lease.clone() };
    let error = store.journal.append(append(&foreign, 1, &["theirs"], Transition::Continue)).await.unwrap_err();
    assert!(matches!(error, StoreError::Fenced { .. }), "{error:?}");

    let theirs = aos_core::runs::NewRun { tenant: other_tenant(), ..new_run("r") };
    store.runs.create(theirs, Some(first_lease())).await.unwrap();
    store.journal.append(append(&foreign, 0, &["theirs"], Transition::Finish(finished()))).await.unwrap();
    assert_eq!(store.lines("r").await, [Line::new("mine")]);
    assert_eq!(store.get("r").await.state, RunState::Running);
    Ok(())
}

/// An append is durable when the future resolves: whoever opens the data finds it, and goes on from there.
pub async fn is_there_for_another_process(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let again = store.roles.again().await?.need_journal()?;
    let lease = store.leased("r").await;
    store.journal.append(append(&lease, 0, &["one"], Transition::Continue)).await.unwrap();
    assert_eq!(again.read(&tenant(), &run("r"), 0, 9).await.unwrap(), [Line::new("one")]);
    again.append(append(&lease, 1, &["two"], Transition::Continue)).await.unwrap();
    let error = store.journal.append(append(&lease, 1, &["other"], Transition::Continue)).await.unwrap_err();
    assert!(matches!(error, StoreError::IndexConflict { .. }), "{error:?}");
    assert_eq!(store.lines("r").await.len(), 2);
    Ok(())
}
