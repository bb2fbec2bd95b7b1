//! The contract of [`WorkerStore`].

use std::time::Duration;

use aos_core::workers::{WorkerRecord, WorkerReport, WorkerStore};

use super::fixture::{LONG, NASTY, race, readable, worker};
use super::{Backend, Outcome};

const TTL: Duration = Duration::from_secs(30);

fn report(name: &str) -> WorkerReport {
    WorkerReport {
        worker: worker(name),
        role: "worker".into(),
        host: "host-1".into(),
        pid: u32::MAX,
        version: "1.2.3".into(),
        concurrency: 64,
        in_hand: 7,
        draining: false,
    }
}

async fn only(store: &dyn WorkerStore) -> WorkerRecord {
    let mut workers = store.list().await.unwrap();
    assert_eq!(workers.len(), 1, "{workers:?}");
    workers.remove(0)
}

/// `list` gives what `report` was given, and when that was.
pub async fn what_was_reported_is_listed(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_workers()?;
    assert_eq!(store.list().await.unwrap(), []);
    let given = WorkerReport { role: NASTY.into(), host: NASTY.into(), version: NASTY.into(), ..report("w:1.a-b_c") };
    store.report(&given, LONG).await.unwrap();
    let listed = only(&*store).await;
    assert!(listed.alive);
    assert_eq!(listed.seen_at, listed.since);
    let same = |report: &WorkerReport| WorkerReport {
        role: readable(&report.role),
        host: readable(&report.host),
        version: readable(&report.version),
        ..report.clone()
    };
    assert_eq!(same(&listed.report), same(&given));
    Ok(())
}

/// A report replaces what a worker said before; the time it was first heard of stays.
pub async fn a_report_replaces_the_one_before(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_workers()?;
    store.report(&report("w"), LONG).await.unwrap();
    let first = only(&*store).await;
    roles.pass(Duration::from_secs(5)).await?;
    let second = WorkerReport {
        role: "serve".into(),
        host: "host-2".into(),
        pid: 0,
        version: "1.2.4".into(),
        concurrency: u32::MAX,
        in_hand: 0,
        draining: true,
        ..report("w")
    };
    store.report(&second, LONG).await.unwrap();
    let listed = only(&*store).await;
    assert_eq!(listed.report, second);
    assert_eq!(listed.since, first.since);
    assert!(listed.seen_at >= first.seen_at.saturating_add(Duration::from_secs(5)), "{listed:?}");
    Ok(())
}

/// A worker is alive for as long as its last report said, and listed after that; it can come back.
pub async fn a_silent_worker_is_not_alive(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_workers()?;
    store.report(&report("w"), TTL).await.unwrap();
    let since = only(&*store).await.since;
    for (ttl, pass, alive) in [(TTL, TTL / 2, true), (TTL, TTL / 2, true), (TTL, TTL * 2, false), (LONG, TTL * 2, true)]
    {
        store.report(&report("w"), ttl).await.unwrap();
        assert!(only(&*store).await.alive);
        roles.pass(pass).await?;
        let listed = only(&*store).await;
        assert_eq!((listed.alive, listed.since), (alive, since), "{ttl:?} {pass:?}");
    }
    Ok(())
}

/// `leave` forgets a worker, whether or not it is known.
pub async fn a_worker_that_left_is_forgotten(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_workers()?;
    store.report(&report("w"), LONG).await.unwrap();
    store.report(&report("other"), LONG).await.unwrap();
    let since = store.list().await.unwrap()[1].since;
    for name in ["w", "w", "nobody"] {
        store.leave(&worker(name)).await.unwrap();
    }
    assert_eq!(only(&*store).await.report, report("other"));
    roles.pass(Duration::from_secs(5)).await?;
    store.report(&report("w"), LONG).await.unwrap();
    let back = store.list().await.unwrap().pop().unwrap();
    assert!(back.since > since, "it is a new one");
    Ok(())
}

/// Workers are listed by name.
pub async fn workers_are_listed_by_name(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_workers()?;
    for name in ["b", "a.2", "B", "a-10", "a", "a:1", "a_1"] {
        store.report(&report(name), LONG).await.unwrap();
    }
    let listed = store.list().await.unwrap();
    let names: Vec<&str> = listed.iter().map(|record| record.report.worker.as_str()).collect();
    assert_eq!(names, ["B", "a", "a-10", "a.2", "a:1", "a_1", "b"]);
    Ok(())
}

/// However many reports of however many workers come at once, each worker is listed once.
pub async fn racing_reports_make_one_worker(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_workers()?;
    let results = race(backend, 8, |racer| {
        let store = store.clone();
        let name = if racer % 2 == 0 { "even" } else { "odd" };
        Box::pin(async move { store.report(&report(name), LONG).await })
    });
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let listed = store.list().await.unwrap();
    assert_eq!(listed.iter().map(|record| record.report.worker.as_str()).collect::<Vec<_>>(), ["even", "odd"]);
    Ok(())
}

/// A report is seen by whoever else has the data open.
pub async fn is_there_for_another_process(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let (store, again) = (roles.need_workers()?, roles.again().await?);
    let again = again.need_workers()?;
    store.report(&report("w"), LONG).await.unwrap();
    assert_eq!(only(&*again).await, only(&*store).await);
    again.leave(&worker("w")).await.unwrap();
    assert_eq!(store.list().await.unwrap(), []);
    Ok(())
}
