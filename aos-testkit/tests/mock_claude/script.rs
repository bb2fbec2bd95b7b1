//! Answers that somebody has written.

use aos_testkit::service::MockClaude;
use aos_testkit::service::claude::{ApiError, Endpoint, Model, Reply, Rule, Usage};
use serde_json::json;

use super::client::{Client, ask};

#[test]
fn the_queue_goes_before_the_rules_and_these_before_the_echo() {
    let claude = MockClaude::start().unwrap();
    let mut client = Client::new(&claude);
    claude.on(Rule::new(Reply::text("ruled")).when_text("rule").skip(1).times(2));
    claude
        .on(Rule::answer(|request| Reply::text(format!("{} of {}", request.number(), request.model())))
            .when_text("who"));
    claude.push(Reply::text("queued"));
    for (text, answer) in [
        ("rule", "queued"),
        ("rule", "Echo: rule"),
        ("rule", "ruled"),
        ("who", "4 of claude-sonnet-4-6"),
        ("rule", "ruled"),
        ("rule", "Echo: rule"),
    ] {
        assert_eq!(client.messages(&ask(text, json!({}))).json()["content"][0]["text"], answer);
    }
    claude.push(Reply::text("forgotten"));
    assert_eq!(claude.queued(), 1);
    claude.clear();
    assert_eq!(client.messages(&ask("who", json!({}))).json()["content"][0]["text"], "Echo: who");
}

