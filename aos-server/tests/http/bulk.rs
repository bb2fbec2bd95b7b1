//! One thing for many runs.

use serde_json::{Value, json};

use crate::support::Api;

/// Runs that wait for an approval.
async fn waiting(api: &Api, count: usize) -> Vec<Value> {
    let mut runs = Vec::new();
    for _ in 0..count {
        let run = api.post("/v1/runs", &json!({"workflow": "approve"})).await.is(201).json();
        runs.push(api.until(&run, &["parked"]).await);
    }
    runs
}

async fn bulk(api: &Api, body: Value) -> Value {
    api.post("/v1/runs/bulk", &body).await.is(200).json()
}

/// `done`, `skipped`, `failed`.
fn tally(view: &Value) -> [u64; 3] {
    ["done", "skipped", "failed"].map(|outcome| view[outcome].as_u64().unwrap())
}

async fn states(api: &Api) -> Vec<String> {
    let list = api.get("/v1/runs").await.json();
    list["runs"].as_array().unwrap().iter().map(|run| run["state"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn runs_are_paused_resumed_and_cancelled_by_filter() {
    let api = Api::new().await;
    waiting(&api, 3).await;
    api.run("five@1.0.0", json!(1)).await;
    let filter = json!({"workflow": "approve"});
    let preview = bulk(&api, json!({"action": "pause", "filter": filter, "dry_run": true})).await;
    assert_eq!((&preview["matched"], tally(&preview), &preview["more"]), (&json!(3), [0, 0, 0], &json!(false)));
    assert_eq!(preview["sample"].as_array().unwrap().len(), 3);
    assert_eq!(preview["sample"][0]["workflow"], "approve@1.0.0");
    assert_eq!(states(&api).await, ["succeeded", "parked", "parked", "parked"]);

    assert_eq!(tally(&bulk(&api, json!({"action": "pause", "filter": filter})).await), [3, 0, 0]);
    assert_eq!(states(&api).await, ["succeeded", "paused", "paused", "paused"]);
    assert_eq!(bulk(&api, json!({"action": "resume", "filter": {"all": true}, "dry_run": true})).await["matched"], 3);
    assert_eq!(tally(&bulk(&api, json!({"action": "resume", "filter": {"all": true}})).await), [3, 0, 0]);
    assert_eq!(bulk(&api, json!({"action": "resume", "filter": {"all": true}})).await["matched"], 0);
    let young = json!({"action": "cancel", "filter": {"older_than": "1h"}});
    assert_eq!(tally(&bulk(&api, young).await), [0, 0, 0]);
    let all = json!({"action": "cancel", "filter": {"all": true}, "reason": "closing time"});
    assert_eq!(tally(&bulk(&api, all).await), [3, 0, 0]);
    for run in api.get("/v1/runs?workflow=approve").await.json()["runs"].as_array().unwrap() {
        let ended = api.until(run, &["cancelled"]).await;
        assert!(ended["error"]["message"].as_str().unwrap().contains("closing time"), "{ended}");
    }
}

#[tokio::test]
async fn runs_that_are_about_to_pause_are_resumed_too() {
    let api = Api::new().await;
    let run = api.post("/v1/runs", &json!({"workflow": "hang"})).await.is(201).json();
    api.until(&run, &["running"]).await;
    let resume = |dry_run: bool| json!({"action": "resume", "filter": {"workflow": "hang"}, "dry_run": dry_run});
    assert_eq!(bulk(&api, resume(true)).await["matched"], 0, "it was never asked to pause");
    assert_eq!(tally(&bulk(&api, json!({"action": "pause", "filter": {"states": ["running"]}})).await), [1, 0, 0]);
    let preview = bulk(&api, resume(true)).await;
    assert_eq!((&preview["matched"], &preview["sample"][0]["id"]), (&json!(1), &run["id"]), "{preview}");
    assert_eq!(tally(&bulk(&api, resume(false)).await), [1, 0, 0]);
    assert_eq!(bulk(&api, resume(false)).await["matched"], 0);
}

#[tokio::test]
async fn a_step_is_bounded_and_says_where_to_go_on() {
    let api = Api::new().await;
    waiting(&api, 5).await;
    let (mut cursor, mut matched) = (Value::Null, Vec::new());
    loop {
        let body = json!({"action": "pause", "filter": {"all": true}, "max": 2, "cursor": cursor});
        let view = bulk(&api, body).await;
        matched.push(view["matched"].as_u64().unwrap());
        assert_eq!(view["more"], json!(!view["next"].is_null()), "{view}");
        if view["next"].is_null() {
            break;
        }
        cursor = view["next"].clone();
    }
    assert_eq!(matched, [2, 2, 1]);
    assert_eq!(states(&api).await, ["paused"; 5]);
}

#[tokio::test]
async fn failed_and_dead_runs_are_retried_once() {
    let api = Api::new().await;
    for _ in 0..3 {
        assert_eq!(api.run("order", json!(null)).await["state"], "failed");
    }
    let own = json!({"workflow": {"id": "own", "steps": [{"id": "a", "set": "{{ input.nothing }}"}]}});
    assert_eq!(api.post("/v1/runs?wait=30s", &own).await.is(201).json()["state"], "failed");
    let dead = api.dead("five@1.0.0").await;
    api.mend();
    let retry = json!({"action": "retry", "filter": {"all": true}});
    let view = bulk(&api, retry.clone()).await;
    assert_eq!(tally(&view), [4, 1, 0], "{view}");
    assert_eq!(view["errors"][0]["outcome"], "skipped");
    assert!(view["errors"][0]["message"].as_str().unwrap().contains("would be again"), "{view}");
    assert_eq!(api.get(&format!("/v1/runs/{dead}?wait=30s")).await.json()["state"], "succeeded");
    for run in api.get("/v1/runs?workflow=order").await.json()["runs"].as_array().unwrap() {
        if run["forked_from"].is_object() {
            api.until(run, &["succeeded"]).await;
        }
    }
    let view = bulk(&api, retry).await;
    assert_eq!(tally(&view), [0, 4, 0], "{view}");
    assert!(view["errors"].to_string().contains("it was retried before, as run"), "{view}");
    assert_eq!(api.get("/v1/runs?workflow=order").await.json()["runs"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn dead_runs_are_discarded_and_ended_ones_deleted() {
    let api = Api::new().await;
    for n in 0..3 {
        api.run("five@1.0.0", json!(n)).await;
    }
    api.run("broken", json!(null)).await;
    let open = waiting(&api, 1).await;
    for _ in 0..2 {
        api.dead("five@1.0.0").await;
    }
    let old = json!({"action": "purge", "filter": {"older_than": "30d"}});
    assert_eq!(tally(&bulk(&api, old).await), [0, 0, 0]);
    let preview = bulk(&api, json!({"action": "purge", "filter": {"all": true}, "dry_run": true})).await;
    assert_eq!(preview["matched"], 4, "dead runs are not deleted unless that is said: {preview}");
    let discard = json!({"action": "discard", "filter": {"workflow": "five"}, "reason": "no use"});
    assert_eq!(tally(&bulk(&api, discard).await), [2, 0, 0]);
    let some =
        bulk(&api, json!({"action": "purge", "filter": {"workflow": "five", "states": ["succeeded"]}, "max": 2})).await;
    assert_eq!((tally(&some), &some["more"], &some["next"]), ([2, 0, 0], &json!(true), &Value::Null), "{some}");
    let rest = bulk(&api, json!({"action": "purge", "filter": {"all": true}})).await;
    assert_eq!((tally(&rest), &rest["more"]), ([4, 0, 0], &json!(false)), "{rest}");
    let left = api.get("/v1/runs").await.json();
    assert_eq!(left["runs"].as_array().unwrap().len(), 1);
    assert_eq!(left["runs"][0]["id"], open[0]["id"]);
}

#[tokio::test]
async fn what_is_not_meant_is_refused() {
    let api = Api::new().await;
    for (body, says) in [
        (json!({"action": "cancel", "filter": {}}), "\"all\": true"),
        (json!({"action": "cancel", "filter": {"all": false}}), "the filter is empty"),
        (json!({"action": "cancel", "filter": {"all": true, "workflow": "a"}}), "leave one out"),
        (json!({"action": "cancel"}), "filter"),
        (json!({"action": "explode", "filter": {"all": true}}), "explode"),
        (json!({"action": "cancel", "filter": {"state": "queued"}}), "state"),
        (json!({"action": "cancel", "filter": {"states": ["lost"]}}), "lost"),
        (json!({"action": "cancel", "filter": {"states": ["failed"]}}), "expected queued, running, parked, paused"),
        (json!({"action": "purge", "filter": {"states": ["parked"]}}), "expected succeeded, failed, cancelled, dead"),
        (json!({"action": "purge", "filter": {"parent": "p"}}), "leave the rest out"),
        (json!({"action": "purge", "filter": {"older_than": "30"}}), "30d"),
        (json!({"action": "pause", "filter": {"created_before": "yesterday"}}), "RFC 3339"),
        (
            json!({"action": "pause", "filter": {"created_before": "2026-01-01T00:00:00Z", "older_than": "1d"}}),
            "leave one out",
        ),
        (json!({"action": "pause", "filter": {"workflow": "NO"}}), "workflow"),
        (json!({"action": "pause", "filter": {"all": true}, "max": 0}), "1 to 100000"),
        (json!({"action": "pause", "filter": {"all": true}, "dry-run": true}), "dry-run"),
        (json!({"action": "pause", "filter": {"all": true}, "reason": "x".repeat(1_001)}), "reason"),
    ] {
        let problem = api.post("/v1/runs/bulk", &body).await.problem(400, "ERR_INVALID_REQUEST");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{body}: {problem}");
    }
    let lost = json!({"action": "pause", "filter": {"all": true}, "cursor": "nowhere"});
    api.post("/v1/runs/bulk", &lost).await.problem(404, "ERR_NOT_FOUND");
}
