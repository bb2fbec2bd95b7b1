//! The audit log: whoever changes something stands in it.

use std::sync::Arc;

use aos_core::BoxFuture;
use aos_core::audit::{AuditFilter, AuditRecord, AuditStore, Chain, Checkpoint, NewAuditRecord, Page};
use aos_core::id::TenantId;
use aos_core::memory::VirtualClock;
use aos_core::runs::StoreError;
use aos_core::time::{Clock, Timestamp};
use aos_server::backend::Control;
use aos_server::config::Access;
use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use crate::document::operations;
use crate::support::{Api, json_request};

async fn records(api: &Api, query: &str) -> Vec<Value> {
    let answer = api.get(&format!("/v1/audit?{query}")).await.is(200).json();
    answer["records"].as_array().unwrap().clone()
}

fn fields(record: &Value) -> [&str; 4] {
    ["stage", "actor", "action", "subject"].map(|name| record[name].as_str().unwrap())
}

/// Every operation of the document that changes something, refused or not, but for those with journals of their own.
#[tokio::test]
async fn every_change_stands_in_the_log() {
    let api = Api::new().await;
    let document = api.get("/openapi.json").await.is(200).json();
    let mut audited = 0;
    for (method, path, operation) in operations(&document) {
        let needed = operation["security"][0]["api_key"][0].as_str().unwrap_or("none");
        let name = operation["operationId"].as_str().unwrap();
        let uri = path.replace(['{', '}'], "");
        let before = records(&api, "limit=1").await.first().map_or(0, |last| last["seq"].as_u64().unwrap());
        if method == "get" {
            continue;
        }
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        api.send(json_request(method, &uri, &json!({"note": "api_key=canary"}))).await;
        let new = records(&api, &format!("order=oldest&after={before}")).await;
        if needed == "read" || ["createRun", "signalRun"].contains(&name) {
            assert_eq!(new, Vec::<Value>::new(), "{name}");
            continue;
        }
        audited += 1;
        let [asked, ended] = &new[..] else { panic!("{name}: {new:?}") };
        assert_eq!(fields(asked), ["asked", "anybody", name, uri.as_str()]);
        assert_eq!(asked["detail"], r#"{"note":"api_key=[redacted]"}"#, "{name}");
        assert_eq!(fields(ended)[1..], fields(asked)[1..]);
        let outcome: Value = serde_json::from_str(ended["detail"].as_str().unwrap()).unwrap();
        assert_eq!(outcome["of"], asked["seq"]);
        let is_done = outcome["status"].as_u64().unwrap() < 400;
        assert_eq!(fields(ended)[0], if is_done { "done" } else { "failed" }, "{name}: {outcome}");
        assert_eq!(outcome["code"].is_null(), is_done, "{name}: {outcome}");
    }
    assert!(audited >= 30, "{audited}");
    let mut chain = Chain::default();
    for record in records(&api, "order=oldest&limit=1000").await {
        chain.check(&record).unwrap();
    }
    assert_eq!(chain.len(), 2 * audited);
}

#[tokio::test]
async fn a_record_says_who_did_what_with_what() {
    let clock = VirtualClock::new(Timestamp::from_millis(1_800_000_000_000));
    let api = Api::guarded(Access::Keys, &clock).await;
    let first = api.state().gate.make_first().await.unwrap().unwrap();
    let request = |method: Method, path: &str, body: Value| {
        let mut request = json_request(method, path, &body);
        for (name, value) in [("x-api-key", first.expose()), ("x-request-id", "req-17")] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        request
    };
    let body = json!({"label": "nightly", "scope": "run", "password": "canary"});
    api.send(request(Method::POST, "/v1/keys", body)).await.is(400);
    let made = api.send(request(Method::POST, "/v1/keys", json!({"label": "nightly", "scope": "run"}))).await.is(201);
    let off = json!({"on": true, "by": "Ada", "reason": "a bill"});
    api.send(request(Method::PUT, "/v1/switches/disable_live_adapters", off)).await.is(200);
    // By mistake, the whole key.
    let path = format!("/v1/keys/{}", first.expose());
    api.send(request(Method::DELETE, &path, json!({}))).await.is(404);

    let log = api.send(request(Method::GET, "/v1/audit?order=oldest", json!({}))).await.is(200);
    assert!(!log.text.contains("canary") && !log.text.contains(first.expose()), "{}", log.text);
    let log = log.json();
    let log = log["records"].as_array().unwrap();
    assert_eq!(log.len(), 8);
    for record in log {
        assert_eq!(record["actor"], first.id().as_str());
        assert_eq!(record["request_id"], "req-17");
        assert_eq!(record["at"], "2027-01-15T08:00:00.000Z");
    }
    let outcome = |n: usize| serde_json::from_str::<Value>(log[n]["detail"].as_str().unwrap()).unwrap();
    assert_eq!(outcome(1), json!({"of": 1, "status": 400, "code": "ERR_INVALID_REQUEST"}));
    assert_eq!(outcome(3), json!({"of": 3, "status": 201, "made": made.json()["id"]}));
    assert_eq!(outcome(4), json!({"by": "Ada", "on": true, "reason": "a bill"}));
    assert_eq!(fields(&log[5])[2..], ["turnSwitch", "/v1/switches/disable_live_adapters"]);
    assert_eq!(fields(&log[6])[2..], ["revokeKey", "/v1/keys/[redacted]"]);

    for (query, expected) in [
        ("stage=done", vec![6, 4]),
        ("action=turnSwitch&order=oldest", vec![5, 6]),
        ("text=bill", vec![5]),
        ("actor=anybody", vec![]),
        ("request_id=req-17&limit=1", vec![8]),
        ("before=3", vec![2, 1]),
        ("since=2027-01-16", vec![]),
        ("until=2027-01-15T08:00:00Z", vec![]),
    ] {
        let path = format!("/v1/audit?{query}");
        let found = api.send(request(Method::GET, &path, json!({}))).await.is(200).json();
        let found: Vec<_> = found["records"].as_array().unwrap().iter().map(|r| r["seq"].as_u64().unwrap()).collect();
        assert_eq!(found, expected, "{query}");
    }
    for query in ["stage=maybe", "order=up", "limit=0", "limit=1001", "since=soon", "nothing=1"] {
        for path in [format!("/v1/audit?{query}"), format!("/v1/audit/checkpoints?{query}")] {
            api.send(request(Method::GET, &path, json!({}))).await.problem(400, "ERR_INVALID_REQUEST");
        }
    }
}

#[tokio::test]
async fn long_and_odd_bodies_are_kept_in_part() {
    let api = Api::new().await;
    let long = format!("id: {}", "ä".repeat(5_000));
    for (body, expected) in
        [(long.as_str(), "… (10004 bytes in all)"), ("password: canary-17\n", "password: [redacted]\n"), ("", "")]
    {
        let request = Request::post("/v1/workflows").header("content-type", "application/yaml");
        api.send(request.body(Body::from(body.to_owned())).unwrap()).await;
        let asked = &records(&api, "stage=asked&limit=1").await[0];
        let detail = asked["detail"].as_str().unwrap();
        assert!(detail.ends_with(expected) && detail.len() < 4_200, "{detail}");
    }
}

/// A log that takes no records.
struct Full;

impl AuditStore for Full {
    fn append(&self, _: NewAuditRecord) -> BoxFuture<'_, Result<AuditRecord, StoreError>> {
        let full = StoreError::Unavailable { operation: "append", source: "the disk is full".into() };
        Box::pin(std::future::ready(Err(full)))
    }

    fn read<'a>(
        &'a self,
        _: &'a TenantId,
        _: &'a AuditFilter,
        _: Page,
    ) -> BoxFuture<'a, Result<Vec<AuditRecord>, StoreError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn put_checkpoint(&self, _: Checkpoint) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn checkpoints<'a>(&'a self, _: &'a TenantId, _: Page) -> BoxFuture<'a, Result<Vec<Checkpoint>, StoreError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

#[tokio::test]
async fn nothing_is_changed_that_cannot_be_written_down() {
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::default());
    let api = Api::steered(Control { audit: Arc::new(Full), ..Control::in_memory(&clock) }).await;
    let body = json!({"on": true, "by": "Ada", "reason": "a bill"});
    api.put("/v1/switches/pause_claims", &body).await.problem(503, "ERR_STORE_UNAVAILABLE");
    let switches = api.get("/v1/switches").await.is(200).json();
    assert!(switches["switches"].as_array().unwrap().iter().all(|switch| switch["on"] == false), "{switches}");
}
