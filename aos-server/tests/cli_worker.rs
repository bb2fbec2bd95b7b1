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
fn a_worker_without_room_is_refused() {
    let place = Place::new();
    place.aos(&["worker", "--set", "WORKER_CONCURRENCY=0"]).exits(2).says("WORKER_CONCURRENCY is 0");
}
