//! The account: what must be true of everything that was acknowledged.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::api::Api;
use crate::expected::Expected;
use crate::ledger::{Counts, Ledger};
use crate::load::{Load, Order};
use crate::workflows::Kind;

/// How long settled servers may make no progress.
const PATIENCE: Duration = Duration::from_secs(60);

/// What runs must come to, and what they have come to so far.
pub struct Account<'a> {
    kinds: &'a [Kind],
    expected: &'a Expected,
    /// Orders whose runs have been seen once more after their acknowledgement.
    seen: usize,
    /// Orders that are accounted for.
    runs: usize,
    children: usize,
    asked_again: usize,
    rescued: usize,
    outcome_unknown: usize,
    hashes: usize,
    replays: usize,
    /// Effects of the accounted runs.
    notes: usize,
    downs: usize,
    once: usize,
    /// `/note` effects that were requested more than once.
    repeated: usize,
}

impl fmt::Display for Account<'_> {
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
            self.notes + self.downs,
            self.repeated,
        )
    }
}

impl<'a> Account<'a> {
    /// An account of nothing yet.
    pub fn new(kinds: &'a [Kind], expected: &'a Expected) -> Self {
        Self {
            kinds,
            expected,
            seen: 0,
            runs: 0,
            children: 0,
            asked_again: 0,
            rescued: 0,
            outcome_unknown: 0,
            hashes: 0,
            replays: 0,
            notes: 0,
            downs: 0,
            once: 0,
            repeated: 0,
        }
    }

    /// Checks that runs acknowledged since the last call are there.
    pub async fn still_there(&mut self, api: &Api, orders: &[Order]) {
        let new = orders[self.seen..].iter().filter_map(|order| order.run.as_ref());
        for run in new {
            let (status, text) = api.get(&format!("/v1/runs/{run}")).await;
            assert!(status.is_success(), "the acknowledged run {run} is lost: {text}");
        }
        // One that has no answer yet is looked at again.
        self.seen += orders[self.seen..].iter().take_while(|order| order.run.is_some()).count();
    }

    /// Lets everything come to its end, and checks what has been ordered since the last call.
    pub async fn settle(&mut self, api: &Api, load: &Load, ledger: &Ledger) {
        load.begin(api.clone(), 0);
        until_answered(load).await;
        until_ended(api).await;
        assert_eq!(load.complaints(), Vec::<String>::new());
        for order in &load.orders()[self.runs..] {
            let id = order.run.as_deref().unwrap();
            let (status, text) = api.get(&format!("/v1/runs/{id}")).await;
            assert!(status.is_success(), "the acknowledged run {id} is lost: {order:?}: {text}");
            self.enter(order, &serde_json::from_str(&text).unwrap());
        }
        self.compare(&ledger.counts());
    }

    /// Checks all of it as a whole, once more: no run is there that nobody ordered, and every journal replays.
    pub async fn close(&mut self, api: &Api, load: &Load, directory: &Path) {
        let (orders, runs) = (load.orders(), api.runs("").await);
        self.asked_again = orders.iter().filter(|order| order.asked > 1).count();
        self.rescued = runs.iter().filter(|run| run["rescues"].is_u64()).count();
        self.children = runs.iter().filter(|run| !run["parent"].is_null()).count();
        assert_eq!(runs.len() - self.children, orders.len(), "there are runs that nobody ordered");
        self.replays = replay_all(api, &runs).await;
        replay_files(api, &orders, directory).await;
    }

    /// Checks an order's run, and counts the effects that it must have had.
    fn enter(&mut self, order: &Order, run: &Value) {
        let kind = self.kinds.iter().find(|kind| kind.id == order.workflow).unwrap();
        self.runs += 1;
        self.notes += (kind.note)(order.n);
        self.downs += kind.down;
        self.once += kind.once;
        if run["error"]["code"] == "ERR_OUTCOME_UNKNOWN" {
            assert_eq!(order.workflow, "acts_once", "{run}");
            self.outcome_unknown += 1;
            // It did not come to the note after it.
            self.notes -= 1;
            return;
        }
        assert_eq!(run["state"], "succeeded", "{order:?}: {run}");
        assert_eq!(run["content_hash"], self.expected[&(order.workflow, order.n)].as_str(), "{order:?}: {run}");
        self.hashes += 1;
    }

    /// Compares what the ledger has seen with what the runs say.
    fn compare(&mut self, seen: &Counts) {
        let nothing = BTreeMap::new();
        let seen = |path: &str| seen.get(path).unwrap_or(&nothing);
        for (path, effects) in [("/note", self.notes), ("/down", self.downs)] {
            // Every effect has one key, whatever happened in between; asking again is allowed.
            assert_eq!(seen(path).len(), effects, "{path}: as many keys as effects");
        }
        self.repeated = seen("/note").values().filter(|count| **count > 1).count();
        let twice: Vec<_> = seen("/once").iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "once effects that happened more than once: {twice:?}");
        let (deeds, once) = (seen("/once").len(), self.once);
        // With an unknown outcome it may have happened or not.
        assert!(deeds <= once && deeds >= once - self.outcome_unknown, "{deeds} of {once} once effects happened");
    }
}

async fn until_answered(load: &Load) {
    let began = Instant::now();
    while let Some(order) = load.orders().into_iter().find(|order| order.run.is_none()) {
        assert!(began.elapsed() < PATIENCE, "no server answers {order:?}: {:?}", load.complaints());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    load.pause();
}

pub async fn until_ended(api: &Api) {
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
        let record = api.read(&format!("/v1/runs/{run}")).await;
        let hash = record["content_hash"].as_str().unwrap();
        assert_eq!(String::from_utf8_lossy(&replayed.stdout), format!("Hash: {hash}\n"), "{workflow}: {replayed:?}");
    }
}
