//! Skills and the registry as a whole.

use serde_json::json;

use crate::support::Api;

#[tokio::test]
async fn skills_are_listed_described_and_switched() {
    let api = Api::new().await;
    let list = api.get("/v1/skills").await.is(200).json();
    let names: Vec<_> = list["skills"].as_array().unwrap().iter().map(|s| s["skill"].as_str().unwrap()).collect();
    assert_eq!(names, ["break@1.0.0", "charge@1.0.0", "count@1.0.0", "hang@1.0.0", "shout@1.0.0"]);
    for name in ["shout", "shout@1.0.0", "shout@%5E1"] {
        let skill = api.get(&format!("/v1/skills/{name}")).await.is(200).json();
        assert_eq!(skill["skill"], "shout@1.0.0");
        assert_eq!((&skill["crash"], &skill["executable"]), (&json!("pure"), &json!(true)));
        assert_eq!(skill["contract"]["input_schema"], json!({"type": "string"}));
    }
    let off = api.post("/v1/skills/count@1.0.0/disable", &json!({"reason": "too dear"})).await.is(200).json();
    assert_eq!((&off["enabled"], &off["disabled_reason"]), (&json!(false), &json!("too dear")));
    let failed = api.run("five@1.0.0", json!(1)).await;
    assert_eq!(failed["error"]["code"], "ERR_SKILL_DISABLED");
    assert!(failed["error"]["message"].as_str().unwrap().contains("too dear"));
    api.post_empty("/v1/skills/count@1.0.0/enable").await.is(200);
    assert_eq!(api.run("five@1.0.0", json!(1)).await["state"], "succeeded");
}

#[tokio::test]
async fn a_snapshot_brings_the_registry_back() {
    let api = Api::new().await;
    let before = api.get("/v1/registry").await.is(200).json();
    let taken = api.post_empty("/v1/registry/snapshots").await.is(201).json();
    assert_eq!(taken["hash"], before["hash"]);
    api.post_empty("/v1/skills/count@1.0.0/disable").await.is(200);
    assert_ne!(api.get("/v1/registry").await.json()["hash"], before["hash"]);
    let back = api.post("/v1/registry/rollback", &json!({"snapshot": taken["hash"]})).await.is(200).json();
    assert_eq!(back["changed"], json!(["skill count@1.0.0"]));
    assert_eq!(api.get("/v1/registry").await.json()["hash"], before["hash"]);
    let snapshots = api.get("/v1/registry/snapshots").await.is(200).json();
    assert_eq!(snapshots["snapshots"][0], taken);
    let kept = api.get(&format!("/v1/registry/snapshots/{}", taken["hash"].as_str().unwrap())).await.is(200);
    assert_eq!(kept.text, api.get("/v1/registry/export").await.is(200).text);
    let audit = api.get("/v1/registry/audit?limit=2").await.is(200).json();
    let actions: Vec<_> = audit["entries"].as_array().unwrap().iter().map(|e| e["action"].clone()).collect();
    assert_eq!(actions, ["rollback", "disable"]);
    let missing = json!({"snapshot": "0".repeat(64)});
    api.post("/v1/registry/rollback", &missing).await.problem(404, "ERR_NOT_FOUND");
}

#[tokio::test]
async fn an_export_is_imported_elsewhere() {
    let (here, there) = (Api::new().await, Api::new().await);
    let contract = aos_core::skill::SkillContract::pure("extra", "1.0.0").unwrap();
    let (registry, store) = (&here.state().registry, &here.state().registry_store);
    let now = aos_core::time::Timestamp::EPOCH;
    registry.commit(&**store, |registry| registry.register_remote(contract.clone(), now)).await.unwrap();
    let export = here.get("/v1/registry/export").await.is(200).json();
    let preview = there.post("/v1/registry/import?dry_run=true", &export).await.is(200).json();
    assert_eq!((&preview["dry_run"], &preview["added"]), (&json!(true), &json!(["skill extra@1.0.0"])));
    there.get("/v1/skills/extra").await.is(404);
    let done = there.post("/v1/registry/import", &export).await.is(200).json();
    assert_eq!((&done["dry_run"], &done["added"]), (&json!(false), &json!(["skill extra@1.0.0"])));
    there.get("/v1/skills/extra").await.is(200);
    assert_eq!(there.get("/v1/registry").await.json()["hash"], export["hash"]);
}
