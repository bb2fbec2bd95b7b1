//! Client commands against servers that are odd: what they ask for, and what they make of strange answers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod cli_support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use cli_support::{Done, Place};
use serde_json::{Value, json};

/// A server that answers requests one after the other with what it was given, the last answer for ever.
struct Fake {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn new(answers: &[(&'static str, String)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/prefix", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answers) = (Arc::clone(&requests), answers.to_vec());
        std::thread::spawn(move || {
            for (count, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                seen.lock().unwrap().push(read(&mut stream));
                let (head, body) = &answers[count.min(answers.len() - 1)];
                let length = body.len();
                let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { url, requests }
    }

    fn aos(&self, args: &[&str]) -> Done {
        Place::new().aos(&[args, &["--url", &self.url][..]].concat())
    }

    /// Request lines and bodies.
    fn asked(&self) -> Vec<(String, String)> {
        let lines = |request: &String| {
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            (head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned(), body.to_owned())
        };
        self.requests.lock().unwrap().iter().map(lines).collect()
    }
}

fn read(stream: &mut std::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4_096];
        let count = stream.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.to_ascii_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if count == 0 || body.len() >= length.unwrap_or(0) {
            return text;
        }
    }
}

fn run_json(state: &str) -> Value {
    json!({
        "id": "r1", "workflow": "greet@1.0.0", "state": state, "input": {"name": "Ada"}, "output": null, "error": null,
        "cost_usd": "0.5", "content_hash": null, "created_at": "2026-11-23T20:15:00.123Z", "finished_at": null,
    })
}

#[test]
fn commands_ask_for_what_they_mean() {
    for (args, asked, body) in [
        (&["runs", "get", "r1"][..], "GET /prefix/v1/runs/r1", ""),
        (&["runs", "journal", "r1"], "GET /prefix/v1/runs/r1/journal", ""),
        (
            &["runs", "list", "--state", "failed,dead", "--workflow", "a", "--limit", "3"],
            "GET /prefix/v1/runs?limit=3&state=failed%2Cdead&workflow=a",
            "",
        ),
        (
            &["runs", "list", "--parent", "p1", "--older-than", "2h"],
            "GET /prefix/v1/runs?limit=50&parent=p1&older_than=2h",
            "",
        ),
        (&["runs", "pause", "r1"], "POST /prefix/v1/runs/r1/pause", ""),
        (&["runs", "resume", "r1"], "POST /prefix/v1/runs/r1/resume", ""),
        (&["runs", "retry", "r1"], "POST /prefix/v1/runs/r1/retry", ""),
        (
            &["runs", "approve", "r1", "--by", "Ada", "--name", "legal"],
            "POST /prefix/v1/runs/r1/approve",
            r#"{"by":"Ada","comment":null,"name":"legal"}"#,
        ),
        (
            &["runs", "reject", "r1", "--comment", "too dear"],
            "POST /prefix/v1/runs/r1/reject",
            r#"{"by":null,"comment":"too dear","name":null}"#,
        ),
        (&["queue"], "GET /prefix/v1/queue", ""),
        (&["queue", "show"], "GET /prefix/v1/queue", ""),
        (&["queue", "limit", "greet", "3"], "PUT /prefix/v1/queue/limits/greet", r#"{"max":3}"#),
        (&["queue", "limit", "greet", "none"], "DELETE /prefix/v1/queue/limits/greet", ""),
        (&["queue", "limit", "--skill", "pay", "0"], "PUT /prefix/v1/queue/skill-limits/pay", r#"{"max":0}"#),
        (&["dlq", "list", "--workflow", "a"], "GET /prefix/v1/dead-letters?limit=50&workflow=a", ""),
        (&["dlq", "retry", "r1"], "POST /prefix/v1/dead-letters/r1/retry", ""),
        (&["dlq", "discard", "r1", "--reason", "no"], "POST /prefix/v1/dead-letters/r1/discard", r#"{"reason":"no"}"#),
        (&["workers"], "GET /prefix/v1/workers", ""),
        (&["switch", "list", "--history", "3"], "GET /prefix/v1/switches?history=3", ""),
        (
            &["switch", "on", "pause-claims", "--reason", "storm", "--by", "Ada"],
            "PUT /prefix/v1/switches/pause_claims",
            r#"{"by":"Ada","on":true,"reason":"storm"}"#,
        ),
        (&["registry", "snapshot"], "POST /prefix/v1/registry/snapshots", ""),
        (&["registry", "audit", "--limit", "5"], "GET /prefix/v1/registry/audit?limit=5", ""),
        (
            &["registry", "disable", "skill", "pay@1.0.0", "--reason", "leak"],
            "POST /prefix/v1/skills/pay@1.0.0/disable",
            r#"{"reason":"leak"}"#,
        ),
        (&["registry", "enable", "workflow", "greet@1.0.0"], "POST /prefix/v1/workflows/greet@1.0.0/enable", ""),
        (&["runs", "cancel", "r1", "--reason", "no need"], "POST /prefix/v1/runs/r1/cancel", r#"{"reason":"no need"}"#),
        (&["runs", "signal", "r1", "a/b?c", "--payload", "[1]"], "POST /prefix/v1/runs/r1/signals/a%2Fb%3Fc", "[1]"),
        (&["runs", "signal", "r1", "go"], "POST /prefix/v1/runs/r1/signals/go", "null"),
        (&["runs", "fork", "r1", "--at", "a[1]"], "POST /prefix/v1/runs/r1/fork", r#"{"effect":"a[1]"}"#),
        (
            &["runs", "fork", "r1", "--at", "a", "--with-output", "null"],
            "POST /prefix/v1/runs/r1/fork",
            r#"{"effect":"a","output":null}"#,
        ),
        (&["schedules", "get", "s-1"], "GET /prefix/v1/schedules/s-1", ""),
        (&["schedules", "remove", "s-1"], "DELETE /prefix/v1/schedules/s-1", ""),
        (&["schedules", "pause", "s-1"], "POST /prefix/v1/schedules/s-1/pause", "null"),
        (&["schedules", "resume", "s-1"], "POST /prefix/v1/schedules/s-1/resume", "null"),
        (&["schedules", "trigger", "s-1"], "POST /prefix/v1/schedules/s-1/trigger", "null"),
        (
            &["schedules", "put", "s-1", "--workflow", "w@^1", "--cron", "0 9 * * *"],
            "PUT /prefix/v1/schedules/s-1",
            r#"{"cron":"0 9 * * *","overlap":"skip","priority":5,"time_zone":"UTC","workflow":"w@^1"}"#,
        ),
    ] {
        let fake = Fake::new(&[("200 OK", run_json("succeeded").to_string())]);
        fake.aos(args).exits(0);
        assert_eq!(fake.asked(), [(asked.to_owned(), body.to_owned())], "{args:?}");
    }
}

#[test]
fn lists_follow_their_pages_up_to_the_limit() {
    let page = |ids: &[&str], next: Option<&str>| {
        let runs: Vec<_> = ids
            .iter()
            .map(|id| {
                let mut run = run_json("parked");
                run["id"] = (*id).into();
                run
            })
            .collect();
        ("200 OK", json!({"runs": runs, "next": next}).to_string())
    };
    let fake = Fake::new(&[page(&["a", "b"], Some("c1")), page(&["c", "d"], None)]);
    let runs = fake.aos(&["runs", "list", "--limit", "3", "-o", "json"]).exits(0).json();
    assert_eq!(
        runs.as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert_eq!(fake.asked()[1].0, "GET /prefix/v1/runs?limit=1&cursor=c1");
    let fake = Fake::new(&[page(&[], None)]);
    assert_eq!(fake.aos(&["runs", "list"]).exits(0).out, "no runs\n");
    assert_eq!(fake.aos(&["runs", "list", "-o", "json"]).exits(0).json(), json!([]));
}

#[test]
fn bulk_commands_say_what_they_mean_and_go_on_until_there_is_no_more() {
    let nothing =
        json!({"matched": 0, "done": 0, "skipped": 0, "failed": 0, "errors": [], "sample": [], "more": false});
    for (args, body) in [
        (
            &["runs", "cancel", "--all"][..],
            json!({"action": "cancel", "filter": {"all": true}, "reason": "cancelled from the command line"}),
        ),
        (
            &[
                "runs",
                "pause",
                "--all",
                "--workflow",
                "a",
                "--state",
                "queued,parked",
                "--parent",
                "p",
                "--older-than",
                "1h",
            ],
            json!({"action": "pause", "filter": {"workflow": "a", "states": ["queued", "parked"], "parent": "p", "older_than": "1h"}}),
        ),
        (&["runs", "resume", "--all"], json!({"action": "resume", "filter": {"all": true}})),
        (
            &["runs", "retry", "--all", "--state", "failed"],
            json!({"action": "retry", "filter": {"states": ["failed"]}}),
        ),
        (&["runs", "purge", "--older-than", "30d"], json!({"action": "purge", "filter": {"older_than": "30d"}})),
        (&["runs", "purge", "--all", "--state", "dead"], json!({"action": "purge", "filter": {"states": ["dead"]}})),
        (&["dlq", "retry", "--all"], json!({"action": "retry", "filter": {"states": ["dead"]}})),
        (
            &["dlq", "discard", "--all", "--workflow", "a", "--reason", "no"],
            json!({"action": "discard", "filter": {"states": ["dead"], "workflow": "a"}, "reason": "no"}),
        ),
    ] {
        for dry_run in [false, true] {
            let fake = Fake::new(&[("200 OK", nothing.to_string())]);
            let flag = if dry_run { &["--dry-run"][..] } else { &[] };
            fake.aos(&[args, flag].concat()).exits(0).prints("0 runs");
            let mut body = body.clone();
            body["dry_run"] = dry_run.into();
            let asked = fake.asked();
            let [(line, sent)] = &asked[..] else { panic!("{asked:?}") };
            assert_eq!(line, "POST /prefix/v1/runs/bulk", "{args:?}");
            assert_eq!(serde_json::from_str::<Value>(sent).unwrap(), body, "{args:?}");
        }
    }
    let step = |done: u64, failed: u64, next: Option<&str>| {
        let errors: Vec<_> = (0..failed).map(|_| json!({"run": "r9", "outcome": "failed", "message": "oh"})).collect();
        let view = json!({"matched": done, "done": done, "skipped": 1, "failed": failed, "errors": errors,
            "more": next.is_some(), "next": next});
        ("200 OK", view.to_string())
    };
    let fake = Fake::new(&[step(5, 0, Some("c1")), step(4, 1, Some("c2")), step(3, 0, None)]);
    let done = fake.aos(&["runs", "pause", "--all", "-o", "json"]).exits(1).json();
    assert_eq!((&done["done"], &done["skipped"], &done["failed"]), (&json!(12), &json!(3), &json!(1)), "{done}");
    assert_eq!(done["errors"][0]["run"], "r9");
    let cursors: Vec<Value> =
        fake.asked().iter().map(|(_, body)| serde_json::from_str::<Value>(body).unwrap()["cursor"].clone()).collect();
    assert_eq!(cursors, [json!(null), json!("c1"), json!("c2")]);
    let fake = Fake::new(&[step(1, 1, None)]);
    fake.aos(&["runs", "retry", "--all"]).exits(1).prints("1 run retried, 1 skipped, 1 failed").prints("failed r9: oh");
}

#[test]
fn waiting_ends_with_the_run_or_with_patience() {
    for (states, args, code) in [
        (&["running", "parked", "succeeded"][..], &["runs", "wait", "r1"][..], 0),
        (&["failed"], &["runs", "wait", "r1"], 1),
        (&["cancelled"], &["runs", "wait", "r1"], 1),
        (&["running"], &["runs", "wait", "r1", "--timeout", "0"], 1),
    ] {
        let answers: Vec<_> = states.iter().map(|state| ("200 OK", run_json(state).to_string())).collect();
        let fake = Fake::new(&answers);
        let done = fake.aos(args).exits(code).prints(states[states.len() - 1]);
        assert_eq!(fake.asked().len(), states.len(), "{done:?}");
    }
}

#[test]
fn errors_of_the_server_become_exit_codes() {
    let problem = |code: &str| {
        json!({"code": code, "detail": "it is so", "action": "Do this.", "errors": [{"path": "/a", "message": "wrong"}]}).to_string()
    };
    for (head, body, code, says) in [
        ("404 Not Found", problem("ERR_NOT_FOUND"), 1, "error: ERR_NOT_FOUND: it is so\n  /a: wrong\n  → Do this.\n"),
        ("409 Conflict", problem("ERR_CONFLICT"), 1, "ERR_CONFLICT"),
        ("400 Bad Request", problem("ERR_INVALID_REQUEST"), 2, "ERR_INVALID_REQUEST"),
        ("401 Unauthorized", problem("ERR_UNAUTHENTICATED"), 2, "ERR_UNAUTHENTICATED"),
        ("503 Service Unavailable", problem("ERR_STORE_UNAVAILABLE"), 3, "ERR_STORE_UNAVAILABLE"),
        ("500 Oops", problem("ERR_OF_ANOTHER_RELEASE"), 3, "ERR_OF_ANOTHER_RELEASE"),
        ("502 Bad Gateway", "<html>nginx</html>".into(), 3, "502 Bad Gateway and no problem document"),
        ("404 Not Found", "not found".into(), 3, "is this an AOS server?"),
        ("200 OK", "<html>hello</html>".into(), 3, "the answer is not JSON"),
    ] {
        let fake = Fake::new(&[(head, body)]);
        let done = fake.aos(&["runs", "get", "r1"]).exits(code).says(says);
        assert!(done.out.is_empty(), "{head}: {}", done.out);
    }
}

#[test]
fn what_is_no_golden_file_is_not_saved() {
    let fake = Fake::new(&[("200 OK", "{\"golden\":1}\n".into())]);
    let place = Place::new();
    place
        .aos(&["golden", "record", "--run", "r1", "--to", "g.jsonl", "--url", &fake.url])
        .exits(2)
        .says("ERR_JOURNAL_CORRUPT");
    assert!(!place.path("g.jsonl").exists());
    assert_eq!(fake.asked()[0].0, "GET /prefix/v1/runs/r1/golden");
    let fake = Fake::new(&[("200 OK", "{}".into())]);
    fake.aos(&["registry", "list"]).exits(2).says("no registry snapshot");
}
