//! Health and metrics, as the runbook has them.

use serde_json::json;

use crate::support::Api;

#[tokio::test]
async fn the_runbook_s_answers() {
    let api = Api::new().await;
    let health = api.get("/health").await.is(200).json();
    assert_eq!(health["status"], "healthy");
    assert_eq!(api.get("/health/live").await.is(200).json(), json!({"alive": true}));
    let ready = api.get("/health/ready").await.is(200).json();
    assert_eq!(ready["ready"], true);
    for check in ["database", "registry", "worker"] {
        assert_eq!(ready["checks"][check]["ok"], true, "{ready}");
        assert_eq!(ready["checks"][check]["status"], "pass", "{ready}");
    }
    let adapters = api.get("/health/adapters").await.is(200).json();
    assert_eq!(adapters["adapters"], json!([{"name": "stub", "live": false, "default": true}]));
    assert_eq!(adapters["switches"]["disable_live_adapters"], false);
    api.state().adapters.switches().set_disable_live_adapters(true);
    assert_eq!(api.get("/health/adapters").await.json()["switches"]["disable_live_adapters"], true);
}

#[tokio::test]
async fn skills_without_code_are_named() {
    let api = Api::new().await;
    assert_eq!(api.get("/health/skills").await.is(200).json()["status"], "healthy");
    let contract = aos_core::skill::SkillContract::pure("elsewhere", "1.0.0").unwrap();
    let (registry, store) = (&api.state().registry, &api.state().registry_store);
    let now = aos_core::time::Timestamp::EPOCH;
    registry.commit(&**store, |registry| registry.register_remote(contract.clone(), now)).await.unwrap();
    let health = api.get("/health/skills").await.is(200).json();
    assert_eq!(health["status"], "degraded");
    assert_eq!(health["without_code"], json!(["elsewhere@1.0.0"]));
    assert_eq!(health["registered"], 6);
}

#[tokio::test]
async fn a_stopping_server_is_not_ready_and_takes_nothing_on() {
    let api = Api::new().await;
    api.state().worker.stop();
    assert_eq!(api.get("/health").await.json()["status"], "stopping");
    let ready = api.get("/health/ready").await.is(503).json();
    assert_eq!((&ready["ready"], &ready["checks"]["worker"]["ok"]), (&json!(false), &json!(false)));
    assert_eq!(ready["checks"]["worker"]["status"], "fail");
    let run = api.post("/v1/runs", &json!({"workflow": "five@1.0.0"})).await.is(201).json();
    assert_eq!(run["state"], "queued", "accepted for whoever works next");
    api.running.stop().await;
}

#[tokio::test]
async fn metrics_tell_what_happened() {
    let api = Api::new().await;
    api.run("five@1.0.0", json!(1)).await;
    api.run("broken", json!(1)).await;
    let page = api.get("/metrics").await.is(200);
    assert!(page.header("content-type").starts_with("text/plain"));
    for line in [
        r#"aos_runs_total{status="succeeded",workflow="five"} 1"#,
        r#"aos_runs_total{status="failed",workflow="broken"} 1"#,
        r#"aos_skill_duration_seconds_count{skill="count",version="1.0.0"} 5"#,
        r#"aos_skill_errors_total{code="ERR_SKILL_FAILED",skill="break",version="1.0.0"} 1"#,
        r#"aos_registry_size{kind="skill"} 5"#,
        r#"aos_registry_size{kind="workflow"} 8"#,
        "aos_determinism_drift 0",
        r#"route="/v1/runs""#,
    ] {
        assert!(page.text.contains(line), "{line} is not on the page:\n{}", page.text);
    }
    assert!(!page.text.contains("/v1/runs/0"), "paths are no labels");
}
