//! What the whole installation is steered by: workers, switches, limits of skills.

use serde_json::{Value, json};

use crate::support::Api;

#[tokio::test]
async fn workers_are_listed_as_they_say_of_themselves() {
    let api = Api::with(3).await;
    for _ in 0..2_000 {
        let list = api.get("/v1/workers").await.is(200).json();
        let [worker] = &list["workers"].as_array().unwrap()[..] else {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            continue;
        };
        assert_eq!((&worker["worker"], &worker["role"]), (&json!("test"), &json!("serve")), "{worker}");
        assert_eq!((&worker["alive"], &worker["draining"]), (&json!(true), &json!(false)), "{worker}");
        assert_eq!((&worker["in_hand"], &worker["concurrency"]), (&json!(0), &json!(3)), "{worker}");
        assert_eq!(
            (&worker["pid"], &worker["version"]),
            (&json!(std::process::id()), &json!(env!("CARGO_PKG_VERSION")))
        );
        assert!(worker["seen_at"].as_str().unwrap() >= worker["since"].as_str().unwrap(), "{worker}");
        return;
    }
    panic!("no worker was ever listed");
}

#[tokio::test]
async fn switches_are_turned_by_somebody_for_a_reason() {
    let api = Api::new().await;
    let list = api.get("/v1/switches").await.is(200).json();
    let names: Vec<_> = list["switches"].as_array().unwrap().iter().map(|switch| switch["switch"].clone()).collect();
    assert_eq!(names, ["disable_live_adapters", "force_stub_adapter", "pause_claims", "debug_logging"]);
    assert!(list["switches"].as_array().unwrap().iter().all(|switch| switch["on"] == false && switch["by"].is_null()));
    assert_eq!(list["history"], json!([]));

    let turn = |on: bool| json!({"on": on, "by": "Ada", "reason": if on { "a storm" } else { "it is over" }});
    let on = api.put("/v1/switches/pause_claims", &turn(true)).await.is(200).json();
    assert_eq!((&on["on"], &on["in_effect"], &on["reason"]), (&json!(true), &json!(true), &json!("a storm")), "{on}");
    let dead = api.dead("five@1.0.0").await;
    api.post_empty(&format!("/v1/runs/{dead}/retry")).await.is(200);
    assert_eq!(api.get(&format!("/v1/runs/{dead}?wait=300ms")).await.json()["state"], "queued");
    let off = api.put("/v1/switches/pause_claims", &turn(false)).await.is(200).json();
    assert_eq!((&off["on"], &off["in_effect"]), (&json!(false), &json!(false)), "{off}");
    assert_eq!(api.get(&format!("/v1/runs/{dead}?wait=30s")).await.json()["state"], "succeeded");

    let list = api.get("/v1/switches?history=1").await.is(200).json();
    assert_eq!(list["history"].as_array().unwrap().len(), 1);
    assert_eq!((&list["history"][0]["by"], &list["history"][0]["on"]), (&json!("Ada"), &json!(false)), "{list}");
    assert_eq!(list["switches"][2]["reason"], "it is over");
    api.put("/v1/switches/force_stub_adapter", &turn(true)).await.is(200);
    let adapters = api.get("/health/adapters").await.json();
    assert_eq!(adapters["switches"]["force_stub_adapter"], true, "{adapters}");

    api.put("/v1/switches/lights", &turn(true)).await.problem(404, "ERR_NOT_FOUND");
    api.get("/v1/switches?history=1001").await.problem(400, "ERR_INVALID_REQUEST");
    for (body, says) in [
        (json!({"on": true, "by": " ", "reason": "x"}), "\"by\" is empty"),
        (json!({"on": true, "by": "Ada", "reason": ""}), "\"reason\" is empty"),
        (json!({"on": true, "by": "Ada"}), "reason"),
        (json!({"on": "yes", "by": "Ada", "reason": "x"}), "on"),
        (json!({"on": true, "by": "Ada", "reason": "x".repeat(1_001)}), "reason"),
        (json!({"on": true, "by": "Ada", "reason": "x", "for": "soon"}), "expected a time such as"),
        (json!({"on": false, "by": "Ada", "reason": "x", "for": "1m"}), "turned on"),
    ] {
        let problem = api.put("/v1/switches/pause_claims", &body).await.problem(400, "ERR_INVALID_REQUEST");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{body}: {problem}");
    }
}

#[tokio::test]
async fn limits_of_skills_are_set_shown_and_lifted() {
    let api = Api::new().await;
    let path = "/v1/queue/skill-limits/count";
    api.get(path).await.problem(404, "ERR_NOT_FOUND");
    assert_eq!(api.put(path, &json!({"max": 2})).await.is(200).json(), json!({"skill": "count", "max": 2}));
    assert_eq!(api.get(path).await.is(200).json()["max"], 2);
    assert_eq!(api.get("/v1/queue").await.json()["skill_limits"], json!([{"skill": "count", "max": 2}]));
    assert_eq!(api.run("five@1.0.0", json!(1)).await["state"], "succeeded");
    for _ in 0..2 {
        api.delete(path).await.is(204);
    }
    assert_eq!(api.get("/v1/queue").await.json()["skill_limits"], Value::Array(vec![]));
    api.put("/v1/queue/skill-limits/NO", &json!({"max": 2})).await.problem(400, "ERR_INVALID_REQUEST");
}
