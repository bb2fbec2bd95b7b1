//! API keys: who may do what.

use std::time::Duration;

use aos_core::keys::{KeyText, Scope};
use aos_core::memory::VirtualClock;
use aos_core::time::Timestamp;
use aos_server::config::Access;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::document::operations;
use crate::support::{Answer, Api};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// A server that wants keys, its clock, and its first key.
async fn guarded() -> (Api, VirtualClock, String) {
    let clock = VirtualClock::new(NOW);
    let api = Api::guarded(Access::Keys, &clock).await;
    let first = api.state().gate.make_first().await.unwrap().unwrap();
    (api, clock, first.expose().to_owned())
}

async fn send(api: &Api, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = match body {
        Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    };
    api.send(request.unwrap()).await
}

async fn with_key(api: &Api, method: &str, path: &str, key: &str, body: Option<&Value>) -> Answer {
    send(api, method, path, &[("authorization", &format!("Bearer {key}"))], body).await
}

async fn make(api: &Api, admin: &str, body: Value) -> (String, String) {
    let made = with_key(api, "POST", "/v1/keys", admin, Some(&body)).await.is(201).json();
    (made["key"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
}

/// The whole matrix: every route of the document, and every way not to be let in, with the one that is.
#[tokio::test]
async fn every_route_lets_in_whom_it_says() {
    let (api, clock, admin) = guarded().await;
    let (expired, _) = make(&api, &admin, json!({"label": "short", "scope": "admin", "expires_in_s": 60})).await;
    let (revoked, id) = make(&api, &admin, json!({"label": "lost", "scope": "admin"})).await;
    with_key(&api, "DELETE", &format!("/v1/keys/{id}"), &admin, None).await.is(200);
    clock.advance(Duration::from_secs(60));
    let mut of = Vec::new();
    for scope in Scope::ALL {
        of.push((scope, make(&api, &admin, json!({"label": "for tests", "scope": scope.as_str()})).await.0));
    }
    let unknown = KeyText::from_random([7; 40]).expose().to_owned();
    let document = send(&api, "GET", "/openapi.json", &[], None).await.is(200).json();
    let (mut routes, mut refusals, mut admissions) = (0, 0, 0);
    for (method, path, operation) in operations(&document) {
        let about = format!("{method} {path}");
        let method = method.to_uppercase();
        let uri = path.replace(['{', '}'], "");
        let Some(needed) = operation["security"][0]["api_key"][0].as_str() else {
            assert!(path.starts_with("/health") || path == "/metrics" || path == "/openapi.json", "{about} is open");
            let answer = send(&api, &method, &uri, &[("authorization", "Bearer nonsense")], None).await;
            assert!(![401, 403].contains(&answer.status.as_u16()), "{about}: {}", answer.text);
            continue;
        };
        let needed = Scope::from_text(needed).unwrap();
        routes += 1;
        let bearer = |key: &str| format!("Bearer {key}");
        for (kind, headers) in [
            ("no key", vec![]),
            ("an empty one", vec![("authorization", String::new())]),
            ("another scheme", vec![("authorization", "Basic YTpi".to_owned())]),
            ("malformed", vec![("authorization", bearer("aos_nonsense"))]),
            ("not text", vec![("x-api-key", "aos_é".to_owned())]),
            ("unknown", vec![("authorization", bearer(&unknown))]),
            ("expired", vec![("authorization", bearer(&expired))]),
            ("revoked", vec![("x-api-key", revoked.clone())]),
            ("two, the first of them wrong", vec![("authorization", bearer(&unknown)), ("x-api-key", admin.clone())]),
        ] {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = send(&api, &method, &uri, &headers, None).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{about} with {kind}: {}", answer.text);
            assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"aos\"", "{about} with {kind}");
            assert_eq!(answer.json()["code"], "ERR_UNAUTHENTICATED", "{about} with {kind}");
            for key in [&unknown, &expired, &revoked] {
                assert!(!answer.text.contains(key.as_str()), "{about} with {kind} shows a key");
            }
            refusals += 1;
        }
        for (scope, key) in &of {
            // Streams would not end, and there is nothing to follow.
            let answer = with_key(&api, &method, &uri, key, None).await;
            if scope.allows(needed) {
                assert!(![401, 403].contains(&answer.status.as_u16()), "{about} with {scope:?}: {}", answer.text);
                admissions += 1;
            } else {
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{about} with {scope:?}: {}", answer.text);
                let problem = answer.json();
                assert_eq!(problem["code"], "ERR_FORBIDDEN", "{about}");
                assert!(problem["detail"].as_str().unwrap().contains(needed.as_str()), "{about}: {problem}");
                refusals += 1;
            }
        }
    }
    println!("{routes} routes: {refusals} refusals, {admissions} admissions");
    assert!(routes >= 55, "{routes}");
}

/// What changes something needs more than `read`, but for what only computes.
#[tokio::test]
async fn looking_is_all_that_a_reader_may_do() {
    let api = Api::new().await;
    let document = api.get("/openapi.json").await.is(200).json();
    for (method, path, operation) in operations(&document) {
        let needed = operation["security"][0]["api_key"][0].as_str().unwrap_or("none");
        let computes = ["/v1/simulate", "/v1/runs/{id}/replay"].contains(&path.as_str());
        if method != "get" && !computes {
            assert!(["run", "admin"].contains(&needed), "{method} {path} needs {needed}");
        }
    }
}

#[tokio::test]
async fn a_key_is_shown_once_and_works_until_it_is_revoked() {
    let (api, clock, admin) = guarded().await;
    let body = json!({"label": "nightly", "scope": "run", "expires_in_s": 3_600, "by": "Ada"});
    let made = with_key(&api, "POST", "/v1/keys", &admin, Some(&body)).await.is(201);
    assert_eq!(made.headers["cache-control"], "no-store");
    let made = made.json();
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    assert_eq!(KeyText::parse(key).unwrap().id().as_str(), id);
    let about = |field: &str| made[field].as_str().unwrap_or_default().to_owned();
    assert_eq!([about("state"), about("scope"), about("created_by")], ["active", "run", "Ada"]);
    with_key(&api, "GET", "/v1/runs", key, None).await.is(200);
    let list = with_key(&api, "GET", "/v1/keys", &admin, None).await.is(200);
    assert!(!list.text.contains(key) && list.text.contains(id), "{}", list.text);
    // In this process at once; elsewhere what is known of a key is believed for a second.
    let revoked = with_key(&api, "DELETE", &format!("/v1/keys/{id}"), &admin, None).await.is(200).json();
    assert_eq!(revoked["state"], "revoked");
    assert!(revoked["revoked_by"].as_str().unwrap().starts_with("key "), "{revoked}");
    with_key(&api, "GET", "/v1/runs", key, None).await.is(401);
    let again = with_key(&api, "DELETE", &format!("/v1/keys/{id}"), &admin, None).await.is(200).json();
    assert_eq!(again["revoked_at"], revoked["revoked_at"]);
    clock.advance(Duration::from_secs(1));
    for absent in ["0123456789abcdef", key, "%00"] {
        let answer = with_key(&api, "DELETE", &format!("/v1/keys/{absent}"), &admin, None).await.is(404);
        assert!(!answer.text.contains(key), "{}", answer.text);
    }
}

/// What takes history away needs more than what makes it.
#[tokio::test]
async fn runs_are_deleted_by_admins_only() {
    let (api, _clock, admin) = guarded().await;
    let (run, _) = make(&api, &admin, json!({"label": "ops", "scope": "run"})).await;
    let body = |action: &str| json!({"action": action, "filter": {"older_than": "1d"}, "dry_run": true});
    for (key, action, expected) in [(&run, "cancel", 200), (&run, "purge", 403), (&admin, "purge", 200)] {
        let answer = with_key(&api, "POST", "/v1/runs/bulk", key, Some(&body(action))).await;
        assert_eq!(answer.status, expected, "{action}: {}", answer.text);
    }
}

#[tokio::test]
async fn mistakes_in_a_key_to_be_made_are_told() {
    let (api, _clock, admin) = guarded().await;
    for (body, expected) in [
        (json!({"label": "x", "scope": "root"}), "expected one of read, run, admin"),
        (json!({"label": " ", "scope": "run"}), "the label is empty"),
        (json!({"label": "x".repeat(100_000), "scope": "run"}), "expected at most"),
        (json!({"label": "x", "scope": "run", "expires_in_s": -1}), "expires_in_s"),
        (json!({"label": "x", "scope": "run", "secret": "mine"}), "secret"),
        (json!({"scope": "run"}), "label"),
    ] {
        let answer = with_key(&api, "POST", "/v1/keys", &admin, Some(&body)).await;
        assert!(answer.status.is_client_error(), "{}", answer.status);
        assert!(answer.text.contains(expected), "{}", answer.text);
    }
    let forever = json!({"label": "x", "scope": "run", "expires_in_s": u64::from(u32::MAX) << 20});
    make(&api, &admin, forever).await;
}

/// On loopback the API is open until somebody makes a key.
#[tokio::test]
async fn the_first_key_closes_a_server_that_was_open() {
    let clock = VirtualClock::new(NOW);
    let api = Api::guarded(Access::KeysIfAny, &clock).await;
    assert_eq!(api.state().gate.make_first().await.unwrap(), None, "nobody asked for one");
    let made = api.post("/v1/keys", &json!({"label": "first", "scope": "admin"})).await.is(201).json();
    assert_eq!(made["created_by"], "somebody without a key");
    api.get("/v1/runs").await.is(401);
    with_key(&api, "GET", "/v1/runs", made["key"].as_str().unwrap(), None).await.is(200);
}

#[tokio::test]
async fn a_server_that_is_meant_to_be_open_checks_only_keys_that_are_sent() {
    let clock = VirtualClock::new(NOW);
    let api = Api::guarded(Access::Open, &clock).await;
    let made = api.post("/v1/keys", &json!({"label": "reader", "scope": "read"})).await.is(201).json();
    api.get("/v1/runs").await.is(200);
    let key = made["key"].as_str().unwrap();
    with_key(&api, "GET", "/v1/keys", key, None).await.is(403);
    with_key(&api, "GET", "/v1/runs", "aos_x", None).await.is(401);
}
