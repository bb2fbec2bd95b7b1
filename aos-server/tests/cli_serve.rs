//! `serve`, and the client commands against it: over HTTP, and on its file.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod cli_support;

use std::process::{Command, Stdio};
use std::time::Duration;

use cli_support::server::{Server, curl, start};
use cli_support::{Place, run};
use serde_json::{Value, json};

fn greet() -> Value {
    json!({"id": "greet", "steps": [{"id": "hello", "skill": "echo", "params": {"text": "Hello, {{ input.name }}!"}}]})
}

fn approval() -> Value {
    json!({"id": "approval", "steps": [{"id": "ask", "signal": "approval"}, {"id": "done", "skill": "echo", "params": "{{ steps.ask.output }}"}]})
}

#[test]
fn the_first_screen_says_where_the_data_is_and_what_to_try() {
    let server = Server::start();
    let data = server.place.path("aos-data/aos.db").canonicalize().unwrap();
    for part in [data.to_str().unwrap(), "stub", "listening on http://127.0.0.1:"] {
        assert!(server.first_screen.contains(part), "{part}: {}", server.first_screen);
    }
    let line = server.first_screen.lines().find(|line| line.contains("curl ")).unwrap();
    let command = &line[line.find("curl ").unwrap()..];
    let done = run(Command::new("sh").args(["-c", command]), b"").exits(0);
    assert_eq!(done.json()["state"], "succeeded", "{command}");
}

#[test]
fn runs_are_followed_from_the_command_line() {
    let server = Server::start();
    let id = server.create(greet(), json!({"name": "Ada"}));
    server.aos(&["runs", "wait", &id]).exits(0).prints("succeeded").prints("Hello, Ada!").prints("Hash: ");
    let run = server.aos(&["runs", "get", &id, "-o", "json"]).exits(0).json();
    assert_eq!(run["output"], json!({"hello": {"text": "Hello, Ada!"}}));
    server.aos(&["runs", "list"]).exits(0).prints(&id).prints("greet@1.0.0");
    assert_eq!(server.aos(&["runs", "list", "--state", "failed", "-o", "json"]).exits(0).json(), json!([]));
    assert_eq!(
        server.aos(&["runs", "list", "--workflow", "greet", "-o", "json"]).exits(0).json()[0]["id"],
        id.as_str()
    );
    let journal = server.aos(&["runs", "journal", &id]).exits(0).out;
    assert!(journal.lines().count() >= 4 && journal.lines().all(|line| line.starts_with("{\"at\":")), "{journal}");
    server.aos(&["runs", "get", "nobody"]).exits(1).says("ERR_NOT_FOUND");
    server.aos(&["runs", "journal", "nobody"]).exits(1).says("ERR_NOT_FOUND");

    let recorded = server.aos(&["golden", "record", "--run", &id, "--to", "greet.jsonl", "--note", "hello"]).exits(0);
    let hash = run["content_hash"].as_str().unwrap();
    recorded.prints(&format!("Hash: {hash}"));
    assert_eq!(server.place.aos(&["replay", "greet.jsonl"]).exits(0).out, format!("Hash: {hash}\n"));

    let fork = server.aos(&["runs", "fork", &id, "--at", "hello", "--with-output", "\"edited\""]).exits(0).out;
    let fork = server.aos(&["runs", "wait", fork.trim(), "-o", "json"]).exits(0).json();
    assert_eq!((&fork["output"], &fork["forked_from"]["run"]), (&json!({"hello": "edited"}), &json!(id)));
    server.aos(&["runs", "fork", &id, "--at", "nothing"]).exits(1).says("ERR_NOT_FOUND");
}

