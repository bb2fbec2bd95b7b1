//! The queue: depth, limits, its bound, and dead letters.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{Api, json_request};

#[tokio::test]
async fn the_queue_is_shown_with_its_limits() {
    let api = Api::with(2).await;
    let empty = api.get("/v1/queue").await.is(200).json();
    assert_eq!(empty["depth"], json!({"queued": 0, "running": 0, "parked": 0, "paused": 0, "dead": 0}));
    assert_eq!((&empty["oldest_claimable_at"], &empty["max_queued"]), (&Value::Null, &Value::Null), "{empty}");
    let limit = api.put("/v1/queue/limits/hang", &json!({"max": 1})).await.is(200).json();
    assert_eq!(limit, json!({"workflow": "hang", "max": 1, "held": 0, "queued": 0}));
    let hang = json!({"workflow": "hang"});
    let runs = futures::future::join_all((0..3).map(|_| api.post("/v1/runs", &hang))).await;
    let first = runs[0].json();
    api.until(&first, &["running"]).await;
    api.dead("five@1.0.0").await;
    let queue = api.get("/v1/queue").await.is(200).json();
    assert_eq!(queue["depth"], json!({"queued": 2, "running": 1, "parked": 0, "paused": 0, "dead": 1}));
    assert_eq!(queue["limits"], json!([{"workflow": "hang", "max": 1, "held": 1, "queued": 2}]));
    assert!(
        queue["oldest_claimable_s"].as_f64().unwrap() >= 0.0 && queue["oldest_claimable_at"].is_string(),
        "{queue}"
    );
    assert_eq!(api.get("/v1/queue/limits/hang").await.is(200).json(), queue["limits"][0]);
    // Without the limit the second slot is for the next one.
    for _ in 0..2 {
        api.delete("/v1/queue/limits/hang").await.is(204);
    }
    api.until(&runs[1].json(), &["running"]).await;
    api.get("/v1/queue/limits/hang").await.problem(404, "ERR_NOT_FOUND");
}

#[tokio::test]
async fn malformed_limits_are_named() {
    let api = Api::new().await;
    for (path, body, says) in [
        ("/v1/queue/limits/NO", json!({"max": 1}), "workflow id"),
        ("/v1/queue/limits/a", json!({"max": -1}), "max"),
        ("/v1/queue/limits/a", json!({"max": 1.5}), "max"),
        ("/v1/queue/limits/a", json!({"maximum": 1}), "maximum"),
        ("/v1/queue/limits/a", json!({}), "max"),
    ] {
        let problem = api.put(path, &body).await.problem(400, "ERR_INVALID_REQUEST");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{problem}");
    }
}

#[tokio::test]
async fn a_full_queue_accepts_what_it_has_and_nothing_else() {
    let api = Api::bounded(1, 2).await;
    let create = |key: &str, input: Value| {
        let mut request = json_request(Method::POST, "/v1/runs", &json!({"workflow": "hang", "input": input}));
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        api.send(request)
    };
    let first = create("first", json!(1)).await.is(201).json();
    api.until(&first, &["running"]).await;
    let second = create("second", json!(2)).await.is(201).json();
    create("third", json!(3)).await.is(201);
    for _ in 0..2 {
        let refused = create("fourth", json!(4)).await;
        assert_eq!(refused.header("retry-after"), "5");
        let problem = refused.problem(429, "ERR_QUEUE_FULL");
        assert_eq!((&problem["retryable"], &problem["retry_after_ms"]), (&json!(true), &json!(5_000)), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("AOS_MAX_QUEUED is 2"), "{problem}");
        api.post("/v1/runs", &json!({"workflow": "hang"})).await.problem(429, "ERR_QUEUE_FULL");
        // Counted meanwhile, it is as full as before.
        tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    }
    let again = create("second", json!(2)).await.is(200);
    assert_eq!((again.header("idempotent-replayed"), &again.json()["id"]), ("true", &second["id"]));
    create("second", json!(9)).await.problem(422, "ERR_IDEMPOTENCY_MISMATCH");
    assert_eq!(api.get("/v1/queue").await.json()["max_queued"], 2);
    // Room is noticed.
    api.post_empty(&format!("{}/cancel", second["links"]["self"].as_str().unwrap())).await.is(202);
    api.post_empty(&format!("{}/cancel", first["links"]["self"].as_str().unwrap())).await.is(202);
    for _ in 0..100 {
        let answer = create("fourth", json!(4)).await;
        if answer.status == 201 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the queue stayed full");
}

#[tokio::test]
async fn dead_letters_are_listed_and_decided_about() {
    let api = Api::new().await;
    assert_eq!(api.get("/v1/dead-letters").await.is(200).json(), json!({"dead_letters": [], "next": null}));
    let (one, two) = (api.dead("five@1.0.0").await, api.dead("approve").await);
    let list = api.get("/v1/dead-letters").await.is(200).json();
    let ids: Vec<_> = list["dead_letters"].as_array().unwrap().iter().map(|letter| letter["run"].clone()).collect();
    assert_eq!(ids, [json!(two), json!(one)]);
    let letter = &list["dead_letters"][1];
    assert_eq!(letter["reason"]["code"], "ERR_RUN_DEAD", "{letter}");
    assert_eq!((&letter["workflow"], &letter["rescues"]), (&json!("five@1.0.0"), &json!(0)), "{letter}");
    assert!(letter["since"].as_str().unwrap() >= letter["created_at"].as_str().unwrap(), "{letter}");
    let paged = api.get("/v1/dead-letters?limit=1").await.json();
    let next = api.get(&format!("/v1/dead-letters?limit=1&cursor={}", paged["next"].as_str().unwrap())).await.json();
    assert_eq!(next["dead_letters"][0]["run"], one);
    assert_eq!(api.get("/v1/dead-letters?workflow=five").await.json()["dead_letters"].as_array().unwrap().len(), 1);

    api.post_empty(&format!("/v1/dead-letters/{one}/retry")).await.is(200);
    assert_eq!(api.get(&format!("/v1/runs/{one}?wait=30s")).await.json()["state"], "succeeded");
    let discarded =
        api.post(&format!("/v1/dead-letters/{two}/discard"), &json!({"reason": "no use"})).await.is(200).json();
    assert_eq!((&discarded["state"], &discarded["error"]["code"]), (&json!("cancelled"), &json!("ERR_CANCELLED")));
    let message = discarded["error"]["message"].as_str().unwrap();
    assert!(message.contains("no use") && message.contains("ERR_RUN_DEAD"), "{message}");
    assert_eq!(api.get("/v1/dead-letters").await.json()["dead_letters"], json!([]));
    for action in ["retry", "discard"] {
        let problem = api.post_empty(&format!("/v1/dead-letters/{two}/{action}")).await.problem(409, "ERR_CONFLICT");
        assert!(problem["detail"].as_str().unwrap().contains("only a dead run"), "{problem}");
        api.post_empty(&format!("/v1/dead-letters/none/{action}")).await.problem(404, "ERR_NOT_FOUND");
    }
    api.get("/v1/dead-letters?limit=0").await.problem(400, "ERR_INVALID_REQUEST");
}
