//! The account: what must be true of everything that was acknowledged.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::Expected;
use crate::api::Api;
use crate::ledger::{Counts, Ledger};
use crate::load::{Load, Order};
use crate::workflows::Kind;

/// How long a settled server may make no progress.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a chaos run came to.
#[derive(Default)]
pub struct Account {
    runs: usize,
    children: usize,
    asked_again: usize,
    rescued: usize,
    outcome_unknown: usize,
    hashes: usize,
    replays: usize,
    once: usize,
    idempotent: usize,
    repeated: usize,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} runs acknowledged, {} children, {} orders asked for again, {} runs rescued; 0 lost, 0 stuck, 0 doubled; \
             {} hashes compared, {} runs replayed; {} once effects, none twice, {} with unknown outcome; \
             {} idempotent effects, {} of them requested again under the same key",
            self.runs,
            self.children,
            self.asked_again,
            self.rescued,
            self.hashes,
            self.replays,
            self.once,
            self.outcome_unknown,
            self.idempotent,
            self.repeated,
        )
    }
}

/// Checks that runs acknowledged since the last call are there; gives how many orders have been looked at.
pub async fn still_there(api: &Api, orders: &[Order], checked: usize) -> usize {
    let new = orders[checked..].iter().filter_map(|order| order.run.as_ref());
    for run in new {
        let (status, text) = api.get(&format!("/v1/runs/{run}")).await;
        assert!(status.is_success(), "the acknowledged run {run} is lost: {text}");
    }
    // One that has no answer yet is looked at again.
    checked + orders[checked..].iter().take_while(|order| order.run.is_some()).count()
}

/// Lets everything come to its end, and checks all of it.
pub async fn settle(
    api: &Api,
    load: &Load,
    ledger: &Ledger,
    kinds: &[Kind],
    expected: &Expected,
    directory: &Path,
) -> Account {
    until_answered(load).await;
    until_ended(api).await;
    let orders = load.orders();
    let runs = api.runs("").await;
    let mut account = Account {
        asked_again: orders.iter().filter(|order| order.asked > 1).count(),
        rescued: runs.iter().filter(|run| run["rescues"].is_u64()).count(),
        ..Account::default()
    };
    let by_id: BTreeMap<&str, &Value> = runs.iter().map(|run| (run["id"].as_str().unwrap(), run)).collect();
    for order in &orders {
        let id = order.run.as_deref().unwrap();
        let run = by_id.get(id).unwrap_or_else(|| panic!("the acknowledged run {id} is lost: {order:?}"));
        account.runs += 1;
        if run["error"]["code"] == "ERR_OUTCOME_UNKNOWN" {
            assert_eq!(order.workflow, "acts_once", "{run}");
            account.outcome_unknown += 1;
            continue;
        }
        assert_eq!(run["state"], "succeeded", "{run}");
        assert_eq!(run["content_hash"], expected[&(order.workflow, order.n)].as_str(), "{order:?}: {run}");
        account.hashes += 1;
    }
    account.children = runs.iter().filter(|run| !run["parent"].is_null()).count();
    assert_eq!(runs.len() - account.children, orders.len(), "there are runs that nobody ordered");
    account.replays = replay_all(api, &runs).await;
    replay_files(api, &orders, directory).await;
    account.requests(&ledger.take(), kinds, &orders, &by_id);
    account
}

async fn until_answered(load: &Load) {
    let began = Instant::now();
    while let Some(order) = load.orders().into_iter().find(|order| order.run.is_none()) {
        assert!(began.elapsed() < PATIENCE, "no server answers {order:?}: {:?}", load.complaints());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    load.pause();
}

async fn until_ended(api: &Api) {
    let (mut open, mut since) = (usize::MAX, Instant::now());
    loop {
        let runs = api.runs("queued,running,parked").await;
        if runs.is_empty() {
            return;
        }
        if runs.len() < open {
            (open, since) = (runs.len(), Instant::now());
        }
        assert!(since.elapsed() < PATIENCE, "{open} runs are stuck, among them {}", runs[0]);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Has the server replay every run, children included.
async fn replay_all(api: &Api, runs: &[Value]) -> usize {
    let replays = runs.iter().map(async |run| {
        let replay = api.replay(run["id"].as_str().unwrap()).await;
        assert_eq!((&replay["result"], &replay["content_hash"]), (&json!("match"), &run["content_hash"]), "{replay}");
    });
    futures::stream::iter(replays).buffer_unordered(8).count().await
}

/// Replays one run of each workflow from its golden file, without the server.
async fn replay_files(api: &Api, orders: &[Order], directory: &Path) {
    let last: BTreeMap<_, _> = orders.iter().map(|order| (order.workflow, order.run.as_deref().unwrap())).collect();
    for (workflow, run) in last {
        let (status, golden) = api.get(&format!("/v1/runs/{run}/golden")).await;
        assert!(status.is_success(), "{workflow}: {golden}");
        let file = directory.join(format!("{workflow}.jsonl"));
        std::fs::write(&file, &golden).unwrap();
        let replayed = Command::new(env!("CARGO_BIN_EXE_aos-server")).arg("replay").arg(&file).output().unwrap();
        let (_, text) = api.get(&format!("/v1/runs/{run}")).await;
        let record: Value = serde_json::from_str(&text).unwrap();
        let hash = record["content_hash"].as_str().unwrap();
        assert_eq!(String::from_utf8_lossy(&replayed.stdout), format!("Hash: {hash}\n"), "{workflow}: {replayed:?}");
    }
}

impl Account {
    /// Compares what the ledger has seen with what the runs say.
    fn requests(&mut self, seen: &Counts, kinds: &[Kind], orders: &[Order], runs: &BTreeMap<&str, &Value>) {
        let nothing = BTreeMap::new();
        let seen = |path: &str| seen.get(path).unwrap_or(&nothing);
        let (mut notes, mut downs, mut once) = (0, 0, 0);
        for order in orders {
            let kind = kinds.iter().find(|kind| kind.id == order.workflow).unwrap();
            let unknown = runs[order.run.as_deref().unwrap()]["state"] != "succeeded";
            // A run that ended with an unknown outcome did not come to the note after it.
            notes += (kind.note)(order.n) - usize::from(unknown);
            downs += kind.down;
            once += kind.once;
        }
        for (path, effects) in [("/note", notes), ("/down", downs)] {
            // Every effect has one key, whatever happened in between; asking again is allowed.
            assert_eq!(seen(path).len(), effects, "{path}: as many keys as effects");
            self.idempotent += effects;
        }
        self.repeated = seen("/note").values().filter(|count| **count > 1).count();
        let twice: Vec<_> = seen("/once").iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "once effects that happened more than once: {twice:?}");
        let deeds = seen("/once").len();
        // With an unknown outcome it may have happened or not.
        assert!(deeds <= once && deeds >= once - self.outcome_unknown, "{deeds} of {once} once effects happened");
        self.once = once;
    }
}
