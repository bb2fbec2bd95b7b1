//! What was answered, and what it costs.

use std::thread;
use std::time::Duration;

use aos_testkit::service::MockClaude;
use aos_testkit::service::claude::{ApiError, Endpoint, Reply, Rule, Usage};
use serde_json::json;

use super::client::{Client, ask};

#[test]
fn usage_is_summed_by_model_and_statuses_are_counted() {
    let claude = MockClaude::start().unwrap();
    let mut client = Client::new(&claude);
    for (model, input, output) in [("claude-opus-5-5", 10, 1), ("claude-sonnet-5-5", 20, 2), ("claude-opus-5-5", 30, 3)]
    {
        claude.push(Reply::text("x").usage(Usage::new(input, output)));
        assert_eq!(client.messages(&ask("x", json!({"model": model}))).status, 200);
    }
    claude.push(Reply::error(ApiError::overloaded()));
    assert_eq!(client.messages(&ask("x", json!({}))).status, 529);
    assert_eq!(client.messages(&ask("x", json!({"max_tokens": -1}))).status, 400);
    client.call("GET", "/v1/models", "").unwrap();

    let account = claude.account();
    assert_eq!(account.requests, 6);
    assert_eq!(account.statuses.into_iter().collect::<Vec<_>>(), [(200, 4), (400, 1), (529, 1)]);
    let usage: Vec<_> = account.usage.iter().map(|(model, usage)| (model.as_str(), *usage)).collect();
    assert_eq!(usage, [("claude-opus-5-5", Usage::new(40, 4)), ("claude-sonnet-5-5", Usage::new(20, 2))]);

    let records = claude.records();
    assert_eq!(records.iter().map(|record| record.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert!(records.iter().all(|record| record.whole && record.key.as_deref() == Some("default")));
    assert!(records.is_sorted_by_key(|record| record.at));
    assert_eq!((records[5].endpoint, records[5].model.as_str()), (Endpoint::Models, ""));
    assert!(records[0].request_id.starts_with("req_011"));

    // The scripted error was accepted, the wrong request was not.
    let peak = claude.peak_in_window(Duration::from_secs(3_600));
    assert_eq!((peak.requests, peak.input_tokens, peak.output_tokens), (4, 60, 6));
}

#[test]
fn nothing_is_lost_under_load() {
    let claude = MockClaude::start().unwrap();
    claude.on(Rule::new(Reply::error(ApiError::internal())).percent(20, 3));
    let answers: Vec<(u16, u64)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let claude = &claude;
                scope.spawn(move || {
                    let mut client = Client::new(claude);
                    let answers = (0..50).map(|number| client.messages(&ask(&format!("{thread}/{number}"), json!({}))));
                    answers
                        .map(|answer| {
                            (answer.status, answer.json()["usage"]["output_tokens"].as_u64().unwrap_or_default())
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let account = claude.account();
    assert_eq!((account.requests, claude.records().len()), (400, 400));
    let failed = answers.iter().filter(|(status, _)| *status == 500).count() as u64;
    assert_eq!(account.statuses.get(&500), Some(&failed));
    assert_eq!(account.total().output_tokens, answers.iter().map(|(_, tokens)| tokens).sum::<u64>());
}
