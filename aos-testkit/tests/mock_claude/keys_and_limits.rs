//! Who may ask, and how much.

use std::time::Duration;

use aos_testkit::service::MockClaude;
use aos_testkit::service::claude::{Limits, Reply, Scope, Usage};
use serde_json::json;

use super::client::{Client, ask};

#[test]
fn keys_can_be_rotated() {
    let claude = MockClaude::builder().key("old", "key-1").start().unwrap();
    let status = |header: &'static str, value: &str| {
        let mut client = Client::new(&claude);
        client.headers[0] = (header, value.to_owned());
        let answer = client.messages(&ask("x", json!({})));
        (answer.status, answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned())
    };
    let ok = (200, String::new());
    assert_eq!(status("x-api-key", "key-1"), ok);
    assert_eq!(status("authorization", "Bearer key-1"), ok);
    assert_eq!(status("x-api-key", "key-2"), (401, "invalid x-api-key".to_owned()));
    assert_eq!(status("authorization", "Bearer key-2"), (401, "Invalid bearer token".to_owned()));
    assert_eq!(status("x-other", "key-1"), (401, "x-api-key header is required".to_owned()));
    claude.add_key("new", "key-2");
    assert_eq!(status("x-api-key", "key-2"), ok);
    claude.revoke_key("old");
    assert_eq!(status("x-api-key", "key-1").0, 401);
    assert_eq!(status("x-api-key", "key-2"), ok);
    let keys: Vec<_> = claude.records().iter().map(|record| record.key.as_deref().unwrap_or("-").to_owned()).collect();
    assert_eq!(keys, ["old", "old", "-", "-", "-", "new", "-", "new"]);
}

#[test]
fn the_version_is_required() {
    let claude = MockClaude::start().unwrap();
    for (version, status) in [("2023-06-01", 200), ("2026-10-21", 200), ("1999-01-01", 400)] {
        let mut client = Client::new(&claude);
        client.headers[1].1 = version.to_owned();
        assert_eq!(client.messages(&ask("x", json!({}))).status, status, "{version}");
    }
    let mut client = Client::new(&claude);
    client.headers.pop();
    let answer = client.messages(&ask("x", json!({})));
    assert_eq!(
        (answer.status, &answer.json()["error"]["message"]),
        (400, &json!("anthropic-version: header is required"))
    );
}

#[test]
fn limits_hold_and_can_be_switched() {
    // So slow that nothing comes back while the test runs.
    let limits = Limits { requests: Some(2), ..Limits::default() };
    let claude = MockClaude::builder().key("a", "key-a").key("b", "key-b").limits(limits).start().unwrap();
    let ask_as = |key: &str, model: &str| {
        let mut client = Client::new(&claude);
        client.headers[0].1 = key.to_owned();
        client.messages(&ask("x", json!({"model": model})))
    };
    let (opus, sonnet) = ("claude-opus-5-5", "claude-sonnet-5-5");
    let first = ask_as("key-a", opus);
    assert_eq!(first.header("anthropic-ratelimit-requests-limit"), Some("2"));
    assert_eq!(first.header("anthropic-ratelimit-requests-remaining"), Some("1"));
    assert!(first.header("anthropic-ratelimit-requests-reset").is_some());
    assert_eq!(ask_as("key-b", opus).status, 200);
    let refused = ask_as("key-a", opus);
    assert_eq!((refused.status, &refused.json()["error"]["type"]), (429, &json!("rate_limit_error")));
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() <= 30);
    assert_eq!(refused.header("anthropic-ratelimit-requests-remaining"), Some("0"));
    // Models don't share limits, and refused requests are not accepted ones.
    assert_eq!(ask_as("key-a", sonnet).status, 200);
    assert_eq!(claude.peak_in_window(Duration::from_secs(3_600)).requests, 3);

    claude.set_limits(Some(Limits { scope: Scope::Key, ..limits }));
    let statuses = ["key-a", "key-a", "key-b", "key-a"].map(|key| ask_as(key, opus).status);
    assert_eq!(statuses, [200, 200, 200, 429]);
    claude.set_limits(None);
    let free = ask_as("key-a", opus);
    assert_eq!((free.status, free.header("anthropic-ratelimit-requests-limit")), (200, None));
}

#[test]
fn tokens_are_limited_too() {
    let limits = Limits { input_tokens: Some(100), output_tokens: Some(100), ..Limits::default() };
    let claude = MockClaude::builder().limits(limits).start().unwrap();
    let mut client = Client::new(&claude);
    let mut status = |text: &str, max_tokens: u64| {
        claude.push(Reply::text("x").usage(Usage::new(1, 50)));
        let answer = client.messages(&ask(text, json!({"max_tokens": max_tokens})));
        (answer.status, answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned())
    };
    // The estimate of the output is corrected, so that the second passes.
    assert_eq!(status("x", 90).0, 200);
    assert_eq!(status("x", 50).0, 200);
    let (refused, message) = status("x", 100);
    assert_eq!(refused, 429);
    assert!(message.contains("100 output tokens per minute"), "{message}");
    let (refused, message) = status(&"x".repeat(4_000), 1);
    assert_eq!(refused, 429);
    assert!(message.contains("100 input tokens per minute"), "{message}");
    // Refused requests use up no answers.
    assert_eq!(claude.queued(), 2);
}