#[test]
fn runs_are_steered_from_the_command_line() {
    let server = Server::start();
    let id = server.create(approval(), json!({}));
    server.aos(&["runs", "wait", &id, "--timeout", "0"]).exits(1).says("has not ended yet");
    server.aos(&["golden", "record", "--run", &id]).exits(1).says("ERR_CONFLICT");
    server.aos(&["runs", "signal", &id, "approval", "--payload", r#"{"by": "Ada"}"#]).exits(0);
    server.aos(&["runs", "wait", &id]).exits(0).prints("Ada");
    server.aos(&["runs", "signal", &id, "approval"]).exits(1).says("ERR_CONFLICT");
    let id = server.create(approval(), json!({}));
    server.aos(&["runs", "cancel", &id, "--reason", "no need"]).exits(0);
    server.aos(&["runs", "wait", &id]).exits(1).prints("cancelled").prints("ERR_CANCELLED");
    server.aos(&["runs", "journal", &id]).exits(0).prints("no need");
}

#[test]
fn the_same_commands_work_on_the_file() {
    let mut server = Server::start();
    let id = server.create(approval(), json!({}));
    let db = server.place.path("aos-data/aos.db");
    let on_file = |args: &[&str]| server.place.aos(&[args, &["--db", db.to_str().unwrap()][..]].concat());
    // Beside the server.
    on_file(&["runs", "list"]).exits(0).prints(&id);
    on_file(&["runs", "signal", &id, "approval", "--payload", "7"]).exits(0);
    server.aos(&["runs", "wait", &id]).exits(0).prints("7");
    assert_eq!(server.stop(), Some(0));
    // Without it.
    server.aos(&["runs", "list"]).exits(3);
    let on_file = |args: &[&str]| server.place.aos(&[args, &["--db", db.to_str().unwrap()][..]].concat());
    on_file(&["runs", "get", &id]).exits(0).prints("succeeded");
    on_file(&["runs", "journal", &id]).exits(0).prints("run_finished");
    on_file(&["golden", "record", "--run", &id, "--to", "kept.jsonl"]).exits(0);
    server.place.aos(&["golden", "verify", "kept.jsonl"]).exits(0);
    on_file(&["registry", "list"]).exits(0).prints("echo@1.0.0");
    server.place.aos(&["runs", "list", "--db", "nowhere/none.db"]).exits(2).says("nowhere/none.db");
}

#[test]
fn schedules_are_kept_from_the_command_line() {
    let server = Server::start();
    server.aos(&["schedules", "list"]).exits(0).prints("no schedules");
    let url = format!("{}/v1/workflows", server.url);
    curl(&["-sS", "--fail-with-body", &url, "-H", "content-type: application/json", "-d", &greet().to_string()])
        .exits(0);
    let put = |more: &[&str]| {
        let args = ["schedules", "put", "morning", "--workflow", "greet", "--cron", "0 9 * * MON-FRI"];
        server.aos(&[&args, more].concat())
    };
    server.aos(&["schedules", "put", "a", "--workflow", "greet", "--cron", "0 9 * *"]).exits(2).says("4 fields");
    let input =
        ["--input", r#"{"name": "Ada"}"#, "--time-zone", "Europe/Berlin", "--priority", "7", "--overlap", "allow"];
    put(&input).exits(0).prints("morning").prints("0 9 * * MON-FRI in Europe/Berlin").prints(r#"{"name":"Ada"}"#);
    server.aos(&["schedules", "pause", "morning"]).exits(0).prints("paused");
    put(&input).exits(0).prints("paused");
    server.aos(&["schedules", "list"]).exits(0).prints("morning  paused").prints("greet");
    let shown = server.aos(&["schedules", "resume", "morning", "-o", "json"]).exits(0).json();
    assert_eq!((&shown["paused"], &shown["priority"], &shown["overlap"]), (&json!(false), &json!(7), &json!("allow")));
    assert!(shown["next_at"].as_str().unwrap().ends_with(":00:00.000Z"), "{shown}");
    let run = server.aos(&["schedules", "trigger", "morning"]).exits(0).out;
    server.aos(&["runs", "wait", run.trim()]).exits(0).prints("Hello, Ada!");
    let db = server.place.path("aos-data/aos.db");
    let on_file = server.place.aos(&["schedules", "get", "morning", "-o", "json", "--db", db.to_str().unwrap()]);
    assert_eq!(on_file.exits(0).json(), shown);
    server.aos(&["schedules", "remove", "morning"]).exits(0).prints("removed morning");
    server.aos(&["schedules", "get", "morning"]).exits(1).says("ERR_NOT_FOUND");
}

#[test]
fn registries_are_carried_over() {
    let (one, two) = (Server::start(), Server::start());
    one.aos(&["registry", "list"]).exits(0).prints("skill     echo@1.0.0").prints("http_call@1.0.0");
    one.aos(&["registry", "export", "--to", "one.json"]).exits(0).prints("Hash: ");
    let text = one.aos(&["registry", "export"]).exits(0).out;
    assert_eq!(text, one.place.read("one.json"));
    two.place.write("one.json", &text);
    two.aos(&["registry", "import", "one.json"]).exits(0).prints("added: 0");
    two.aos(&["registry", "diff", "one.json"]).exits(0).prints("no difference");
}

#[test]
fn a_taken_port_is_explained() {
    let server = Server::start();
    let port = server.url.rsplit(':').next().unwrap();
    let place = Place::new();
    place.aos(&["serve", "--port", port]).exits(2).says(port).says("--port");
}

#[test]
fn a_server_that_was_killed_goes_on_where_it_was() {
    let mut server = Server::start();
    let id = server.create(approval(), json!({}));
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let (child, url, _) = start(&server.place, &[]);
    (server.child, server.url) = (child, url);
    server.aos(&["runs", "signal", &id, "approval"]).exits(0);
    server.aos(&["runs", "wait", &id]).exits(0).prints("succeeded");
}

/// Once: runs in hand come to an end. Twice: it ends at once, and they go on at the next start.
#[test]
fn a_server_that_is_asked_twice_ends_at_once() {
    let mut server = Server::start();
    let naps = json!({"id": "naps", "steps": [
        {"id": "nap", "for_each": "[1, 2, 3, 4, 5, 6, 7, 8, 9]", "concurrency": 1, "sleep": "900ms"}]});
    let id = server.create(naps, json!({}));
    while server.child.try_wait().unwrap().is_none() {
        Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.child.wait().unwrap().code(), Some(1));
    let (child, url, _) = start(&server.place, &[]);
    (server.child, server.url) = (child, url);
    server.aos(&["runs", "wait", &id]).exits(0).prints("succeeded");
}

#[test]
fn a_server_that_can_not_start_says_what_to_do() {
    let place = Place::new();
    place.write("file", "");
    place.write("text.db", "this is no database at all");
    let hint = "the server has not started";
    place.aos(&["serve", "--port", "0", "--db", "file/aos.db"]).exits(3).says("a file is in its way").says(hint);
    place.aos(&["serve", "--port", "0", "--db", "text.db"]).exits(3).says("not a database").says(hint);
}

#[test]
fn logs_go_where_settings_say() {
    let place = Place::new();
    let mut command = place.command(&["serve", "--port", "0"]);
    command.env("LOG_FORMAT", "json").env("LOG_FILE", "aos.log").env("AOS_HTTP_ALOW", "x");
    let out = std::fs::File::create(place.path("out")).unwrap();
    let mut child = command.stdout(out).stderr(Stdio::null()).spawn().unwrap();
    let log = place.path("aos.log");
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    while !read().contains("curl ") {
        assert_eq!(child.try_wait().unwrap(), None, "{}", read());
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let lines: Vec<Value> = place.read("out").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["timestamp"].is_string()), "{lines:?}");
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    // The same in the file, for `grep`.
    let text = read();
    assert_eq!(text.lines().count(), messages.len(), "{text}");
    for (line, message) in text.lines().zip(&messages) {
        assert!(line.contains(message) && !line.starts_with('{'), "{line}");
    }
    assert!(messages[0].contains("did you mean AOS_HTTP_ALLOW?"), "{messages:?}");
    assert!(messages.iter().any(|message| message.starts_with("listening on http://127.0.0.1:")), "{messages:?}");
}

/// Whoever reads lines of JSON gets nothing else, the first key included; the file has no key.
#[test]
fn the_first_key_is_a_line_of_json_where_all_lines_are() {
    let place = Place::new();
    let mut command = place.command(&["serve", "--port", "0", "--host", "0.0.0.0"]);
    command.env("LOG_FORMAT", "json").env("LOG_FILE", "aos.log");
    let out = std::fs::File::create(place.path("out")).unwrap();
    let mut child = command.stdout(out).stderr(Stdio::null()).spawn().unwrap();
    while !std::fs::read_to_string(place.path("aos.log")).unwrap_or_default().contains("curl ") {
        assert_eq!(child.try_wait().unwrap(), None, "{}", place.read("out"));
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let lines: Vec<Value> = place.read("out").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keys: Vec<_> = lines.iter().filter_map(|line| line["api_key"].as_str()).collect();
    assert!(keys.len() == 1 && keys[0].starts_with("aos_"), "{lines:?}");
    assert!(!place.read("aos.log").contains(keys[0]));
}
