//! Creating runs, and reading them back.

use std::collections::BTreeSet;

use aos_core::event::Fork;
use aos_core::id::EffectId;
use aos_core::journal::{Line, Transition};
use aos_core::money::Money;
use aos_core::random::Seed;
use aos_core::runs::{Created, FirstLease, NewRun, RunFilter, RunState, StoreError};
use aos_core::time::Timestamp;
use serde_json::json;

use crate::conformance::fixture::{
    LONG, Runs, append, beginning, finished, first_lease, nasty, new_run, other_tenant, payload, poll_once, race, run,
    signal, tenant, worker,
};
use crate::conformance::{Backend, Outcome};

/// A run is durable and whole when `create` resolves.
pub async fn what_was_created_is_read_back(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    assert_eq!(store.runs.get(&tenant(), &run("r")).await.unwrap(), None);
    let everything = NewRun {
        input: nasty(),
        budget: Some(Money::MAX),
        parent: Some(run("parent")),
        forked_from: Some(Fork { run: run("origin"), effect: EffectId::new("a[3]/b").unwrap() }),
        idempotency_key: Some("key \u{0} 👩‍👩‍👧".into()),
        request_id: Some("request".into()),
        api_key: Some("0011223344556677".parse().unwrap()),
        trace: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00".parse().unwrap()),
        ..new_run("everything")
    };
    let large = NewRun { input: payload(json!("x".repeat(5_000_000))), ..new_run("large") };
    for new in [new_run("plain"), everything, large] {
        let Created::New(record, None) = store.runs.create(new.clone(), None).await.unwrap() else { panic!("not new") };
        assert!(record.new == new && record.state == RunState::Queued && record.rescues == 0);
        assert!(store.get(new.run.as_str()).await == record);
    }
    Ok(())
}

/// The same idempotency key, or the same run id, with the same request gives the first run.
pub async fn creating_the_same_again_gives_the_first(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let first = NewRun { idempotency_key: Some("key".into()), input: nasty(), ..new_run("first") };
    let Created::New(record, _) = store.runs.create(first.clone(), None).await.unwrap() else { panic!("not new") };
    let claim = || Some(first_lease());
    let same_key = NewRun { run: run("second"), request_id: Some("other".into()), ..first.clone() };
    let same_id = NewRun { idempotency_key: None, ..first.clone() };
    for again in [first, same_key, same_id] {
        assert_eq!(store.runs.create(again, claim()).await.unwrap(), Created::Existing(record.clone()));
    }
    assert_eq!(store.runs.get(&tenant(), &run("second")).await.unwrap(), None);
    Ok(())
}

/// The same key or id with another request is `IdempotencyMismatch`.
pub async fn creating_another_under_the_same_name_is_refused(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let first = NewRun { idempotency_key: Some("key".into()), ..new_run("first") };
    store.runs.create(first.clone(), None).await.unwrap();
    let others = [
        NewRun { input: nasty(), ..first.clone() },
        NewRun { seed: Seed::new(2), run: run("second"), ..first.clone() },
        NewRun { budget: Some(Money::ZERO), idempotency_key: None, ..first },
    ];
    for other in others {
        let error = store.runs.create(other.clone(), None).await.unwrap_err();
        let StoreError::IdempotencyMismatch { run: existing, .. } = &error else { panic!("{error:?}") };
        assert_eq!(existing, &run("first"));
    }
    Ok(())
}

/// Of racing creations under one key, one makes the run and begins it; the others get it.
pub async fn racing_creations_make_one_run(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    for round in 0..5 {
        let results = race(backend, 8, |racer| {
            let runs = store.runs.clone();
            let key = Some(format!("key {round}"));
            let new = NewRun { idempotency_key: key, input: nasty(), ..new_run(&format!("r{round}-{racer}")) };
            let lease = beginning(&[new.run.as_str()]);
            Box::pin(async move { runs.create(new, Some(lease)).await.unwrap() })
        });
        let made = results.iter().filter(|created| matches!(created, Created::New(_, Some(_)))).count();
        let ids: BTreeSet<_> = results
            .iter()
            .map(|created| match created {
                Created::New(record, _) | Created::Existing(record) => record.new.run.clone(),
            })
            .collect();
        assert_eq!((made, ids.len()), (1, 1), "{results:?}");
        let made = ids.first().unwrap().as_str();
        assert_eq!(store.lines(made).await, [Line::new(made)]);
    }
    let all = store.runs.list(RunFilter { limit: 100, ..RunFilter::default() }).await.unwrap();
    assert_eq!(all.runs.len(), 5);
    Ok(())
}

/// With `claim`, the new run is leased to that worker at once.
pub async fn creating_with_a_claim_leases(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    assert_eq!((lease.run.as_str(), lease.worker.as_str()), ("r", "w"));
    assert_eq!(store.get("r").await.state, RunState::Running);
    assert!(store.claim_one("other").await.is_none());
    store.journal.append(append(&lease, 0, &["one"], Transition::Continue)).await.unwrap();
    Ok(())
}

