//! Creating, reading and listing runs.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use crate::support::{Api, json_request};

#[tokio::test]
async fn a_run_is_created_at_once_and_read_back() {
    let api = Api::new().await;
    let answer = api.post("/v1/runs", &json!({"workflow": "five", "input": {"x": 1}, "seed": 7})).await.is(201);
    let created = answer.json();
    assert_eq!(answer.header("location"), created["links"]["self"]);
    assert_eq!(created["workflow"], "five@1.1.0");
    assert_eq!(created["seed"], 7);
    assert!(["queued", "running"].contains(&created["state"].as_str().unwrap()), "{created}");
    let ended = api.until(&created, &["succeeded"]).await;
    assert_eq!(ended["output"]["step"], 4);
    assert_eq!(ended["cost_usd"], "0.05");
    assert_eq!(ended["cost_cents"], 5.0);
    assert_eq!(ended["content_hash"].as_str().unwrap().len(), 64);
    assert!(ended["finished_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(ended["error"], Value::Null);
    assert_eq!(api.calls(), 5);
}

#[tokio::test]
async fn waiting_gives_the_ended_run() {
    let api = Api::new().await;
    let run = api.run("five@1.0.0", json!("in")).await;
    assert_eq!(run["state"], "succeeded");
    let path = run["links"]["self"].as_str().unwrap();
    assert_eq!(api.get(path).await.is(200).json(), run);
    assert_eq!(api.get(&format!("{path}?wait=30s")).await.is(200).json(), run);
    let prefer = Request::post("/v1/runs")
        .header("content-type", "application/json")
        .header("prefer", "wait=30")
        .body(Body::from(json!({"workflow": "broken"}).to_string()))
        .unwrap();
    let failed = api.send(prefer).await.is(201).json();
    assert_eq!(failed["state"], "failed");
    assert_eq!(failed["error"]["code"], "ERR_SKILL_FAILED");
    assert_eq!(failed["error"]["details"], json!({"part": 7}));
}

#[tokio::test]
async fn a_run_that_outlasts_the_wait_is_202() {
    let api = Api::new().await;
    let run = api.post("/v1/runs?wait=10ms", &json!({"workflow": "approve"})).await.is(202).json();
    assert!(!["succeeded", "failed", "cancelled"].contains(&run["state"].as_str().unwrap()), "{run}");
}

#[tokio::test]
async fn same_seed_and_input_give_the_same_hash() {
    let api = Api::new().await;
    let one = api.run("five@1.0.0", json!(1)).await;
    let two = api.run("five@1.0.0", json!(1)).await;
    let other = api.run("five@1.0.0", json!(2)).await;
    assert_eq!(one["content_hash"], two["content_hash"]);
    assert_ne!(one["content_hash"], other["content_hash"]);
    assert_ne!(one["id"], two["id"]);
}

#[tokio::test]
async fn an_idempotency_key_names_one_run() {
    let api = Api::new().await;
    let create = |body: Value| {
        let mut request = json_request(Method::POST, "/v1/runs?wait=30s", &body);
        request.headers_mut().insert("idempotency-key", "order-17".parse().unwrap());
        api.send(request)
    };
    let body = json!({"workflow": "five@1.0.0", "input": 1});
    let first = create(body.clone()).await.is(201);
    assert!(!first.headers.contains_key("idempotent-replayed"));
    let again = create(body).await.is(200);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.json(), first.json());
    assert_eq!(api.calls(), 5);
    create(json!({"workflow": "five@1.0.0", "input": 2})).await.problem(422, "ERR_IDEMPOTENCY_MISMATCH");
}

#[tokio::test]
async fn concurrent_creations_under_one_key_make_one_run() {
    let api = Api::new().await;
    let creations = (0..16).map(|_| {
        let mut request = json_request(Method::POST, "/v1/runs?wait=30s", &json!({"workflow": "five@1.0.0"}));
        request.headers_mut().insert("idempotency-key", "k".parse().unwrap());
        api.send(request)
    });
    let answers = futures::future::join_all(creations).await;
    let ids: std::collections::BTreeSet<_> =
        answers.iter().map(|answer| answer.json()["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert!(answers.iter().all(|answer| answer.json()["state"] == "succeeded"));
    assert_eq!(api.calls(), 5);
}

#[tokio::test]
async fn more_runs_than_slots_all_come_to_an_end() {
    let api = Api::with(2).await;
    let runs = futures::future::join_all((0..40).map(|n| api.run("five@1.0.0", json!(n)))).await;
    assert!(runs.iter().all(|run| run["state"] == "succeeded"));
    assert_eq!(api.calls(), 200);
}

#[tokio::test]
async fn parents_that_fill_every_slot_don_t_starve_their_children() {
    let api = Api::with(1).await;
    // Longer than the patience before parking, so that the child has to be claimed while its parent holds the slot.
    let run = api.post("/v1/runs?wait=60s", &json!({"workflow": "parent", "input": 1_200})).await.is(201).json();
    assert_eq!(run["output"], "rested", "{run}");
    let id = run["id"].as_str().unwrap();
    let children = api.get(&format!("/v1/runs?parent={id}")).await.is(200).json();
    assert_eq!(children["runs"].as_array().unwrap().len(), 1, "{children}");
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let api = Api::new().await;
    for n in 0..5 {
        api.run("five@1.0.0", json!(n)).await;
    }
    api.run("broken", json!(null)).await;
    let ids = |page: &Value| -> Vec<String> {
        page["runs"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().into()).collect()
    };
    let all = api.get("/v1/runs").await.is(200).json();
    assert_eq!(ids(&all).len(), 6);
    assert_eq!(all["next"], Value::Null);
    let failed = api.get("/v1/runs?state=failed,dead").await.is(200).json();
    assert_eq!(failed["runs"][0]["workflow"], "broken@1.0.0");
    assert_eq!(ids(&failed).len(), 1);
    assert_eq!(ids(&api.get("/v1/runs?workflow=five").await.json()).len(), 5);
    assert_eq!(ids(&api.get("/v1/runs?workflow=five&state=running").await.json()).len(), 0);
    let third = &all["runs"][2]["created_at"].as_str().unwrap();
    let before = ids(&api.get(&format!("/v1/runs?created_before={third}")).await.json());
    assert!(before.len() <= 3 && ids(&all).ends_with(&before), "{before:?}");
    assert_eq!(ids(&api.get("/v1/runs?older_than=1h").await.json()).len(), 0);
    assert_eq!(ids(&api.get("/v1/runs?older_than=0s").await.json()).len(), 6);
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/v1/runs?limit=4{cursor}")).await.is(200).json();
        paged.extend(ids(&page));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, ids(&all));
}
