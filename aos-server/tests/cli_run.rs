//! `run FILE`: one shot, without a server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod cli_support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use cli_support::Place;
use serde_json::{Value, json};

const GREET: &str = r#"
id: greet
version: 1.0.0
input: {type: object, properties: {name: {type: string}}, required: [name]}
steps:
  - id: hello
    skill: echo@^1
    params: {greeting: "Hello, {{ input.name }}!"}
  - id: shout
    set: "{{ steps.hello.output.greeting | upper }}"
output: {text: "{{ steps.shout.output }}"}
"#;

const APPROVAL: &str = "
id: approval
steps:
  - {id: ask, signal: approval}
  - {id: answer, skill: echo, params: {approved: '{{ steps.ask.output.by }}'}}
";

#[test]
fn a_definition_runs_to_its_output() {
    let place = Place::new();
    let yaml = place.write("greet.yaml", GREET);
    let done = place.aos(&["run", &yaml, "--input", r#"{"name": "Ada"}"#]).exits(0).says("succeeded").says("Hash: ");
    assert_eq!(done.json(), json!({"text": "HELLO, ADA!"}));
    assert_eq!(std::fs::read_dir(place.root()).unwrap().count(), 1, "nothing is left behind");
}

#[test]
fn input_comes_as_text_from_a_file_or_from_standard_input() {
    let place = Place::new();
    place.write("greet.yaml", GREET);
    place.write("input.json", r#"{"name": "Grace"}"#);
    for (args, stdin, text) in [
        (&["run", "greet.yaml", "--input", r#"{"name": "Ada"}"#][..], "", "HELLO, ADA!"),
        (&["run", "greet.yaml", "--input", "@input.json"], "", "HELLO, GRACE!"),
        (&["run", "greet.yaml", "--input", "-"], r#"{"name": "Edsger"}"#, "HELLO, EDSGER!"),
        (&["run", "-", "--input", "@input.json"], GREET, "HELLO, GRACE!"),
    ] {
        assert_eq!(place.aos_with(args, stdin).exits(0).json(), json!({"text": text}), "{args:?}");
    }
}

#[test]
fn the_same_run_has_the_same_hash() {
    let place = Place::new();
    place.write("greet.yaml", GREET);
    let hash = |seed: &str| {
        let args = ["run", "greet.yaml", "--input", r#"{"name": "Ada"}"#, "--seed", seed, "-o", "json"];
        let run = place.aos(&args).exits(0).json();
        assert_eq!((&run["state"], &run["error"], &run["cost_usd"]), (&json!("succeeded"), &json!(null), &json!("0")));
        run["content_hash"].as_str().unwrap().to_owned()
    };
    assert_eq!(hash("7"), hash("7"));
    assert_ne!(hash("7"), hash("8"));
}

#[test]
fn a_run_that_fails_exits_with_1() {
    let place = Place::new();
    place.write(
        "fail.yaml",
        "{id: fail, steps: [{id: a, skill: http_call, params: {url: 'http://127.0.0.1/'}, retry: {max_attempts: 1}}]}",
    );
    let done = place.aos(&["run", "fail.yaml"]).exits(1).says("error: ERR_HTTP_BLOCKED").says("→ ").says("Hash: ");
    assert!(done.out.is_empty());
    let run = place.aos(&["run", "fail.yaml", "-o", "json"]).exits(1).json();
    assert_eq!((&run["state"], &run["error"]["code"]), (&json!("failed"), &json!("ERR_HTTP_BLOCKED")));
}

#[test]
fn mistakes_are_named_before_anything_runs() {
    let place = Place::new();
    place.write("greet.yaml", GREET);
    place.write("bad.yaml", "{id: bad, steps: [{id: a, set: 2}, {id: a, set: 1}, {id: b, sleep: soon}]}");
    place.write("unknown.yaml", "{id: bad, steps: [{id: a, skill: ecko}]}");
    place.write("bytes.yaml", [0xff, 0xfe, 0x00]);
    place.write("broken.json", "{\"id\": ");
    let deep = "[".repeat(100_000);
    place.write("deep.json", &deep);
    for (args, code, says) in [
        (&["run", "nowhere.yaml"][..], 2, "nowhere.yaml can't be read"),
        (&["run", "."], 2, "can't be read"),
        (&["run", "bytes.yaml"], 2, "not UTF-8"),
        (&["run", "broken.json"], 2, "broken.json"),
        (&["run", "deep.json"], 2, "deep.json"),
        (&["run", "bad.yaml"], 2, "ERR_INVALID_DEFINITION"),
        (&["run", "bad.yaml"], 2, "\"a\" again"),
        (&["run", "unknown.yaml"], 2, "did you mean \"echo\""),
        (&["run", "bad.yaml"], 2, "soon"),
        (&["run", "greet.yaml"], 2, "ERR_INVALID_INPUT"),
        (&["run", "greet.yaml", "--input", "{"], 2, "--input: "),
        (&["run", "greet.yaml", "--input", "@none.json"], 2, "none.json can't be read"),
        (&["run", "greet.yaml", "--input", "{\"name\": 9007199254740993}"], 2, "ERR_NUMBER_OUT_OF_RANGE"),
        (&["run", "greet.yaml", "--with", "bad.yaml"], 2, "bad.yaml"),
        (&["run", "greet.yaml", "--set", "LOG_LEVEL=loud"], 2, "LOG_LEVEL"),
    ] {
        let done = place.aos(args).exits(code).says(says);
        assert!(done.out.is_empty(), "{args:?}: {}", done.out);
    }
}

#[test]
fn signals_are_given_beforehand_or_asked_for() {
    let place = Place::new();
    place.write("approval.yaml", APPROVAL);
    let done = place.aos(&["run", "approval.yaml", "--signal", r#"approval={"by": "Ada"}"#]).exits(0);
    assert_eq!(done.json()["answer"], json!({"approved": "Ada"}));
    place.aos(&["run", "approval.yaml"]).exits(1).says("waits for the signal approval").says("--signal");
    place.aos(&["run", "approval.yaml", "--signal", "approval={"]).exits(2).says("--signal");
}

#[test]
fn child_workflows_come_from_files() {
    let place = Place::new();
    place.write("greet.yaml", GREET);
    place.write("both.yaml", "{id: both, steps: [{id: a, workflow: greet@^1, params: {name: Ada}}, {id: b, workflow: greet, params: {name: Alan}}]}");
    let done = place.aos(&["run", "both.yaml", "--with", "greet.yaml"]).exits(0);
    assert_eq!(done.json(), json!({"a": {"text": "HELLO, ADA!"}, "b": {"text": "HELLO, ALAN!"}}));
    place.aos(&["run", "both.yaml"]).exits(2).says("greet");
}

#[test]
fn a_run_can_be_kept_in_a_database() {
    let place = Place::new();
    place.write("greet.yaml", GREET);
    let args = ["run", "greet.yaml", "--input", r#"{"name": "Ada"}"#, "--db", "data/aos.db", "-o", "json"];
    let run = place.aos(&args).exits(0).json();
    assert!(place.path("data/aos.db").exists());
    let kept =
        place.aos(&["runs", "get", run["run"].as_str().unwrap(), "--db", "data/aos.db", "-o", "json"]).exits(0).json();
    assert_eq!((&kept["state"], &kept["content_hash"]), (&json!("succeeded"), &run["content_hash"]));
    place.write("not.db", "something else entirely, long enough to be no database header");
    place.aos(&["run", "greet.yaml", "--input", r#"{"name": "Ada"}"#, "--db", "not.db"]).exits(3).says("ERR_STORE");
}

#[test]
fn http_calls_reach_what_is_allowed_and_use_no_proxy() {
    let place = Place::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"a\":1}");
        }
    });
    place.write("fetch.yaml", format!("{{id: fetch, steps: [{{id: get, skill: http_call, params: {{url: 'http://{address}/x'}}}}], output: '{{{{ steps.get.output.body }}}}'}}"));
    let mut command = place.command(&["run", "fetch.yaml"]);
    // A proxy that would swallow the request if it were used.
    command
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("http_proxy", "http://127.0.0.1:1")
        .env("ALL_PROXY", "http://127.0.0.1:1");
    command.env("AOS_HTTP_ALLOW", address.to_string());
    assert_eq!(cli_support::run(&mut command, b"").exits(0).json(), json!({"a": 1}));
    place.aos(&["run", "fetch.yaml"]).exits(1).says("AOS_HTTP_ALLOW");
}

#[test]
fn an_interrupt_cancels_the_run() {
    let place = Place::new();
    place.write("nap.yaml", "{id: nap, steps: [{id: nap, sleep: 1h}]}");
    let mut command = place.command(&["run", "nap.yaml", "--db", "aos.db", "-o", "json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It listens for interrupts once the run is in the database.
    while !place.aos(&["runs", "list", "--db", "aos.db"]).out.contains("nap@") {
        std::thread::sleep(Duration::from_millis(50));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let run: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &run["state"], &run["error"]["code"]),
        (Some(1), &json!("cancelled"), &json!("ERR_CANCELLED"))
    );
}
