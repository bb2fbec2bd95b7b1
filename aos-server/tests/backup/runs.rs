//! Runs that are caught in the middle: waiting for a signal, for a time, for an answer, and for a worker.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::ledger::Ledger;
use crate::operator_support::{Api, Process};

/// Runs that one server advances at the same time.
pub const CONCURRENCY: usize = 4;

/// Content hashes of undisturbed runs, by workflow and `n`.
pub type Hashes = BTreeMap<(&'static str, u64), String>;

/// Runs by their ids.
pub type Runs = BTreeMap<String, (&'static str, u64)>;

/// Workflows, each with how many runs of it there are, in the order in which they are created.
const KINDS: [(&str, u64); 4] = [("asks", 3), ("rests", 3), ("calls", CONCURRENCY as u64), ("waits", 40)];

fn definition(kind: &str) -> Value {
    let call = |path: &str| {
        json!({"id": "call", "skill": "http_call", "needs": ["ask"], "params": {
            "method": "POST", "url": format!("{{{{ input.ledger }}}}{path}"), "body": {"n": "{{ input.n }}"}}})
    };
    let middle = match kind {
        "asks" => json!({"id": "middle", "signal": "approval", "needs": ["call"]}),
        "rests" => json!({"id": "middle", "sleep": "8s", "needs": ["call"]}),
        _ => json!({"id": "middle", "set": "{{ input.n }}", "needs": ["call"]}),
    };
    json!({"id": kind, "steps": [
        {"id": "ask", "skill": "llm_invoke", "params": {
            "model": "stub", "max_tokens": 64, "messages": [{"role": "user", "content": "Say {{ input.n }}"}]}},
        call(if kind == "calls" { "/held" } else { "/note" }),
        middle,
        {"id": "end", "skill": "echo", "needs": ["middle"], "params": ["{{ steps.ask.output }}", "{{ steps.call.output.body }}"]},
    ], "output": "{{ steps.end.output }}"})
}

/// A server on a database, that may reach the ledger.
pub fn serve(database: &str, ledger: &Ledger) -> Process {
    Process::serve(&[
        ("DATABASE_URL", database),
        ("AOS_HTTP_ALLOW", &ledger.address.to_string()),
        ("WORKER_CONCURRENCY", &CONCURRENCY.to_string()),
        ("AOS_LEASE", "2"),
        ("LOG_LEVEL", "warn,aos_server::command::serve=info"),
    ])
}

/// Creates all runs, one after the other.
pub async fn create(api: &Api, ledger: &Ledger) -> Runs {
    let mut runs = Runs::new();
    for (kind, count) in KINDS {
        for n in 0..count {
            let input = json!({"n": n, "ledger": format!("http://{}", ledger.address)});
            runs.insert(api.begin(&definition(kind), &input).await, (kind, n));
        }
    }
    runs
}

/// Waits until runs of each kind are in the state that it is for.
pub async fn until_under_way(api: &Api) {
    let count = async |kind: &str, state: &str| {
        let page = api.get(&format!("/v1/runs?workflow={kind}&state={state}&limit=200")).await;
        page["runs"].as_array().unwrap().len() as u64
    };
    loop {
        let (asking, resting) = (count("asks", "parked").await, count("rests", "parked").await);
        let (calling, waiting) = (count("calls", "running").await, count("waits", "queued").await);
        if (asking, resting, calling) == (3, 3, CONCURRENCY as u64) {
            assert!(waiting > 0, "nothing waits for a worker");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Gives every run what it waits for, and its hash once it has ended.
pub async fn finish(api: &Api, runs: &Runs) -> Hashes {
    let finishing = runs.iter().map(async |(run, (kind, n))| {
        if *kind == "asks" {
            api.post(&format!("/v1/runs/{run}/signals/approval"), &json!("yes")).await;
        }
        let ended = api.ended(run).await;
        assert_eq!(ended["state"], "succeeded", "{ended}");
        let replay = api.post(&format!("/v1/runs/{run}/replay"), &Value::Null).await;
        assert_eq!(replay["result"], "match", "{replay}");
        ((*kind, *n), ended["content_hash"].as_str().unwrap().to_owned())
    });
    futures::future::join_all(finishing).await.into_iter().collect()
}

/// What the runs come to when nothing happens.
pub async fn undisturbed(ledger: &Ledger) -> Hashes {
    let directory = tempfile::tempdir().unwrap();
    let server = serve(&format!("sqlite://{}", directory.path().join("aos.db").display()), ledger);
    ledger.set_open(true);
    let runs = create(&server.api(), ledger).await;
    finish(&server.api(), &runs).await
}
