//! `worker`: a process that only advances runs, beside one that only serves.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod cli_support;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use cli_support::{Done, Place, run};

/// A process that runs until it is dropped.
struct Process {
    child: Child,
    url: String,
}

impl Process {
    /// Starts it in `place`; it is up once it says that it listens.
    #[allow(clippy::zombie_processes, reason = "a test that fails here ends anyway")]
    fn start(place: &Place, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = place.command(args);
        let command = command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let err = BufReader::new(child.stderr.take().unwrap());
        // Read to the end, so that the process never waits for a reader.
        std::thread::spawn(move || err.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        loop {
            let line = lines.recv_timeout(Duration::from_secs(60)).unwrap();
            if let Some((_, port)) = line.split_once(" on http://127.0.0.1:") {
                return Self { child, url: format!("http://127.0.0.1:{}", port.trim()) };
            }
        }
    }

    fn get(&self, path: &str) -> Done {
        run(Command::new("curl").args(["-sS", "-w", "\n%{http_code}", &format!("{}{path}", self.url)]), b"")
    }

    /// Ends it as an operator does; gives its exit code.
    fn stop(mut self) -> Option<i32> {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_worker_advances_what_a_server_without_one_accepts() {
    let place = Place::new();
    let server = Process::start(&place, &["serve", "--port", "0"], &[("WORKER_CONCURRENCY", "0")]);
    let body = r#"{"workflow": {"id": "w", "steps": [{"id": "a", "skill": "echo", "params": 1}]}}"#;
    let create = |wait: &str| {
        let url = format!("{}/v1/runs?wait={wait}", server.url);
        run(Command::new("curl").args(["-sS", &url, "-H", "content-type: application/json", "-d", body]), b"").json()
    };
    assert_eq!(create("0s")["state"], "queued");
    let worker = Process::start(&place, &["worker"], &[]);
    assert_eq!(create("60s")["state"], "succeeded");
    for (path, status) in [("/health/ready", "200"), ("/metrics", "200"), ("/v1/runs", "404"), ("/openapi.json", "404")]
    {
        let done = worker.get(path).exits(0);
        assert!(done.out.ends_with(status), "{path}: {}", done.out);
    }
    assert_eq!(worker.stop(), Some(0));
    assert_eq!(create("0s")["state"], "queued");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_request_is_found_in_the_log_files_of_all_processes_without_its_secrets() {
    let place = Place::new();
    let serve = [("WORKER_CONCURRENCY", "0"), ("LOG_LEVEL", "DEBUG"), ("LOG_FILE", "serve.log")];
    let server = Process::start(&place, &["serve", "--port", "0"], &serve);
    let work = [("LOG_SKILL_PARAMS", "true"), ("LOG_LEVEL", "DEBUG"), ("LOG_FILE", "worker.log")];
    let worker = Process::start(&place, &["worker"], &work);
    let create = |request: &str| {
        let params = r#"{"to": "Ada", "password": "canary-1", "at": "postgres://aos:canary-2@db/aos"}"#;
        let body =
            format!(r#"{{"workflow": {{"id": "w", "steps": [{{"id": "a", "skill": "echo", "params": {params}}}]}}}}"#);
        let (url, id) = (format!("{}/v1/runs?wait=60s", server.url), format!("x-request-id: {request}"));
        let mut curl = Command::new("curl");
        curl.args(["-sS", &url, "-H", "content-type: application/json", "-H", &id, "-d", &body]);
        assert_eq!(run(&mut curl, b"").json()["state"], "succeeded");
    };
    create("abc123");
    std::fs::rename(place.path("worker.log"), place.path("worker.log.1")).unwrap();
    create("def456");
    assert_eq!((worker.stop(), server.stop()), (Some(0), Some(0)));

    // A line about the first run may be late, and come after the file was renamed.
    let (before, after, served) = (place.read("worker.log.1"), place.read("worker.log"), place.read("serve.log"));
    let worked = format!("{before}{after}");
    assert!(before.contains("LOG_SKILL_PARAMS is on") && !before.contains("def456"), "{before}");
    assert!(after.contains("request_id=def456"), "{after}");
    let has = |log: &str, words: &[&str]| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
    for request in ["request_id=abc123", "request_id=def456"] {
        assert!(has(&served, &[request, "answered"]), "{served}");
        assert!(has(&worked, &[request, "run ended"]), "{worked}");
        assert!(has(&worked, &[request, "parameters of the attempt", "Ada", "[redacted]"]), "{worked}");
    }
    assert!(!worked.contains("canary") && !served.contains("canary"), "{worked}{served}");
}

#[test]
fn a_worker_without_room_is_refused() {
    let place = Place::new();
    place.aos(&["worker", "--set", "WORKER_CONCURRENCY=0"]).exits(2).says("WORKER_CONCURRENCY is 0");
}

#[test]
fn debug_logging_needs_no_restart_and_ends_by_itself() {
    let place = Place::new();
    let settings = |file: &'static str| [("WORKER_CONCURRENCY", "0"), ("LOG_FILE", file)];
    let server = Process::start(&place, &["serve", "--port", "0"], &settings("serve.log"));
    let _worker = Process::start(&place, &["worker"], &settings("worker.log")[1..]);
    let body = r#"{"workflow": {"id": "w", "steps": [{"id": "a", "skill": "echo", "params": 1}]}}"#;
    let debug_lines = || {
        let url = format!("{}/v1/runs?wait=60s", server.url);
        let mut curl = Command::new("curl");
        let done = run(curl.args(["-sS", &url, "-H", "content-type: application/json", "-d", body]), b"");
        assert_eq!(done.json()["state"], "succeeded");
        ["serve.log", "worker.log"].map(|file| place.read(file).matches("DEBUG").count())
    };
    assert_eq!(debug_lines(), [0, 0]);
    let aos = |args: &[&str]| place.aos(&[&["switch"], args, &["--url", &server.url]].concat());
    let on = ["on", "debug_logging", "--for", "4s", "--reason", "a look", "--by", "Ada", "-o", "json"];
    let on = aos(&on).exits(0).json();
    assert!(on["on"] == true && on["in_effect"] == true && on["until"].is_string(), "{on}");
    std::thread::sleep(Duration::from_secs(2));
    let seen = debug_lines();
    assert!(seen.iter().all(|lines| *lines > 0), "{seen:?}");
    // A line of the switch's own, in both.
    std::thread::sleep(Duration::from_secs(4));
    let list = aos(&["list", "-o", "json"]).exits(0).json();
    let debug = list["switches"].as_array().unwrap().iter().find(|switch| switch["switch"] == "debug_logging").unwrap();
    assert!(debug["on"] == false && debug["in_effect"] == false, "{debug}");
    let before = debug_lines();
    assert_eq!(debug_lines(), before);
    for (args, says) in [
        (["off", "debug_logging", "--reason", "x", "--for", "1m"].as_slice(), "unexpected argument"),
        (&["on", "debug_logging", "--reason", "x", "--for", "soon"], "expected a time such as 30s"),
        (&["on", "debug_logging", "--reason", "x", "--for", "0s"], "expected a time such as 30s"),
    ] {
        aos(args).exits(2).says(says);
    }
    // Who forgets it does so for an hour.
    let on = aos(&["on", "debug_logging", "--reason", "a look", "-o", "json"]).exits(0).json();
    assert!(on["until"].is_string(), "{on}");
}
