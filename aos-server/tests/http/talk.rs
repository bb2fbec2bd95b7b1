//! Cancel and signals.

use serde_json::{Value, json};

use crate::support::Api;

#[tokio::test]
async fn an_approval_lets_a_waiting_run_go_on() {
    let api = Api::new().await;
    let run = api.post("/v1/runs", &json!({"workflow": "approve"})).await.is(201).json();
    api.until(&run, &["parked"]).await;
    let path = run["links"]["self"].as_str().unwrap();
    let sent = api.post(&format!("{path}/signals/approval"), &json!({"by": "Ada"})).await.is(202).json();
    assert_eq!(sent, json!({"run": run["id"], "seq": 1}));
    let ended = api.get(&format!("{path}?wait=30s")).await.is(200).json();
    assert_eq!(ended["output"], json!({"by": "Ada"}));
    api.post(&format!("{path}/signals/approval"), &json!(1)).await.problem(409, "ERR_CONFLICT");
}

#[tokio::test]
async fn a_signal_without_a_body_carries_null_and_may_come_early() {
    let api = Api::with(1).await;
    let run = api.post("/v1/runs", &json!({"workflow": "approve"})).await.is(201).json();
    let path = run["links"]["self"].as_str().unwrap();
    api.post_empty(&format!("{path}/signals/other")).await.is(202);
    api.post_empty(&format!("{path}/signals/approval")).await.is(202);
    let ended = api.get(&format!("{path}?wait=30s")).await.json();
    assert_eq!((&ended["state"], &ended["output"]), (&json!("succeeded"), &Value::Null), "{ended}");
}

#[tokio::test]
async fn runs_are_cancelled_wherever_they_stand() {
    let api = Api::new().await;
    for (workflow, at) in [("approve", "parked"), ("hang", "running")] {
        let run = api.post("/v1/runs", &json!({"workflow": workflow})).await.is(201).json();
        api.until(&run, &[at]).await;
        let path = run["links"]["self"].as_str().unwrap();
        api.post(&format!("{path}/cancel"), &json!({"reason": "no need"})).await.is(202);
        let ended = api.get(&format!("{path}?wait=30s")).await.is(200).json();
        assert_eq!(ended["state"], "cancelled", "{workflow}");
        assert_eq!(ended["error"]["code"], "ERR_CANCELLED", "{workflow}");
        api.post_empty(&format!("{path}/cancel")).await.problem(409, "ERR_CONFLICT");
    }
}

#[tokio::test]
async fn a_run_that_waits_for_room_is_cancelled_too() {
    let api = Api::with(1).await;
    let hanging = api.post("/v1/runs", &json!({"workflow": "hang"})).await.is(201).json();
    api.until(&hanging, &["running"]).await;
    let queued = api.post("/v1/runs", &json!({"workflow": "approve"})).await.is(201).json();
    api.post_empty(&format!("{}/cancel", queued["links"]["self"].as_str().unwrap())).await.is(202);
    api.post_empty(&format!("{}/cancel", hanging["links"]["self"].as_str().unwrap())).await.is(202);
    api.until(&hanging, &["cancelled"]).await;
    api.until(&queued, &["cancelled"]).await;
}
