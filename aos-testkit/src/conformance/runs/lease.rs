//! Claims, epochs, deadlines and rescues.

use std::collections::BTreeSet;
use std::slice::from_ref;
use std::time::Duration;

use aos_core::journal::Transition;
use aos_core::runs::{Lease, RunState, StoreError};
use aos_core::time::Timestamp;

use crate::conformance::fixture::{LEASE, LONG, Runs, append, other_tenant, park, race, run, worker};
use crate::conformance::{Backend, Outcome};

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

/// What counts is how many workers in a row died with a run in the same place.
pub async fn a_run_that_gets_further_is_rescued_from_one_again(backend: &dyn Backend) -> Outcome {
    let store = Runs::fresh(backend).await?;
    store.create("r").await;
    let mut lease = store.claim_one("w").await.unwrap();
    // What each worker appends before it dies, and the rescues that the next one sees.
    let lives: [(&[&str], u32); 5] = [(&["a", "b"], 1), (&[], 2), (&[], 3), (&["c"], 1), (&[], 2)];
    let mut entries = 0;
    for (lines, rescues) in lives {
        if !lines.is_empty() {
            store.journal.append(append(&lease, entries, lines, Transition::Continue)).await.unwrap();
            entries += lines.len() as u64;
        }
        store.roles.pass(LEASE * 2).await?;
        lease = store.claim_one("w").await.unwrap();
        assert_eq!(store.get("r").await.rescues, rescues, "after {entries} entries");
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
