//! Messages, and waiting for them.

use aos_core::journal::Transition;
use aos_core::runs::{InboxItem, Message, RunState, StoreError};
use aos_core::time::Timestamp;
use serde_json::json;

use crate::conformance::fixture::{Runs, append, is_pending, park, payload, poll_once, race, run, signal, tenant};
use crate::conformance::{Backend, Outcome};

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
