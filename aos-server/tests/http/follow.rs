//! Journals and server-sent events.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::support::{Answer, Api};

/// Events as (event, id, data).
fn events(answer: &Answer) -> Vec<(String, Option<u64>, Value)> {
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.map(str::to_owned)
    };
    let blocks = answer.text.split("\n\n").filter(|block| block.contains("data: "));
    blocks
        .map(|block| {
            let data = serde_json::from_str(&field(block, "data").unwrap()).unwrap();
            (field(block, "event").unwrap(), field(block, "id").map(|id| id.parse().unwrap()), data)
        })
        .collect()
}

#[tokio::test]
async fn a_journal_is_lines_from_any_index() {
    let api = Api::new().await;
    let run = api.run("five@1.0.0", json!(1)).await;
    let path = run["links"]["journal"].as_str().unwrap();
    let answer = api.get(path).await.is(200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let lines: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["type"], "run_started");
    assert_eq!(lines.last().unwrap()["type"], "run_finished");
    let tail = api.get(&format!("{path}?from={}", lines.len() - 1)).await.is(200);
    assert_eq!(tail.text.lines().count(), 1);
    assert_eq!(api.get(&format!("{path}?from=999")).await.is(200).text, "");
}

#[tokio::test]
async fn events_of_an_ended_run_are_its_journal_and_an_end() {
    let api = Api::new().await;
    let run = api.run("five@1.0.0", json!(1)).await;
    let answer = api.get(run["links"]["events"].as_str().unwrap()).await.is(200);
    assert!(answer.header("content-type").starts_with("text/event-stream"));
    let events = events(&answer);
    let journal = api.get(run["links"]["journal"].as_str().unwrap()).await.text;
    assert_eq!(events.len(), journal.lines().count() + 1);
    for (index, (line, (event, id, data))) in journal.lines().zip(&events).enumerate() {
        assert_eq!((event.as_str(), *id), ("entry", Some(index as u64)));
        assert_eq!(*data, serde_json::from_str::<Value>(line).unwrap());
    }
    let (event, id, data) = events.last().unwrap();
    assert_eq!((event.as_str(), id, data), ("end", &None, &run));
}

#[tokio::test]
async fn a_live_run_is_followed_to_its_end() {
    let api = Api::new().await;
    let run = api.post("/v1/runs", &json!({"workflow": "approve"})).await.is(201).json();
    api.until(&run, &["parked"]).await;
    let following = api.get(run["links"]["events"].as_str().unwrap());
    let approving = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        api.post_empty(&format!("{}/signals/approval", run["links"]["self"].as_str().unwrap())).await.is(202);
    };
    let (answer, ()) = tokio::join!(following, approving);
    let kinds: Vec<_> = events(&answer).into_iter().map(|(event, _, data)| (event, data["type"].clone())).collect();
    assert!(kinds.contains(&("entry".into(), json!("signal_received"))), "{kinds:?}");
    assert_eq!(kinds.last().unwrap().0, "end");
}

#[tokio::test]
async fn a_reader_that_comes_back_goes_on_after_what_it_has_seen() {
    let api = Api::new().await;
    let run = api.run("five@1.0.0", json!(1)).await;
    let from = |id: &str| {
        let path = run["links"]["events"].as_str().unwrap();
        api.send(Request::get(path).header("last-event-id", id).body(Body::empty()).unwrap())
    };
    let all = events(&api.get(run["links"]["events"].as_str().unwrap()).await);
    assert_eq!(events(&from("2").await.is(200)), all[3..]);
    let last = all.len() - 2;
    assert_eq!(from(&last.to_string()).await.is(204).text, "");
    for odd in ["-1", "x", "18446744073709551615", "1.5"] {
        from(odd).await.problem(400, "ERR_INVALID_REQUEST");
    }
}
