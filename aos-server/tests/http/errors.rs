//! Every error is a problem document with a stable code, a place, and the request's id.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use crate::support::{Api, json_request};

fn raw(method: &str, path: &str, content_type: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    match content_type {
        Some(content_type) => request.header("content-type", content_type),
        None => request,
    }
    .body(body.into())
    .unwrap()
}

#[tokio::test]
async fn malformed_requests_are_named() {
    let api = Api::new().await;
    let deep = format!("{{\"workflow\":\"five\",\"input\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    let json = Some("application/json");
    for (method, path, content_type, body, status, code, says) in [
        ("GET", "/nowhere", None, "", 404, "ERR_NOT_FOUND", "/openapi.json"),
        ("GET", "/v1/runs/none", None, "", 404, "ERR_NOT_FOUND", "none"),
        ("GET", "/v1/runs/no%20run", None, "", 404, "ERR_NOT_FOUND", "no run"),
        ("GET", "/v1/runs/%FF", None, "", 400, "ERR_INVALID_REQUEST", "path"),
        ("DELETE", "/v1/runs", None, "", 405, "ERR_INVALID_REQUEST", "DELETE"),
        ("GET", "/v1/runs/none/journal", None, "", 404, "ERR_NOT_FOUND", "none"),
        ("GET", "/v1/runs/none/events", None, "", 404, "ERR_NOT_FOUND", "none"),
        ("GET", "/v1/runs/none/golden", None, "", 404, "ERR_NOT_FOUND", "none"),
        ("POST", "/v1/runs/none/replay", None, "", 404, "ERR_NOT_FOUND", "none"),
        ("POST", "/v1/runs/none/cancel", None, "", 404, "ERR_NOT_FOUND", "none"),
        ("POST", "/v1/runs/none/signals/go", None, "", 404, "ERR_NOT_FOUND", "none"),
        ("GET", "/v1/runs?state=lost", None, "", 400, "ERR_INVALID_REQUEST", "queued, running"),
        ("GET", "/v1/runs?limit=0", None, "", 400, "ERR_INVALID_REQUEST", "1 to 200"),
        ("GET", "/v1/runs?limit=many", None, "", 400, "ERR_INVALID_REQUEST", "query"),
        ("GET", "/v1/runs?color=red", None, "", 400, "ERR_INVALID_REQUEST", "color"),
        ("GET", "/v1/runs?workflow=NO", None, "", 400, "ERR_INVALID_REQUEST", "workflow"),
        ("GET", "/v1/runs?older_than=30", None, "", 400, "ERR_INVALID_REQUEST", "30d"),
        ("GET", "/v1/runs?created_before=now", None, "", 400, "ERR_INVALID_REQUEST", "RFC 3339"),
        (
            "GET",
            "/v1/runs?created_before=1970-01-01T00:00:00Z&older_than=1h",
            None,
            "",
            400,
            "ERR_INVALID_REQUEST",
            "leave one out",
        ),
        ("GET", "/v1/runs/none?wait=soon", None, "", 400, "ERR_INVALID_REQUEST", "wait=30s"),
        ("POST", "/v1/runs", None, "{}", 415, "ERR_INVALID_REQUEST", "content type"),
        ("POST", "/v1/runs", Some("text/plain"), "{}", 415, "ERR_INVALID_REQUEST", "application/json"),
        ("POST", "/v1/runs", json, "", 400, "ERR_INVALID_JSON", "line 1"),
        (
            "POST",
            "/v1/runs",
            json,
            "{\"input\": 1234567890123456789012}",
            400,
            "ERR_NUMBER_OUT_OF_RANGE",
            "line 1 column 11",
        ),
        (
            "POST",
            "/v1/runs",
            Some("application/yaml"),
            "input: 1234567890123456789012",
            400,
            "ERR_NUMBER_OUT_OF_RANGE",
            "/input",
        ),
        ("POST", "/v1/runs", json, "{\n\"workflow\": nope}", 400, "ERR_INVALID_JSON", "line 2 column 14"),
        ("POST", "/v1/runs", json, "[]", 400, "ERR_INVALID_REQUEST", "body"),
        ("POST", "/v1/runs", json, "{}", 400, "ERR_INVALID_REQUEST", "workflow"),
        ("POST", "/v1/runs", json, r#"{"workflow":1}"#, 400, "ERR_INVALID_REQUEST", "name of a workflow"),
        ("POST", "/v1/runs", json, r#"{"workflow":"five","inptu":1}"#, 400, "ERR_INVALID_REQUEST", "inptu"),
        ("POST", "/v1/runs", json, r#"{"workflow":"five","seed":-1}"#, 400, "ERR_INVALID_REQUEST", "seed"),
        ("POST", "/v1/runs", json, r#"{"workflow":"fiev"}"#, 422, "ERR_WORKFLOW_NOT_FOUND", "fiev"),
        ("POST", "/v1/runs", json, r#"{"workflow":"five@^9"}"#, 422, "ERR_WORKFLOW_NOT_FOUND", "five"),
        ("POST", "/v1/runs", json, r#"{"workflow":"five@!"}"#, 400, "ERR_INVALID_REQUEST", "five@!"),
        ("POST", "/v1/runs", json, r#"{"workflow":"five@1.0.0","budget":"lots"}"#, 400, "ERR_INVALID_REQUEST", "0.50"),
        ("POST", "/v1/runs", json, r#"{"workflow":"five@1.0.0","budget":0.5}"#, 400, "ERR_INVALID_REQUEST", "budget"),
        (
            "POST",
            "/v1/runs",
            json,
            r#"{"workflow":"five@1.0.0","seed":9007199254740993}"#,
            400,
            "ERR_NUMBER_OUT_OF_RANGE",
            "/seed",
        ),
        (
            "POST",
            "/v1/runs",
            json,
            r#"{"workflow":"five@1.0.0","input":{"ids":[1,9007199254740993]}}"#,
            400,
            "ERR_NUMBER_OUT_OF_RANGE",
            "/input/ids/1",
        ),
        ("POST", "/v1/runs", json, &deep, 400, "ERR_TOO_DEEP", "deep"),
        ("POST", "/v1/registry/import", json, "{}", 400, "ERR_INVALID_REQUEST", "snapshot"),
        ("POST", "/v1/registry/import", json, "{", 400, "ERR_INVALID_JSON", "line 1"),
        ("POST", "/v1/registry/import?dry_run=maybe", json, "{}", 400, "ERR_INVALID_REQUEST", "query"),
        ("POST", "/v1/registry/rollback", json, r#"{"snapshot":"x"}"#, 404, "ERR_NOT_FOUND", "snapshot"),
        ("GET", "/v1/registry/snapshots/00", None, "", 404, "ERR_NOT_FOUND", "snapshot"),
        ("GET", "/v1/registry/audit?limit=0", None, "", 400, "ERR_INVALID_REQUEST", "1 to 1000"),
        ("GET", "/v1/skills/nobody", None, "", 404, "ERR_SKILL_NOT_FOUND", "nobody"),
        ("GET", "/v1/skills/count@!", None, "", 400, "ERR_INVALID_REQUEST", "count@!"),
        ("POST", "/v1/skills/count/disable", None, "", 400, "ERR_INVALID_REQUEST", "1.2.3"),
        ("POST", "/v1/skills/count@9.9.9/disable", None, "", 404, "ERR_NOT_FOUND", "count@9.9.9"),
        ("GET", "/v1/workflows/nobody", None, "", 404, "ERR_WORKFLOW_NOT_FOUND", "nobody"),
        ("POST", "/v1/workflows/five@9.9.9/enable", None, "", 404, "ERR_NOT_FOUND", "five@9.9.9"),
        ("POST", "/v1/simulate", json, r#"{"workflow":"five@1.0.0","budget":"x"}"#, 400, "ERR_INVALID_REQUEST", "0.50"),
        ("GET", "/v1/schedules/nobody", None, "", 404, "ERR_NOT_FOUND", "no schedule nobody"),
        ("GET", "/v1/schedules/no%20id", None, "", 404, "ERR_NOT_FOUND", "no id"),
        ("DELETE", "/v1/schedules/nobody", None, "", 404, "ERR_NOT_FOUND", "nobody"),
        ("DELETE", "/v1/schedules/no%20id", None, "", 404, "ERR_NOT_FOUND", "no id"),
        ("POST", "/v1/schedules/nobody/pause", None, "", 404, "ERR_NOT_FOUND", "nobody"),
        ("POST", "/v1/schedules/nobody/resume", None, "", 404, "ERR_NOT_FOUND", "nobody"),
        ("POST", "/v1/schedules/nobody/trigger", None, "", 404, "ERR_NOT_FOUND", "nobody"),
        ("PUT", "/v1/schedules/s", json, "{}", 400, "ERR_INVALID_REQUEST", "workflow"),
        ("PUT", "/v1/schedules/s", json, r#"{"workflow":"five"}"#, 400, "ERR_INVALID_REQUEST", "cron"),
        (
            "PUT",
            "/v1/schedules/no%20id",
            json,
            r#"{"workflow":"five","cron":"@daily"}"#,
            400,
            "ERR_INVALID_REQUEST",
            "no id",
        ),
        (
            "PUT",
            "/v1/schedules/s",
            json,
            r#"{"workflow":"five","cron":"0 25 * * *"}"#,
            400,
            "ERR_INVALID_REQUEST",
            "\"25\" as hour",
        ),
        (
            "PUT",
            "/v1/schedules/s",
            json,
            r#"{"workflow":"five","cron":"@daily","time_zone":"Europe/Belin"}"#,
            400,
            "ERR_INVALID_REQUEST",
            "Europe/Berlin",
        ),
        (
            "PUT",
            "/v1/schedules/s",
            json,
            r#"{"workflow":"five","cron":"@daily","overlap":"maybe"}"#,
            400,
            "ERR_INVALID_REQUEST",
            "overlap",
        ),
        (
            "PUT",
            "/v1/schedules/s",
            json,
            r#"{"workflow":"fiev","cron":"@daily"}"#,
            422,
            "ERR_WORKFLOW_NOT_FOUND",
            "fiev",
        ),
        ("PUT", "/v1/schedules/s", json, r#"{"workflow":"five@1.1.0","cron":"@daily"}"#, 422, "ERR_INVALID_INPUT", "x"),
    ] {
        let answer = api.send(raw(method, path, content_type, body.to_owned())).await;
        let about = format!("{method} {path} {body:.60}: {}", answer.text);
        assert_eq!(answer.status.as_u16(), status, "{about}");
        let problem = answer.problem(status, code);
        assert!(problem["detail"].as_str().unwrap().contains(says), "{about}");
    }
}

#[tokio::test]
async fn an_input_that_does_not_fit_names_every_mistake() {
    let api = Api::new().await;
    let problem = api
        .post("/v1/runs", &json!({"workflow": "five@1.1.0", "input": {"y": 1}}))
        .await
        .problem(422, "ERR_INVALID_INPUT");
    let errors = problem["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 2, "{problem}");
    assert!(errors.iter().any(|error| error["path"] == "/y"), "{problem}");
}

#[tokio::test]
async fn bodies_are_bounded() {
    let api = Api::new().await;
    let huge = format!("{{\"workflow\":\"five@1.0.0\",\"input\":\"{}\"}}", "x".repeat(10_000_001));
    let declared = json_request(Method::POST, "/v1/runs", &Value::Null);
    let mut declared = declared.map(|_| Body::from(huge.clone()));
    declared.headers_mut().insert("content-length", huge.len().into());
    api.send(declared).await.problem(413, "ERR_PAYLOAD_TOO_LARGE");
    let chunks = futures::stream::iter(huge.into_bytes().chunks(1 << 16).map(<[u8]>::to_vec).collect::<Vec<_>>());
    let chunked = Body::from_stream(futures::StreamExt::map(chunks, Ok::<_, std::io::Error>));
    api.send(raw("POST", "/v1/runs", Some("application/json"), chunked)).await.problem(413, "ERR_PAYLOAD_TOO_LARGE");
    let zipped = Request::post("/v1/runs")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(Body::from("xx"))
        .unwrap();
    api.send(zipped).await.problem(415, "ERR_INVALID_REQUEST");
    let bytes = raw("POST", "/v1/runs", Some("application/json"), vec![b'"', 0xff, b'"']);
    api.send(bytes).await.problem(400, "ERR_INVALID_JSON");
    let broken = futures::stream::iter([Ok(b"{".to_vec()), Err(std::io::Error::other("gone"))]);
    api.send(raw("POST", "/v1/runs", Some("application/json"), Body::from_stream(broken)))
        .await
        .problem(400, "ERR_INVALID_REQUEST");
}

#[tokio::test]
async fn idempotency_keys_are_bounded() {
    let api = Api::new().await;
    for key in [String::new(), "k".repeat(256)] {
        let mut request = json_request(Method::POST, "/v1/runs", &json!({"workflow": "five@1.0.0"}));
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        api.send(request).await.problem(400, "ERR_INVALID_REQUEST");
    }
}

#[tokio::test]
async fn request_ids_are_echoed_and_kept_with_the_run() {
    let api = Api::new().await;
    let mut request = json_request(Method::POST, "/v1/runs?wait=30s", &json!({"workflow": "five@1.0.0"}));
    request.headers_mut().insert("x-request-id", "abc123".parse().unwrap());
    let answer = api.send(request).await.is(201);
    assert_eq!(answer.header("x-request-id"), "abc123");
    assert_eq!(answer.json()["request_id"], "abc123");
    let odd = Request::get("/health").header("x-request-id", "two words").body(Body::empty()).unwrap();
    let made = api.send(odd).await;
    assert_eq!(made.header("x-request-id").len(), 36);
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let api = Api::new().await;
    for (site, status) in [("cross-site", 403), ("same-site", 403), ("same-origin", 201), ("none", 201)] {
        let mut request = json_request(Method::POST, "/v1/runs", &json!({"workflow": "five@1.0.0"}));
        request.headers_mut().insert("sec-fetch-site", site.parse().unwrap());
        api.send(request).await.is(status);
    }
    let reading = Request::get("/v1/runs").header("sec-fetch-site", "cross-site").body(Body::empty()).unwrap();
    api.send(reading).await.is(200);
}