#[test]
fn other_endpoints_have_rules_of_their_own() {
    let claude = MockClaude::start().unwrap();
    let mut client = Client::new(&claude);
    claude.on(Rule::new(Reply::error(ApiError::overloaded())).endpoint(Endpoint::CountTokens));
    claude.on(Rule::new(Reply::raw(200, "application/json", "{}")).endpoint(Endpoint::Models));
    let body = json!({"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "x"}]}).to_string();
    assert_eq!(client.call("POST", "/v1/messages/count_tokens", &body).unwrap().status, 529);
    assert_eq!(client.call("GET", "/v1/models", "").unwrap().body, "{}");
    claude.clear();
    claude.on(Rule::new(Reply::echo().header("x-seen", "1")).endpoint(Endpoint::CountTokens));
    let counted = client.call("POST", "/v1/messages/count_tokens", &body).unwrap();
    assert_eq!((counted.json(), counted.header("x-seen")), (json!({"input_tokens": 8}), Some("1")));
    assert_eq!(client.messages(&ask("x", json!({}))).status, 200);
}

#[test]
fn a_storm_is_the_same_in_any_order() {
    let outcomes = |texts: &[String]| {
        let claude = MockClaude::start().unwrap();
        let mut client = Client::new(&claude);
        claude.on(Rule::new(Reply::error(ApiError::overloaded())).percent(30, 7));
        let mut outcomes: Vec<_> =
            texts.iter().map(|text| (text.clone(), client.messages(&ask(text, json!({}))).status)).collect();
        outcomes.sort();
        outcomes
    };
    // Each text twice: a retry is drawn anew.
    let texts: Vec<_> = (0..200).map(|number| format!("call {}", number % 100)).collect();
    let forward = outcomes(&texts);
    assert_eq!(forward, outcomes(&texts.iter().rev().cloned().collect::<Vec<_>>()));
    let failed = forward.iter().filter(|(_, status)| *status == 529).count();
    assert!((40..=80).contains(&failed), "{failed}");
    let differ = forward.chunks(2).filter(|pair| pair[0].1 != pair[1].1).count();
    assert!(differ > 20, "{differ}");
}

#[test]
fn every_documented_error_has_its_status_type_and_headers() {
    let claude = MockClaude::start().unwrap();
    let mut client = Client::new(&claude);
    for error in ApiError::documented() {
        claude.push(Reply::error(error.clone()));
        let answer = client.messages(&ask("x", json!({})));
        let body = answer.json();
        assert_eq!((answer.status, &body["error"]["type"]), (error.status, &json!(error.kind)));
        assert_eq!(body["error"]["message"], error.message);
        assert_eq!(body["error"]["details"]["error_code"], json!(error.code));
        assert_eq!(
            answer.header("retry-after").map(str::to_owned),
            error.retry_after.map(|seconds| seconds.to_string())
        );
    }
    claude.push(Reply::error(ApiError::conflict().should_retry(false)).header("x-more", "1"));
    let answer = client.messages(&ask("x", json!({})));
    assert_eq!((answer.header("x-should-retry"), answer.header("x-more")), (Some("false"), Some("1")));
}

#[test]
fn what_clients_do_not_know_can_be_sent() {
    let claude = MockClaude::start().unwrap();
    let mut client = Client::new(&claude);
    let blocks = vec![json!({"type": "hologram", "light": [1, 2]}), json!({"type": "text", "text": "and this"})];
    let reply =
        Reply::blocks(blocks.clone()).stop_reason("tea_break").extra_event("weather", json!({"type": "weather"}));
    claude.push(reply.clone());
    claude.push(reply);
    let plain = client.messages(&ask("x", json!({}))).json();
    assert_eq!((&plain["content"], &plain["stop_reason"]), (&json!(blocks), &json!("tea_break")));
    let streamed = client.messages(&ask("x", json!({"stream": true})));
    assert_eq!(
        streamed.event_names(),
        "message_start ping weather content_block_start content_block_stop content_block_start content_block_delta \
         content_block_stop message_delta message_stop"
    );
    claude.push(Reply::raw(502, "text/html", "<html>Bad Gateway</html>"));
    let page = client.messages(&ask("x", json!({})));
    assert_eq!(
        (page.status, page.header("content-type"), page.body.as_str()),
        (502, Some("text/html"), "<html>Bad Gateway</html>")
    );
    claude.push(Reply::text("").stop_reason("refusal"));
    assert_eq!(client.messages(&ask("x", json!({}))).json()["stop_details"]["type"], "refusal");
}

#[test]
fn usage_may_come_late_and_split() {
    let claude = MockClaude::start().unwrap();
    let mut client = Client::new(&claude);
    let usage = Usage {
        input_tokens: 1,
        output_tokens: 20,
        cache_read_tokens: 300,
        cache_write_5m_tokens: 4_000,
        cache_write_1h_tokens: 50_000,
        thinking_tokens: 0,
    };
    let shown = json!({
        "input_tokens": 1, "output_tokens": 20, "cache_read_input_tokens": 300, "cache_creation_input_tokens": 54_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 4_000, "ephemeral_1h_input_tokens": 50_000}, "service_tier": "standard"
    });
    claude.push(Reply::text("x").usage(usage));
    assert_eq!(client.messages(&ask("x", json!({}))).json()["usage"], shown);
    claude.push(Reply::text("x").usage(usage).usage_in_delta_only());
    let events = client.messages(&ask("x", json!({"stream": true}))).events();
    assert_eq!(events[0].1["message"]["usage"], json!({"input_tokens": 0, "output_tokens": 0}));
    let delta = events.iter().find(|(name, _)| name == "message_delta").unwrap();
    assert_eq!(delta.1["usage"], shown);
    let billed = claude.account().total();
    assert_eq!((billed.cache_write_5m_tokens, billed.cache_write_1h_tokens), (8_000, 100_000));
}

#[test]
fn models_can_be_brought_along() {
    let claude =
        MockClaude::builder().model(Model { max_tokens: 10, ..Model::permissive("house-model") }).start().unwrap();
    let mut client = Client::new(&claude);
    for (max_tokens, status) in [(10, 200), (11, 400)] {
        let body = ask("x", json!({"model": "house-model", "max_tokens": max_tokens, "temperature": 0.1}));
        assert_eq!(client.messages(&body).status, status);
    }
}

#[test]
fn requests_are_kept_without_their_keys() {
    let claude = MockClaude::builder().keep(2).start().unwrap();
    let mut client = Client::new(&claude);
    client.headers.push(("x-trace", "t1".into()));
    for text in ["a", "b", "c"] {
        client.messages(&ask(text, json!({})));
    }
    let requests = claude.requests();
    assert_eq!(requests.iter().map(|request| request.last_text()).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(
        (requests[1].header("x-trace"), requests[1].key(), requests[1].path()),
        (Some("t1"), Some("default"), "/v1/messages")
    );
    assert!(!format!("{requests:?}").contains(claude.key()));
    assert_eq!(claude.records().len(), 2);
    assert_eq!(claude.account().requests, 3);
}
