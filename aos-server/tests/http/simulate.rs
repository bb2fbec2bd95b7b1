//! Simulation executes nothing.

use serde_json::{Value, json};

use crate::support::Api;

#[tokio::test]
async fn a_simulation_says_what_stands_in_the_way() {
    let api = Api::new().await;
    let simulate = async |body: Value| api.post("/v1/simulate", &body).await.is(200).json();
    let fine = simulate(json!({"workflow": "five@1.1.0", "input": {"x": 1}})).await;
    assert_eq!((&fine["feasible"], &fine["workflow"]), (&json!(true), &json!("five@1.1.0")), "{fine}");
    let bad_input = simulate(json!({"workflow": "five@1.1.0", "input": {}})).await;
    assert_eq!(bad_input["feasible"], false);
    assert_eq!(bad_input["problems"][0]["code"], "ERR_INVALID_INPUT");
    let unknown = simulate(json!({"workflow": "nobody"})).await;
    assert_eq!((&unknown["feasible"], &unknown["workflow"]), (&json!(false), &Value::Null));
    assert_eq!(unknown["problems"][0]["code"], "ERR_WORKFLOW_NOT_FOUND");
    api.post_empty("/v1/skills/count@1.0.0/disable").await.is(200);
    let off = simulate(json!({"workflow": "five@1.0.0"})).await;
    assert_eq!((&off["feasible"], &off["missing_skills"]), (&json!(false), &json!(["count@1.0.0"])));
    assert_eq!(api.calls(), 0);
    assert_eq!(api.get("/v1/runs").await.json()["runs"], json!([]));
}
