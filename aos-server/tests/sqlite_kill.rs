//! kill -9 at any moment loses nothing that was acknowledged.
//!
//! The test starts itself as a child that appends under load and reports each acknowledgement over a pipe, kills it
//! at a moment drawn from a seed, and looks into the file.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use aos_core::canonical::Hash;
use aos_core::id::{RunId, TenantId, WorkerId};
use aos_core::journal::{Append, Line, Transition};
use aos_core::payload::Payload;
use aos_core::queue::Priority;
use aos_core::random::{Rng, Seed};
use aos_core::runs::{Created, FirstLease, NewRun};
use aos_server::backend::sqlite::SqliteStores;

const ROLE: &str = "AOS_TEST_SQLITE_KILL";
const RUNS: usize = 16;

#[test]
fn nothing_acknowledged_is_lost() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(path) = std::env::var_os(ROLE) {
        return runtime.block_on(append_for_ever(Path::new(&path)));
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("aos.db");
    let mut rng = Rng::new(Seed::new(4), "kill");
    for round in 0..8 {
        let acknowledged = kill_under_load(&path, 1 + rng.below(400) as usize);
        let lines = runtime.block_on(journals(&path, acknowledged.keys()));
        for (run, count) in acknowledged {
            let found = &lines[&run];
            assert!(found.len() >= count, "round {round}: run {run} has {} of {count} lines", found.len());
            let expected: Vec<Line> = (0..found.len()).map(|index| line(&run, index)).collect();
            assert!(*found == expected, "round {round}: run {run}");
            assert_eq!(found.len() % 2, 0, "round {round}: an append of run {run} is there in part");
        }
    }
}

/// Kills a loaded child after that many acknowledgements; gives how many lines of which run were acknowledged.
fn kill_under_load(path: &Path, after: usize) -> BTreeMap<String, usize> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "nothing_acknowledged_is_lost", "--nocapture"])
        .env(ROLE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = BTreeMap::new();
    let mut take = |line: String| {
        // The last line may be cut, and the test harness writes some of its own.
        let words: Vec<&str> = line.split(' ').collect();
        if let ["ack", run, count, "."] = words[..] {
            acknowledged.insert(run.to_owned(), count.parse().unwrap());
        }
    };
    output.by_ref().take(after).map_while(Result::ok).for_each(&mut take);
    child.kill().unwrap();
    output.map_while(Result::ok).for_each(&mut take);
    child.wait().unwrap();
    assert!(!acknowledged.is_empty() || after < 10, "the child wrote nothing");
    acknowledged
}

async fn append_for_ever(path: &Path) {
    let stores = SqliteStores::open(path).await.unwrap();
    let process = std::process::id();
    let tasks: Vec<_> =
        (0..RUNS).map(|index| tokio::spawn(append_to(stores.clone(), format!("{process}-{index}")))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn append_to(stores: SqliteStores, id: String) {
    let new = NewRun {
        run: RunId::new(&id).unwrap(),
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
    let claim = Some(FirstLease::new(WorkerId::new("w").unwrap(), Duration::from_secs(60)));
    let Created::New(_, Some(lease)) = stores.runs().create(new, claim).await.unwrap() else { panic!("{id} exists") };
    for first in (0..).step_by(2) {
        let append = Append {
            lease: lease.clone(),
            first_index: first as u64,
            lines: vec![line(&id, first), line(&id, first + 1)],
            blobs: Vec::new(),
            transition: Transition::Continue,
        };
        stores.journal().append(append).await.unwrap();
        let acknowledgement = format!("ack {id} {} .\n", first + 2);
        // The parent is gone: so is the reason to go on.
        if std::io::stdout().write_all(acknowledgement.as_bytes()).is_err() {
            return;
        }
    }
}

fn line(run: &str, index: usize) -> Line {
    Line::new(format!("{{\"index\":{index},\"run\":\"{run}\",\"text\":\"{}\"}}", "x".repeat(200)))
}

async fn journals(path: &Path, runs: impl Iterator<Item = &String>) -> BTreeMap<String, Vec<Line>> {
    let stores = SqliteStores::open(path).await.unwrap();
    let mut journals = BTreeMap::new();
    for run in runs {
        let id = RunId::new(run).unwrap();
        let lines = stores.journal().read(&TenantId::default(), &id, 0, usize::MAX).await.unwrap();
        journals.insert(run.clone(), lines);
    }
    stores.close().await;
    journals
}