/// What the lease of a new run brings along is in its journal at once, and the next append follows it.
pub async fn creating_with_entries_begins_the_journal(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lines = [r#"{"sql":"'; DROP TABLE entry;--"}"#, "", "👩‍👩‍👧\u{0}\u{2028}"];
    let blobs = vec![nasty(), payload(json!("x".repeat(100_000))), nasty()];
    let mut written: Vec<Line> = lines.iter().map(|line| Line::new(*line)).collect();
    let lease = FirstLease { blobs: blobs.clone(), ..beginning(&lines) };
    let created = store.runs.create(new_run("r"), Some(lease)).await.unwrap();
    let Created::New(record, Some(lease)) = created else { panic!("{created:?}") };
    assert_eq!(record.state, RunState::Running);
    assert_eq!(store.get("r").await, record);
    assert_eq!(store.lines("r").await, written);
    if let Some(kept) = &store.roles.blobs {
        for blob in blobs {
            assert_eq!(kept.get(&blob.hash()).await.unwrap().as_deref(), Some(blob.as_str().as_bytes()));
        }
    }
    for index in [0, 2, 4] {
        let error = store.journal.append(append(&lease, index, &["x"], Transition::Continue)).await.unwrap_err();
        assert!(matches!(error, StoreError::IndexConflict { .. }), "at {index}: {error:?}");
    }
    store.journal.append(append(&lease, 3, &["next"], Transition::Continue)).await.unwrap();
    written.push(Line::new("next"));
    assert_eq!(store.lines("r").await, written);
    Ok(())
}

/// A creation that leases nothing writes no entries: the run was there, has a limit, or is not due.
pub async fn creating_without_a_lease_begins_nothing(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let first = NewRun { idempotency_key: Some("key".into()), ..new_run("first") };
    let limited = NewRun { workflow: "limited@1.0.0".parse().unwrap(), ..new_run("limited") };
    let delayed = NewRun { start_at: Some(Timestamp::MAX), ..new_run("delayed") };
    store.runs.create(first.clone(), None).await.unwrap();
    store.runs.limit(&tenant(), &limited.workflow.id, Some(1)).await.unwrap();
    let same_key = NewRun { run: run("second"), ..first.clone() };
    let other_input = NewRun { input: nasty(), ..first.clone() };
    for new in [first, same_key, other_input, limited, delayed] {
        match store.runs.create(new, Some(beginning(&["one", "two"]))).await {
            Ok(Created::Existing(_) | Created::New(_, None)) | Err(StoreError::IdempotencyMismatch { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    for id in ["first", "limited", "delayed"] {
        assert_eq!(store.lines(id).await, [], "{id}");
    }
    let claims = store.runs.claim(&worker("w"), 10, LONG).await.unwrap();
    assert_eq!(claims.len(), 2);
    for claim in claims {
        store.journal.append(append(&claim.lease, 0, &["one"], Transition::Continue)).await.unwrap();
    }
    Ok(())
}

/// A dropped `create` future has made the whole run or nothing, and the store goes on working.
pub async fn a_dropped_create_is_whole_or_nothing(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    for index in 0..20 {
        let new = NewRun { idempotency_key: Some(format!("key{index}")), ..new_run(&format!("r{index}")) };
        let id = new.run.as_str();
        let future = store.runs.create(new.clone(), Some(beginning(&[id])));
        if index % 2 == 0 {
            poll_once(future).await;
        } else {
            drop(future);
        }
        match store.runs.create(new.clone(), Some(beginning(&[id]))).await.unwrap() {
            Created::New(record, Some(_)) | Created::Existing(record) => assert_eq!(record.new, new),
            Created::New(..) => panic!("{id} has no lease"),
        }
        assert_eq!((store.get(id).await.state, store.lines(id).await), (RunState::Running, vec![Line::new(id)]));
    }
    Ok(())
}

/// An idempotency key gives its run, whatever became of it, and another key gives none.
pub async fn a_key_gives_its_run(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let keys = ["key", "kéy \u{1f980}", "'; DROP TABLE run;--"];
    for (index, key) in keys.into_iter().enumerate() {
        let new = NewRun { idempotency_key: Some(key.into()), ..new_run(&format!("r{index}")) };
        store.runs.create(new, Some(first_lease())).await.unwrap();
        let found = store.runs.by_key(&tenant(), key).await.unwrap();
        assert_eq!(found, Some(store.get(&format!("r{index}")).await), "{key:?}");
    }
    store.create("without").await;
    for (owner, key) in [(tenant(), "kex"), (tenant(), ""), (tenant(), "without"), (other_tenant(), "key")] {
        assert_eq!(store.runs.by_key(&owner, key).await.unwrap(), None, "{key:?}");
    }
    Ok(())
}

/// Nothing of one tenant is visible to, or changed by, a call for another.
pub async fn tenants_are_apart(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let mine = NewRun { idempotency_key: Some("key".into()), ..new_run("r") };
    let theirs = NewRun { tenant: other_tenant(), input: nasty(), ..mine.clone() };
    store.runs.create(mine, None).await.unwrap();
    assert_eq!(store.runs.get(&other_tenant(), &run("r")).await.unwrap(), None);
    store.runs.send(&other_tenant(), &run("r"), signal("s")).await.unwrap_err();
    store.runs.inbox(&other_tenant(), &run("r"), 0).await.unwrap_err();
    assert_eq!(store.runs.list(RunFilter { tenant: other_tenant(), ..RunFilter::default() }).await.unwrap().runs, []);

    let created = store.runs.create(theirs, None).await.unwrap();
    assert!(matches!(created, Created::New(..)), "same id, same key, another tenant: {created:?}");
    store.runs.send(&other_tenant(), &run("r"), signal("s")).await.unwrap();
    assert_eq!(store.runs.inbox(&tenant(), &run("r"), 0).await.unwrap(), []);
    let claims = store.runs.claim(&worker("w"), 10, LONG).await.unwrap();
    let tenants: Vec<_> = claims.iter().map(|claim| claim.lease.tenant.clone()).collect();
    assert_eq!(tenants, [tenant(), other_tenant()]);
    store.journal.append(append(&claims[1].lease, 0, &[], Transition::Finish(finished()))).await.unwrap();
    assert_eq!(store.get("r").await.state, RunState::Running);
    Ok(())
}
