//! The contract of [`RunStore`](aos_core::runs::RunStore).

use std::collections::BTreeSet;
use std::slice::from_ref;
use std::time::Duration;

use aos_core::event::Fork;
use aos_core::id::EffectId;
use aos_core::journal::Transition;
use aos_core::money::Money;
use aos_core::random::Seed;
use aos_core::runs::{Created, InboxItem, Lease, Message, NewRun, RunFilter, RunState, StoreError};
use aos_core::time::Timestamp;
use serde_json::json;

use super::fixture::{
    LEASE, LONG, Runs, append, finished, is_pending, nasty, new_run, other_tenant, payload, poll_once, race, run,
    tenant, worker,
};
use super::{Backend, Outcome};

fn signal(name: &str) -> Message {
    Message::Signal { name: name.into(), payload: nasty() }
}

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
    let claim = || Some((worker("w"), LONG));
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

/// Of racing creations under one key, one makes the run; the others get it.
pub async fn racing_creations_make_one_run(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    for round in 0..5 {
        let results = race(backend, 8, |racer| {
            let runs = store.runs.clone();
            let key = Some(format!("key {round}"));
            let new = NewRun { idempotency_key: key, input: nasty(), ..new_run(&format!("r{round}-{racer}")) };
            Box::pin(async move { runs.create(new, Some((worker("w"), LONG))).await.unwrap() })
        });
        let made = results.iter().filter(|created| matches!(created, Created::New(_, Some(_)))).count();
        let ids: BTreeSet<_> = results
            .iter()
            .map(|created| match created {
                Created::New(record, _) | Created::Existing(record) => record.new.run.clone(),
            })
            .collect();
        assert_eq!((made, ids.len()), (1, 1), "{results:?}");
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

/// Claims are given oldest first, at most as many as asked for.
pub async fn oldest_is_claimed_first(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    for id in ["c", "a", "b", "e", "d"] {
        store.create(id).await;
    }
    assert_eq!(store.runs.claim(&worker("w"), 0, LONG).await.unwrap(), []);
    let mut order = Vec::new();
    for max in [1, 2, 100, 100] {
        let claims = store.runs.claim(&worker("w"), max, LONG).await.unwrap();
        assert!(claims.len() <= max);
        for claim in claims {
            assert_eq!(claim.record, store.get(claim.record.new.run.as_str()).await);
            assert_eq!((claim.record.state, claim.record.rescues), (RunState::Running, 0));
            order.push(claim.lease.run.to_string());
        }
    }
    assert_eq!(order, ["c", "a", "b", "e", "d"]);
    Ok(())
}

/// However many claim at once, each run goes to one of them.
pub async fn racing_claims_give_each_run_once(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    for index in 0..60 {
        store.create(&format!("r{index}")).await;
    }
    let claimed = race(backend, 16, |racer| {
        let runs = store.runs.clone();
        Box::pin(async move {
            let (worker, mut mine) = (worker(&format!("w{racer}")), Vec::new());
            loop {
                let claims = runs.claim(&worker, 1 + racer % 3, LONG).await.unwrap();
                if claims.is_empty() {
                    return mine;
                }
                mine.extend(claims.into_iter().map(|claim| claim.lease));
            }
        })
    });
    let leases: Vec<Lease> = claimed.into_iter().flatten().collect();
    let distinct: BTreeSet<_> = leases.iter().map(|lease| lease.run.clone()).collect();
    assert_eq!((leases.len(), distinct.len()), (60, 60));
    for lease in &leases {
        store.finish(lease).await;
    }
    Ok(())
}

/// Every claim of a run raises its epoch.
pub async fn epochs_rise(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let mut last = store.leased("r").await;
    store.runs.release(&last).await.unwrap();
    for round in 0..6 {
        let lease = store.claim_one("w").await.unwrap();
        assert!(lease.epoch > last.epoch);
        if round % 2 == 0 {
            store.runs.release(&lease).await.unwrap();
        } else {
            let park = Transition::Park { wake_at: Some(Timestamp::EPOCH), inbox_seen: 0 };
            store.journal.append(append(&lease, 0, &[], park)).await.unwrap();
        }
        last = lease;
    }
    Ok(())
}

/// A lease whose deadline has passed can be claimed by another, which counts as a rescue; not before.
pub async fn an_expired_lease_is_rescued_and_counted(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    store.create("r").await;
    store.claim_one("w0").await.unwrap();
    for rescue in 1..4 {
        store.roles.pass(LEASE - Duration::from_secs(1)).await?;
        assert!(store.claim_one("early").await.is_none());
        store.roles.pass(Duration::from_secs(2)).await?;
        let lease = store.claim_one(&format!("w{rescue}")).await.unwrap();
        assert_eq!(lease.epoch, u64::from(rescue) + 1);
        assert_eq!(store.get("r").await.rescues, rescue);
    }
    Ok(())
}

/// A worker that was taken for dead and comes back can't write, prolong or release.
pub async fn a_rescued_run_leaves_the_zombie_fenced(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    store.create("r").await;
    let zombie = store.claim_one("w").await.unwrap();
    store.roles.pass(LEASE * 2).await?;
    let heir = store.claim_one("w").await.unwrap();
    let error = store.journal.append(append(&zombie, 0, &["late"], Transition::Continue)).await.unwrap_err();
    assert!(matches!(error, StoreError::Fenced { .. }), "{error:?}");
    let lost = store.runs.heartbeat(&[zombie.clone(), heir.clone()], LEASE).await.unwrap();
    assert_eq!(lost, from_ref(&zombie));
    store.runs.release(&zombie).await.unwrap();
    store.journal.append(append(&heir, 0, &["mine"], Transition::Continue)).await.unwrap();
    Ok(())
}

/// A heartbeat prolongs a lease from now on, also one past its deadline that nobody has claimed.
pub async fn a_heartbeat_prolongs(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    store.create("r").await;
    let lease = store.claim_one("w").await.unwrap();
    for _ in 0..3 {
        store.roles.pass(LEASE - Duration::from_secs(1)).await?;
        assert_eq!(store.runs.heartbeat(from_ref(&lease), LEASE).await.unwrap(), []);
        assert!(store.claim_one("other").await.is_none());
    }
    store.roles.pass(LEASE * 2).await?;
    assert_eq!(store.runs.heartbeat(from_ref(&lease), LEASE).await.unwrap(), []);
    assert!(store.claim_one("other").await.is_none());
    assert_eq!(store.get("r").await.rescues, 0);
    Ok(())
}

/// A heartbeat gives back the leases that are no longer current, and only those.
pub async fn a_heartbeat_tells_what_is_lost(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let (kept, released, ended) = (store.leased("a").await, store.leased("b").await, store.leased("c").await);
    store.runs.release(&released).await.unwrap();
    store.finish(&ended).await;
    let unknown = Lease { run: run("nobody"), ..kept.clone() };
    let foreign = Lease { tenant: other_tenant(), ..kept.clone() };
    let lost = vec![released, ended, unknown, foreign];
    let mut all = lost.clone();
    all.insert(2, kept.clone());
    assert_eq!(store.runs.heartbeat(&all, LONG).await.unwrap(), lost);
    assert_eq!(store.runs.heartbeat(&[], LONG).await.unwrap(), []);
    store.journal.append(append(&kept, 0, &["one"], Transition::Continue)).await.unwrap();
    Ok(())
}

/// A released run is queued again, and its next claim is no rescue.
pub async fn a_released_run_is_queued(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    store.runs.release(&lease).await.unwrap();
    assert_eq!(store.get("r").await.state, RunState::Queued);
    let claim = store.claim_one("other").await.unwrap();
    assert!(claim.epoch > lease.epoch);
    assert_eq!(store.get("r").await.rescues, 0);
    Ok(())
}

/// Releasing a stale lease changes nothing and is `Ok`.
pub async fn releasing_a_stale_lease_is_harmless(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    let before = store.get("r").await;
    for stale in [
        Lease { epoch: lease.epoch + 1, ..lease.clone() },
        Lease { worker: worker("stranger"), ..lease.clone() },
        Lease { tenant: other_tenant(), ..lease.clone() },
        Lease { run: run("nobody"), ..lease.clone() },
    ] {
        store.runs.release(&stale).await.unwrap();
    }
    assert_eq!(store.get("r").await, before);
    store.finish(&lease).await;
    store.runs.release(&lease).await.unwrap();
    assert_eq!(store.get("r").await.state, RunState::Succeeded);
    Ok(())
}

async fn park(store: &Runs, id: &str, wake_at: Option<Timestamp>, inbox_seen: u64) {
    let lease = store.leased(id).await;
    store.journal.append(append(&lease, 0, &[], Transition::Park { wake_at, inbox_seen })).await.unwrap();
}

/// A parked run is claimable when its wake time has come, and not before.
pub async fn a_parked_run_wakes_by_time(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    store.leased("other").await;
    // The wake time counts by the store's clock, which only a record shows.
    let now = store.get("other").await.created_at;
    park(&store, "r", Some(now.saturating_add(LEASE)), 0).await;
    assert!(store.claim_one("w").await.is_none());
    store.roles.pass(LEASE - Duration::from_secs(1)).await?;
    assert!(store.claim_one("w").await.is_none());
    store.roles.pass(Duration::from_secs(2)).await?;
    assert_eq!(store.claim_one("w").await.unwrap().run, run("r"));
    assert_eq!(store.get("r").await.rescues, 0);
    Ok(())
}

/// A message wakes a parked run, however far its wake time.
pub async fn a_parked_run_wakes_by_message(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    for (id, wake_at) in [("none", None), ("far", Some(Timestamp::MAX))] {
        park(&store, id, wake_at, 0).await;
        assert!(store.claim_one("w").await.is_none());
        store.runs.send(&tenant(), &run(id), signal("go")).await.unwrap();
        assert_eq!(store.get(id).await.state, RunState::Parked);
        assert_eq!(store.claim_one("w").await.unwrap().run, run(id));
    }
    Ok(())
}

/// A message between the journal's last look and the parking is not slept through; one it has seen does not wake.
pub async fn a_message_that_came_before_parking_wakes(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    store.runs.send(&tenant(), &run("r"), signal("one")).await.unwrap();
    store.runs.send(&tenant(), &run("r"), signal("two")).await.unwrap();
    let park = |inbox_seen| Transition::Park { wake_at: None, inbox_seen };
    store.journal.append(append(&lease, 0, &[], park(1))).await.unwrap();
    let lease = store.claim_one("w").await.unwrap();
    store.journal.append(append(&lease, 0, &[], park(2))).await.unwrap();
    assert!(store.claim_one("w").await.is_none());
    Ok(())
}

/// Nothing happens to a run after its end.
pub async fn a_finished_run_is_never_claimed(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    store.finish(&lease).await;
    assert!(store.claim_one("w").await.is_none());
    store.roles.pass(LONG * 2).await?;
    assert!(store.claim_one("w").await.is_none());
    Ok(())
}

/// Inbox numbers of a run rise from 1 without gaps, per run.
pub async fn inbox_numbers_have_no_gaps(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    store.create("a").await;
    store.leased("b").await;
    for seq in 1..=5 {
        for id in ["a", "b"] {
            assert_eq!(store.runs.send(&tenant(), &run(id), signal("s")).await.unwrap(), seq);
        }
        store.runs.send(&tenant(), &run("nobody"), signal("s")).await.unwrap_err();
    }
    Ok(())
}

/// Messages sent at once get a number each.
pub async fn racing_messages_get_their_own_numbers(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    store.create("r").await;
    let sent = race(backend, 16, |racer| {
        let runs = store.runs.clone();
        Box::pin(async move {
            let mut seqs = Vec::new();
            for index in 0..4 {
                let seq = runs.send(&tenant(), &run("r"), signal(&format!("{racer}.{index}"))).await.unwrap();
                seqs.push((seq, format!("{racer}.{index}")));
            }
            seqs
        })
    });
    let mut sent: Vec<_> = sent.into_iter().flatten().collect();
    sent.sort_unstable();
    assert!(sent.iter().map(|(seq, _)| *seq).eq(1..=64));
    let items = store.runs.inbox(&tenant(), &run("r"), 0).await.unwrap();
    let names = items.iter().map(|item| match &item.message {
        Message::Signal { name, .. } => (item.seq, name.clone()),
        Message::Cancel { .. } => panic!("nobody cancelled"),
    });
    assert!(names.eq(sent), "each number has the message it was given for");
    Ok(())
}

/// Messages come back as they were sent, oldest first, from any number on.
pub async fn messages_come_back_as_sent(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    store.create("r").await;
    assert_eq!(store.runs.inbox(&tenant(), &run("r"), 0).await.unwrap(), []);
    let messages = [
        signal("approve"),
        Message::Cancel { reason: "\u{0}'; 👩‍👩‍👧\n".into() },
        Message::Signal { name: "\u{0}n\n".into(), payload: payload(json!(null)) },
        Message::Cancel { reason: String::new() },
        Message::Signal { name: String::new(), payload: payload(json!("x".repeat(1_000_000))) },
    ];
    for message in &messages {
        store.runs.send(&tenant(), &run("r"), message.clone()).await.unwrap();
    }
    let all: Vec<InboxItem> = (1..).zip(messages).map(|(seq, message)| InboxItem { seq, message }).collect();
    for after in 0..=all.len() + 1 {
        let items = store.runs.inbox(&tenant(), &run("r"), after as u64).await.unwrap();
        assert!(items == all[after.min(all.len())..], "after {after}");
    }
    assert_eq!(store.runs.inbox(&tenant(), &run("r"), u64::MAX).await.unwrap(), []);
    Ok(())
}

/// A message to a run in a terminal state is a conflict.
pub async fn a_message_to_an_ended_run_is_refused(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    store.runs.send(&tenant(), &run("r"), signal("in time")).await.unwrap();
    store.finish(&lease).await;
    let error = store.runs.send(&tenant(), &run("r"), signal("late")).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error:?}");
    assert_eq!(store.runs.inbox(&tenant(), &run("r"), 0).await.unwrap().len(), 1);
    Ok(())
}

/// A message to a run that is not there is `NotFound`.
pub async fn a_message_to_an_unknown_run_is_refused(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let error = store.runs.send(&tenant(), &run("nobody"), signal("s")).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
    let error = store.runs.inbox(&tenant(), &run("nobody"), 0).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
    Ok(())
}

/// `changed` resolves once there is an item after `after`.
pub async fn changed_resolves_for_a_message(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    store.create("r").await;
    for after in 0..20 {
        let mut waiting = store.runs.changed(&tenant(), &run("r"), after);
        // Half of the rounds, the wait has begun before the message is sent; else it begins after.
        if after % 2 == 0 {
            poll_once(&mut waiting).await;
        }
        store.runs.send(&tenant(), &run("r"), signal("s")).await.unwrap();
        waiting.await;
    }
    let mut many: Vec<_> = (0..10).map(|_| store.runs.changed(&tenant(), &run("r"), 20)).collect();
    for waiting in &mut many {
        assert!(is_pending(waiting).await);
    }
    store.runs.send(&tenant(), &run("r"), signal("s")).await.unwrap();
    for waiting in many {
        waiting.await;
    }
    Ok(())
}

/// `changed` resolves once the run has ended.
pub async fn changed_resolves_for_the_end(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    let mut waiting = store.runs.changed(&tenant(), &run("r"), 0);
    poll_once(&mut waiting).await;
    store.finish(&lease).await;
    waiting.await;
    Ok(())
}

/// `changed` resolves for what happened before it was asked.
pub async fn changed_resolves_for_what_was_there_before(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let lease = store.leased("r").await;
    store.runs.send(&tenant(), &run("r"), signal("s")).await.unwrap();
    store.runs.changed(&tenant(), &run("r"), 0).await;
    store.finish(&lease).await;
    store.runs.changed(&tenant(), &run("r"), 99).await;
    Ok(())
}

/// `changed` resolves also for changes made by other processes.
pub async fn changed_hears_another_process(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    let again = store.roles.again().await?.need_runs()?;
    store.create("r").await;
    let mut waiting = store.runs.changed(&tenant(), &run("r"), 0);
    assert!(is_pending(&mut waiting).await);
    again.send(&tenant(), &run("r"), signal("s")).await.unwrap();
    waiting.await;
    Ok(())
}

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
    store.runs.create(child, Some((worker("w"), LONG))).await.unwrap();
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
        assert_eq!((ids, found.next), (expected, None), "{filter:?}");
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
    let stats = store.runs.stats().await.unwrap();
    let expected = [(RunState::Queued, 2), (RunState::Running, 1), (RunState::Parked, 1), (RunState::Dead, 0)];
    assert_eq!(stats.by_state, expected);
    assert_eq!(stats.oldest, Some(oldest));
    store.runs.claim(&worker("w"), 10, LONG).await.unwrap();
    assert_eq!(store.runs.stats().await.unwrap().oldest, None);
    Ok(())
}

/// A dropped `create` future has made the whole run or nothing, and the store goes on working.
pub async fn a_dropped_create_is_whole_or_nothing(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    for index in 0..20 {
        let new = NewRun { idempotency_key: Some(format!("key{index}")), ..new_run(&format!("r{index}")) };
        let future = store.runs.create(new.clone(), None);
        if index % 2 == 0 {
            poll_once(future).await;
        } else {
            drop(future);
        }
        match store.runs.create(new.clone(), None).await.unwrap() {
            Created::New(record, None) | Created::Existing(record) => assert_eq!(record.new, new),
            Created::New(..) => panic!("nobody asked for a lease"),
        }
    }
    assert_eq!(store.runs.claim(&worker("w"), 100, LONG).await.unwrap().len(), 20);
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
