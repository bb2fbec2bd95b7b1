//! Postgres behind a network that fails: what its stores do then.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aos_core::Payload;
use aos_core::canonical::Hash;
use aos_core::id::{RunId, TenantId, WorkerId};
use aos_core::journal::Line;
use aos_core::queue::Priority;
use aos_core::random::Seed;
use aos_core::runs::{Created, FirstLease, NewRun, RunStore};
use aos_core::time::Clock as _;
use aos_server::backend::postgres::PostgresStores;
use aos_server::clock::SystemClock;
use aos_testkit::service::{Database, Postgres, Proxy, Way};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// Stores that reach a database of their own through a proxy.
async fn stores() -> (Proxy, Database, PostgresStores) {
    let postgres = Postgres::shared();
    let database = postgres.database().unwrap();
    let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], postgres.port()))).unwrap();
    let url = format!("postgres://aos@{}/{}", proxy.address(), database.name);
    (proxy, database, PostgresStores::open(&url).await.unwrap())
}

/// Reads as often as there are connections, at the same time; gives how often that failed.
async fn read(runs: &Arc<dyn RunStore>) -> usize {
    let (tenant, run) = (TenantId::default(), RunId::new("none").unwrap());
    let reads = (0..24).map(async |_| usize::from(runs.get(&tenant, &run).await.is_err()));
    futures::future::join_all(reads).await.into_iter().sum()
}

#[tokio::test]
async fn one_failure_is_enough_to_ask_all_connections_whether_they_live() {
    let (proxy, _database, stores) = stores().await;
    let runs = stores.runs();
    assert_eq!(read(&runs).await, 0);
    let connections = proxy.connections();
    assert!(connections > 8, "only {connections} connections are in use");
    proxy.cut();
    let (tenant, run) = (TenantId::default(), RunId::new("none").unwrap());
    let mut failed = 0;
    for _ in 0..connections {
        failed += usize::from(runs.get(&tenant, &run).await.is_err());
    }
    assert!(failed <= 1, "{failed} reads failed");
}

#[tokio::test]
async fn connections_that_were_swallowed_are_given_up() {
    let (proxy, _database, stores) = stores().await;
    let runs = stores.runs();
    assert_eq!(read(&runs).await, 0);
    proxy.strand();
    let began = Instant::now();
    while read(&runs).await > 0 {
        assert!(began.elapsed() < LONG, "the stores wait for connections that are dead");
    }
    assert_eq!(read(&runs).await, 0);
}

#[tokio::test]
async fn a_read_only_server_is_left() {
    let (proxy, database, stores) = stores().await;
    let (runs, worker) = (stores.runs(), WorkerId::new("w").unwrap());
    let postgres = Postgres::shared();
    assert_eq!(read(&runs).await, 0);
    // Of new connections only the next ones are writable.
    let set = |to: &str| format!("ALTER DATABASE {} SET default_transaction_read_only = {to}", database.name);
    postgres.sql("postgres", &set("on")).unwrap();
    proxy.cut();
    assert!(read(&runs).await > 0);
    let began = Instant::now();
    while runs.claim(&worker, 1, LONG).await.is_ok() {
        assert!(began.elapsed() < LONG, "a claim succeeds on a read-only server");
    }
    postgres.sql("postgres", &set("off")).unwrap();
    assert_eq!(runs.claim(&worker, 1, LONG).await.map(|claims| claims.len()).ok(), Some(0));
}

#[tokio::test]
async fn the_clock_is_the_databases() {
    let (_proxy, database, stores) = stores().await;
    let apart = |stores: &PostgresStores| stores.clock().now().since(SystemClock.now());
    assert!(apart(&stores) < LONG);
    let later = "CREATE OR REPLACE FUNCTION aos_now() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS
                 'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 3600000'";
    Postgres::shared().sql(&database.name, later).unwrap();
    let stores = PostgresStores::open(&database.url).await.unwrap();
    let apart = apart(&stores);
    assert!(apart > Duration::from_secs(3_500) && apart < Duration::from_secs(3_700), "{apart:?}");
    stores.clock().sleep_until(stores.clock().now()).await;
}

fn new_run(id: &str) -> NewRun {
    NewRun {
        run: RunId::new(id).unwrap(),
        tenant: TenantId::default(),
        workflow: "flow@1.0.0".parse().unwrap(),
        plan: Hash::ZERO,
        input: Payload::null(),
        seed: Seed::new(1),
        budget: None,
        parent: None,
        forked_from: None,
        idempotency_key: None,
        request_id: None,
        api_key: None,
        trace: None,
        priority: Priority::default(),
        start_at: None,
    }
}

fn beginning(lines: &[&str]) -> Option<FirstLease> {
    let lines = lines.iter().map(|line| Line::new(*line)).collect();
    Some(FirstLease { lines, ..FirstLease::new(WorkerId::new("w").unwrap(), LONG) })
}

/// The creation is sent again, and is this process' own when the run begins with the same entries. What was begun
/// otherwise is not for whoever asks now.
#[tokio::test]
async fn a_creation_whose_answer_is_lost_is_known_by_its_beginning() {
    type Entries = &'static [&'static str];
    let cases: &[(Option<Entries>, Entries, bool)] = &[
        (None, &[], true),
        (None, &["one"], true),
        (None, &["one", "two"], true),
        (Some(&["one"]), &["one"], true),
        (Some(&["one"]), &["other"], false),
        (Some(&["one"]), &[], false),
        (Some(&[]), &["other"], false),
    ];
    for (before, lines, is_own) in cases {
        // A connection that fails makes the others doubtful: a fresh start for each case.
        let (proxy, _database, stores) = stores().await;
        let (runs, journal, new) = (stores.runs(), stores.journal(), new_run("r"));
        // Every connection that creates has the statement now, so that what is cut off is an answer.
        for number in 0..16 {
            runs.create(new_run(&format!("before-{number}")), beginning(&[])).await.unwrap();
        }
        if let Some(before) = before {
            runs.create(new.clone(), beginning(before)).await.unwrap();
        }
        proxy.cut_after(Way::ToClient, 0);
        let created = runs.create(new.clone(), beginning(lines)).await.unwrap();
        assert_eq!(matches!(created, Created::New(_, Some(_))), *is_own, "{before:?}, {lines:?}: {created:?}");
        assert_eq!(proxy.cuts(), 1);
        let written: Vec<Line> = before.unwrap_or(lines).iter().map(|line| Line::new(*line)).collect();
        assert_eq!(journal.read(&new.tenant, &new.run, 0, 10).await.unwrap(), written);
    }
}
