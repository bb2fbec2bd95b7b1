//! Retrying failed and dead runs.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::support::Api;

#[tokio::test]
async fn a_failed_run_is_retried_from_what_failed_it() {
    let api = Api::new().await;
    let failed = api.run("order", json!(null)).await;
    assert_eq!((&failed["state"], api.calls()), (&json!("failed"), 2), "{failed}");
    let path = format!("{}/retry?wait=30s", failed["links"]["self"].as_str().unwrap());
    // It is still broken.
    let again = api.post_empty(&path).await.is(201).json();
    assert_eq!((&again["state"], &again["forked_from"]["run"]), (&json!("failed"), &failed["id"]), "{again}");
    api.mend();
    let retried = api.post_empty(&path).await.is(201).json();
    assert_eq!(retried["output"], json!({"charged": [1, 2]}), "{retried}");
    assert_eq!(retried["forked_from"], json!({"run": failed["id"], "effect": "charge:1"}));
    assert_eq!(api.calls(), 2, "what had ended well was not done again");
    assert_ne!(retried["id"], failed["id"]);
    let replayed = api.post_empty(&format!("{}/replay", retried["links"]["self"].as_str().unwrap())).await.json();
    assert_eq!(replayed["result"], "match", "{replayed}");
    // The same as a run that never failed.
    assert_eq!(api.run("order", json!(null)).await["content_hash"], retried["content_hash"]);
}

#[tokio::test]
async fn a_retry_under_a_key_is_one_retry() {
    let api = Api::new().await;
    let failed = api.run("broken", json!(null)).await;
    api.mend();
    let retry = || {
        let path = format!("{}/retry?wait=30s", failed["links"]["self"].as_str().unwrap());
        api.send(Request::post(path).header("idempotency-key", "again").body(Body::empty()).unwrap())
    };
    let first = retry().await.is(201).json();
    let second = retry().await.is(200);
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(second.json(), first);
}

#[tokio::test]
async fn a_retry_waits_for_room_under_its_workflow_s_limit() {
    let api = Api::new().await;
    let failed = api.run("order", json!(null)).await;
    api.mend();
    api.put("/v1/queue/limits/order", &json!({"max": 0})).await.is(200);
    let retry = api.post_empty(&format!("{}/retry", failed["links"]["self"].as_str().unwrap())).await.is(201).json();
    let path = retry["links"]["self"].as_str().unwrap();
    assert_eq!(api.get(&format!("{path}?wait=300ms")).await.json()["state"], "queued");
    api.delete("/v1/queue/limits/order").await.is(204);
    let ended = api.get(&format!("{path}?wait=30s")).await.json();
    assert_eq!((&ended["state"], api.calls()), (&json!("succeeded"), 2), "{ended}");
}

#[tokio::test]
async fn a_dead_run_goes_on_itself() {
    let api = Api::new().await;
    let id = api.dead("five@1.0.0").await;
    let revived = api.post_empty(&format!("/v1/runs/{id}/retry")).await.is(200).json();
    assert_eq!((&revived["id"], &revived["error"]), (&json!(id), &Value::Null), "{revived}");
    let ended = api.get(&format!("/v1/runs/{id}?wait=30s")).await.json();
    assert_eq!(ended["state"], "succeeded", "{ended}");
}

#[tokio::test]
async fn other_runs_are_not_retried_and_it_is_said_what_to_do() {
    let api = Api::new().await;
    let succeeded = api.run("five@1.0.0", json!(1)).await;
    let waiting = api.post("/v1/runs", &json!({"workflow": "approve"})).await.is(201).json();
    api.until(&waiting, &["parked"]).await;
    let paused = api.post("/v1/runs", &json!({"workflow": "approve"})).await.is(201).json();
    api.until(&paused, &["parked"]).await;
    api.post_empty(&format!("{}/pause", paused["links"]["self"].as_str().unwrap())).await.is(200);
    let own = json!({"workflow": {"id": "own", "steps": [{"id": "a", "set": "{{ input.nothing }}"}]}});
    let own = api.post("/v1/runs?wait=30s", &own).await.is(201).json();
    assert_eq!(own["state"], "failed", "{own}");
    for (run, says) in [
        (&succeeded, "fork it at an effect"),
        (&waiting, "wait for its end"),
        (&paused, "resume it"),
        (&own, "would be again"),
    ] {
        let answer = api.post_empty(&format!("{}/retry", run["links"]["self"].as_str().unwrap())).await;
        let problem = answer.problem(409, "ERR_CONFLICT");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{says}: {problem}");
    }
    api.post_empty("/v1/runs/none/retry").await.problem(404, "ERR_NOT_FOUND");
}

/// A fork at an effect that must not be done twice does it, instead of wondering whether it was begun.
#[tokio::test]
async fn a_fork_does_a_once_effect_anew() {
    let api = Api::new().await;
    api.mend();
    let run = api.run("order", json!(null)).await;
    let fork = format!("{}/fork?wait=30s", run["links"]["self"].as_str().unwrap());
    let fork = api.post(&fork, &json!({"effect": "charge:1"})).await.is(201).json();
    assert_eq!((&fork["state"], &fork["content_hash"]), (&json!("succeeded"), &run["content_hash"]), "{fork}");
}
