//! Approvals.

use serde_json::{Value, json};

use crate::support::{Answer, Api};

/// A run that asks two people at once, and then a third.
async fn asks(api: &Api) -> Value {
    let definition = json!({"id": "ask", "steps": [
        {"id": "legal", "signal": "legal"},
        {"id": "money", "signal": "money"},
        {"id": "last", "signal": "legal", "needs": ["legal", "money"]},
    ]});
    let run = api.post("/v1/runs", &json!({"workflow": definition})).await.is(201).json();
    api.until(&run, &["parked"]).await
}

fn says(answer: Answer, text: &str) {
    let problem = answer.problem(409, "ERR_CONFLICT");
    assert!(problem["detail"].as_str().unwrap().contains(text), "{text}: {problem}");
}

#[tokio::test]
async fn the_only_signal_that_is_waited_for_is_the_one_that_is_meant() {
    let api = Api::new().await;
    for (action, body, payload) in [
        ("approve", json!({"by": "Ada", "comment": "go"}), json!({"approved": true, "by": "Ada", "comment": "go"})),
        ("reject", json!({"name": "approval"}), json!({"approved": false, "by": null, "comment": null})),
    ] {
        let run = api.post("/v1/runs", &json!({"workflow": "approve"})).await.is(201).json();
        api.until(&run, &["parked"]).await;
        let path = run["links"]["self"].as_str().unwrap();
        let sent = api.post(&format!("{path}/{action}"), &body).await.is(202).json();
        assert_eq!(sent["signal"], "approval", "{sent}");
        assert_eq!((&sent["approved"], &sent["seq"]), (&payload["approved"], &json!(1)), "{sent}");
        let ended = api.get(&format!("{path}?wait=30s")).await.json();
        assert_eq!(ended["output"], payload, "{ended}");
        says(api.post_empty(&format!("{path}/approve")).await, "has ended");
    }
}

#[tokio::test]
async fn of_several_signals_one_is_named_and_no_answer_counts_twice() {
    let api = Api::new().await;
    let run = asks(&api).await;
    let path = run["links"]["self"].as_str().unwrap();
    says(api.post_empty(&format!("{path}/approve")).await, "which of legal, money");
    says(api.post(&format!("{path}/approve"), &json!({"name": "boss"})).await, "it waits for legal, money");
    // Paused, so that the answers stay on their way.
    api.post_empty(&format!("{path}/pause")).await.is(200);
    api.post(&format!("{path}/approve"), &json!({"name": "legal"})).await.is(202);
    says(api.post(&format!("{path}/approve"), &json!({"name": "legal"})).await, "it waits for money");
    assert_eq!(api.post_empty(&format!("{path}/reject")).await.is(202).json()["signal"], "money");
    says(api.post_empty(&format!("{path}/reject")).await, "waits for no signal now");
    api.post_empty(&format!("{path}/resume")).await.is(200);
    for _ in 0..2_000 {
        let run = api.get(path).await.json();
        let waits: Vec<_> = run["waiting_for"].as_array().unwrap().iter().map(|wait| wait["effect"].clone()).collect();
        if waits == [json!("last")] {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    api.post_empty(&format!("{path}/approve")).await.is(202);
    let ended = api.get(&format!("{path}?wait=30s")).await.json();
    let approved: Vec<_> = ["legal", "money", "last"].map(|step| ended["output"][step]["approved"].clone()).into();
    assert_eq!(approved, [json!(true), json!(false), json!(true)], "{ended}");
}

#[tokio::test]
async fn a_run_that_waits_for_nothing_is_not_answered() {
    let api = Api::new().await;
    let run = api.post("/v1/runs", &json!({"workflow": "hang"})).await.is(201).json();
    let path = run["links"]["self"].as_str().unwrap();
    says(api.post_empty(&format!("{path}/approve")).await, &format!("{path}/signals/{{name}}"));
    api.post("/v1/runs/none/approve", &json!({})).await.problem(404, "ERR_NOT_FOUND");
    api.post(&format!("{path}/approve"), &json!({"who": "Ada"})).await.problem(400, "ERR_INVALID_REQUEST");
    let long = json!({"comment": "x".repeat(1_001)});
    api.post(&format!("{path}/approve"), &long).await.problem(400, "ERR_INVALID_REQUEST");
}
