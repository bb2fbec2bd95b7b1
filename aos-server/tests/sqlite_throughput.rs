//! How fast the SQLite backend is, beside the bare commits of the same disk. Run it by hand, on a quiet machine:
//!
//!     cargo test --release -p aos-server --test sqlite_throughput -- --ignored --nocapture

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::{Duration, Instant};

use aos_core::canonical::Hash;
use aos_core::event::{RunFinished, RunStatus};
use aos_core::id::{RunId, TenantId, WorkerId};
use aos_core::journal::{Append, Line, Transition};
use aos_core::money::Money;
use aos_core::payload::Payload;
use aos_core::queue::Priority;
use aos_core::random::Seed;
use aos_core::runs::{Created, FirstLease, NewRun};
use aos_server::backend::sqlite::SqliteStores;

const STEPS: u64 = 5;

#[test]
#[ignore = "a measurement, for a quiet machine"]
fn throughput() {
    // Not the system's temporary directory, which may be kept in memory.
    let dir = tempfile::tempdir_in(".").unwrap();
    for rows in [1, 64] {
        let commits = 2_000;
        let seconds = bare(&dir.path().join(format!("bare-{rows}.db")), rows, commits).as_secs_f64();
        println!("bare SQLite, {rows:2} rows of 200 bytes a commit: {:6.0} commits/s", f64::from(commits) / seconds);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for (concurrent, runs) in [(1, 1_000), (8, 4_000), (64, 30_000)] {
        let path = dir.path().join(format!("stores-{concurrent}.db"));
        runtime.block_on(stores(&path, concurrent, runs));
    }
}

fn bare(path: &Path, rows: u32, commits: u32) -> Duration {
    let conn = rusqlite::Connection::open(path).unwrap();
    let set_up = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (x BLOB NOT NULL)";
    conn.execute_batch(set_up).unwrap();
    let row = [7_u8; 200];
    let mut insert = conn.prepare("INSERT INTO t VALUES (?1)").unwrap();
    let started = Instant::now();
    for _ in 0..commits {
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        for _ in 0..rows {
            insert.execute([&row]).unwrap();
        }
        conn.execute_batch("COMMIT").unwrap();
    }
    started.elapsed()
}

async fn stores(path: &Path, concurrent: usize, runs: usize) {
    let stores = SqliteStores::open(path).await.unwrap();
    let started = Instant::now();
    let tasks: Vec<_> = (0..concurrent)
        .map(|task| {
            let stores = stores.clone();
            tokio::spawn(async move {
                let mut took = Vec::with_capacity(runs / concurrent * (STEPS as usize + 1));
                for index in 0..runs / concurrent {
                    run(&stores, &format!("run-{task}-{index}"), &mut took).await;
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.unwrap());
    }
    let seconds = started.elapsed().as_secs_f64();
    took.sort_unstable();
    let percentile = |p: usize| took[(took.len() - 1) * p / 100];
    println!(
        "stores, {concurrent:2} runs at a time: {:6.0} steps/s, {:6.0} appends/s; append p50 {:?} p99 {:?}",
        (runs / concurrent * concurrent) as f64 * STEPS as f64 / seconds,
        took.len() as f64 / seconds,
        percentile(50),
        percentile(99),
    );
    stores.close().await;
}

/// A run of `STEPS` steps, each with a result and the next request: two lines an append.
async fn run(stores: &SqliteStores, id: &str, took: &mut Vec<Duration>) {
    let new = NewRun {
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
    };
    let claim = Some(FirstLease::new(WorkerId::new("w").unwrap(), Duration::from_secs(30)));
    let Created::New(_, Some(lease)) = stores.runs().create(new, claim).await.unwrap() else { panic!("{id} exists") };
    let lines = [Line::new("x".repeat(400)), Line::new("y".repeat(300))];
    let finished = RunFinished {
        status: RunStatus::Succeeded,
        output: Some(Payload::null()),
        failure: None,
        cost: Money::ZERO,
        content_hash: Hash::ZERO,
    };
    for step in 0..=STEPS {
        let transition = if step == STEPS { Transition::Finish(finished.clone()) } else { Transition::Continue };
        let append = Append {
            lease: lease.clone(),
            first_index: step * 2,
            lines: lines.to_vec(),
            blobs: Vec::new(),
            transition,
        };
        let started = Instant::now();
        stores.journal().append(append).await.unwrap();
        took.push(started.elapsed());
    }
}
