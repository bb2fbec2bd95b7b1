//! Pausing and resuming runs.

use serde_json::{Value, json};

use crate::support::Api;

#[tokio::test]
async fn a_run_that_waits_is_paused_at_once_and_resumed() {
    let api = Api::new().await;
    let run = api.post("/v1/runs", &json!({"workflow": "approve"})).await.is(201).json();
    api.until(&run, &["parked"]).await;
    let path = run["links"]["self"].as_str().unwrap();
    let paused = api.post_empty(&format!("{path}/pause")).await.is(200).json();
    assert_eq!(paused["state"], "paused", "{paused}");
    assert_eq!(api.post_empty(&format!("{path}/pause")).await.is(200).json()["state"], "paused");
    // What comes meanwhile is kept, and nobody acts on it.
    api.post(&format!("{path}/signals/approval"), &json!("yes")).await.is(202);
    assert_eq!(api.get(&format!("{path}?wait=300ms")).await.json()["state"], "paused");
    let resumed = api.post_empty(&format!("{path}/resume")).await.is(200).json();
    assert_eq!(resumed["state"], "queued", "{resumed}");
    assert_eq!(api.get(&format!("{path}?wait=30s")).await.json()["output"], "yes");
    for action in ["pause", "resume"] {
        let problem = api.post_empty(&format!("{path}/{action}")).await.problem(409, "ERR_CONFLICT");
        assert!(problem["detail"].as_str().unwrap().contains("has ended (succeeded)"), "{problem}");
        api.post_empty(&format!("/v1/runs/none/{action}")).await.problem(404, "ERR_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_run_that_is_busy_pauses_later_unless_it_is_resumed_before() {
    let api = Api::new().await;
    let run = api.post("/v1/runs", &json!({"workflow": "hang"})).await.is(201).json();
    api.until(&run, &["running"]).await;
    let path = run["links"]["self"].as_str().unwrap();
    let pausing = api.post_empty(&format!("{path}/pause")).await.is(202).json();
    assert_eq!((&pausing["state"], &pausing["pausing"]), (&json!("running"), &json!(true)), "{pausing}");
    let resumed = api.post_empty(&format!("{path}/resume")).await.is(200).json();
    assert_eq!((&resumed["state"], &resumed["pausing"]), (&json!("running"), &Value::Null), "{resumed}");
}

#[tokio::test]
async fn a_run_tells_what_it_waits_for() {
    let api = Api::new().await;
    for (workflow, input, state, expected) in [
        ("approve", json!(null), "parked", json!({"kind": "signal", "name": "approval"})),
        ("hang", json!(null), "running", json!({"kind": "skill", "skill": "hang@1.0.0"})),
        ("nap", json!(3_600_000), "parked", json!({"kind": "timer"})),
        ("parent", json!(3_600_000), "running", json!({"kind": "child", "workflow": "nap@1.0.0"})),
    ] {
        let run = api.post("/v1/runs", &json!({"workflow": workflow, "input": input})).await.is(201).json();
        assert_eq!(run["waiting_for"], Value::Null, "only a look at one run reads its journal");
        let run = api.until(&run, &[state]).await;
        let mut waits = run["waiting_for"].as_array().unwrap_or_else(|| panic!("{run}")).clone();
        for _ in 0..2_000 {
            if !waits.is_empty() {
                break;
            }
            // The intent of what it has begun is durable a moment after its lease.
            waits =
                api.get(run["links"]["self"].as_str().unwrap()).await.json()["waiting_for"].as_array().unwrap().clone();
        }
        let [wait] = &waits[..] else { panic!("{run}") };
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(wait[field], *value, "{workflow}: {wait}");
        }
        assert!(wait["effect"].is_string() && wait["since"].as_str().unwrap().ends_with('Z'), "{wait}");
        match workflow {
            "nap" => assert!(wait["until"].as_str().unwrap() > run["created_at"].as_str().unwrap(), "{wait}"),
            "parent" => drop(api.get(&format!("/v1/runs/{}", wait["run"].as_str().unwrap())).await.is(200)),
            _ => {}
        }
    }
    let ended = api.run("five@1.0.0", json!(1)).await;
    assert_eq!(api.get(ended["links"]["self"].as_str().unwrap()).await.json().get("waiting_for"), None);
}
