//! Keys that change while calls are made, and that appear nowhere but where they belong.

use std::time::Duration;

use aos_testkit::service::claude::MockClaude;
use serde_json::json;

use crate::fleet::{Fleet, Load};
use crate::setting;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_key_fails_no_call() {
    let turns = setting("AOS_LLM_TURNS", 3_u32);
    let claude = MockClaude::start().unwrap();
    let free =
        [("CLAUDE_RATE_LIMIT_RPM", "1000000"), ("CLAUDE_RATE_LIMIT_TPM", "1000000000"), ("WORKER_CONCURRENCY", "64")];
    let fleet = Fleet::start(2, &claude, &free).await;
    let load = Load::start(
        &fleet,
        8,
        Duration::from_millis(60),
        |number| json!({"prompt": format!("question {number}"), "max_tokens": 16}),
    );
    let mut last = None;
    for turn in 0..turns {
        let (label, key) = (format!("key-{turn}"), format!("sk-ant-canary-{turn:04}"));
        claude.add_key(&label, &key);
        // As an operator does it: a new file in the place of the old one.
        let new = fleet.directory.path().join("new");
        std::fs::write(&new, &key).unwrap();
        std::fs::rename(&new, fleet.key_file()).unwrap();
        // The old key is revoked while calls with it may be under way.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        if let Some(old) = last.replace(label) {
            claude.revoke_key(&old);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let runs = load.stop().await;
    eprintln!("{turns} keys, {} runs", runs.len());
    for run in &runs {
        assert_eq!(run["state"], "succeeded", "{run}");
    }
    let newest = last.unwrap();
    let records = claude.records();
    assert_eq!(records.last().unwrap().key.as_deref(), Some(newest.as_str()));
    // And nowhere else.
    for server in &fleet.servers {
        assert!(!server.log().contains("sk-ant-"), "{}", server.log());
        let page = server.api().http.get(format!("{}/metrics", server.url)).send().await.unwrap().text().await.unwrap();
        assert!(!page.contains("sk-ant-"), "{page}");
    }
    for run in runs.iter().take(20) {
        let url = format!("{}/v1/runs/{}/journal", fleet.api(0).url, run["id"].as_str().unwrap());
        let journal = fleet.api(0).http.get(url).send().await.unwrap().text().await.unwrap();
        assert!(journal.contains("run_finished"), "{journal}");
        assert!(!journal.contains("sk-ant-"), "{journal}");
    }
}
