//! Replay, golden files and forks.

use aos_core::flow::Flows;
use aos_core::replay::golden::GoldenFile;
use serde_json::{Value, json};

use crate::support::Api;

#[tokio::test]
async fn a_replay_matches_and_calls_nothing() {
    let api = Api::new().await;
    let run = api.run("five@1.0.0", json!(1)).await;
    let report = api.post_empty(&format!("{}/replay", run["links"]["self"].as_str().unwrap())).await.is(200).json();
    assert_eq!(report["result"], "match", "{report}");
    assert_eq!(report["content_hash"], run["content_hash"]);
    assert_eq!(report["expected_content_hash"], run["content_hash"]);
    assert_eq!((&report["drift"], &report["error"]), (&Value::Null, &Value::Null));
    assert_eq!(api.calls(), 5);
}

#[tokio::test]
async fn a_run_that_has_not_ended_replays_as_far_as_it_came() {
    let api = Api::new().await;
    let run = api.post("/v1/runs", &json!({"workflow": "approve"})).await.is(201).json();
    api.until(&run, &["parked"]).await;
    let path = run["links"]["self"].as_str().unwrap();
    let report = api.post_empty(&format!("{path}/replay")).await.is(200).json();
    assert_eq!((&report["result"], &report["content_hash"]), (&json!("match"), &Value::Null), "{report}");
    api.get(&format!("{path}/golden")).await.problem(409, "ERR_CONFLICT");
}

#[tokio::test]
async fn a_golden_file_is_whole() {
    let api = Api::new().await;
    let long = "x".repeat(40_000);
    let run = api.run("five@1.0.0", json!(long)).await;
    let path = run["links"]["golden"].as_str().unwrap();
    let answer = api.get(&format!("{path}?note=as%20it%20was")).await.is(200);
    assert!(answer.header("content-disposition").contains(run["id"].as_str().unwrap()));
    let golden = GoldenFile::parse(&answer.text).unwrap();
    assert_eq!(golden.header.content_hash.to_string(), run["content_hash"].as_str().unwrap());
    assert_eq!(golden.header.note, "as it was");
    assert!(!golden.blobs.is_empty());
    assert!(golden.verify(&Flows::new()).is_err(), "the workflow is Rust code, which is not in the file");
    assert_eq!(golden.to_string(), answer.text);
}

#[tokio::test]
async fn a_fork_shares_the_past_and_does_the_rest_anew() {
    let api = Api::new().await;
    let run = api.run("five@1.0.0", json!(1)).await;
    assert_eq!(api.calls(), 5);
    let journal = api.get(run["links"]["journal"].as_str().unwrap()).await.text;
    let effects: Vec<String> = journal
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|entry| entry["type"] == "effect_completed")
        .map(|entry| entry["effect"].as_str().unwrap().to_owned())
        .collect();
    let path = format!("{}/fork", run["links"]["self"].as_str().unwrap());

    let same = api.post(&format!("{path}?wait=30s"), &json!({"effect": effects[3]})).await.is(201).json();
    assert_eq!(api.calls(), 7, "the last two effects are done anew");
    assert_eq!(same["content_hash"], run["content_hash"], "with the same results it means the same");
    assert_eq!(same["forked_from"], json!({"run": run["id"], "effect": effects[3]}));
    assert_ne!(same["id"], run["id"]);

    let body = json!({"effect": effects[3], "output": {"edited": true}});
    let edited = api.post(&format!("{path}?wait=30s"), &body).await.is(201).json();
    assert_eq!(api.calls(), 8, "only the effect after the edited one is done anew");
    assert_eq!(edited["output"]["last"], json!({"edited": true}));
    let replayed = api.post_empty(&format!("{}/replay", edited["links"]["self"].as_str().unwrap())).await.json();
    assert_eq!(replayed["result"], "match", "{replayed}");

    api.post(&path, &json!({"effect": "nothing"})).await.problem(404, "ERR_NOT_FOUND");
    api.post(&path, &json!({"effect": "two words"})).await.problem(400, "ERR_INVALID_REQUEST");
    api.post("/v1/runs/none/fork", &json!({"effect": "a"})).await.problem(404, "ERR_NOT_FOUND");
}

#[tokio::test]
async fn every_ended_run_is_replayed_in_the_background() {
    let api = Api::new().await;
    let run = api.run("five@1.0.0", json!(1)).await;
    for _ in 0..2_000 {
        let determinism = api.get("/health/determinism").await.is(200).json();
        if determinism["replays"] == 1 {
            assert_eq!(determinism["status"], "ok");
            assert_eq!(determinism["drift_detected"], false);
            assert_eq!(determinism["last_replay_hash"], run["content_hash"]);
            assert!(api.get("/metrics").await.text.contains("aos_replays_total{result=\"match\"} 1"));
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the run was never replayed");
}
