//! Real servers, as an operator has them: started, talked to over HTTP, ended by a signal.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

/// A process that runs until it is dropped.
pub struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    pub url: String,
}

impl Process {
    /// Starts a server.
    pub fn serve(environment: &[(&str, &str)]) -> Self {
        Self::start(&["serve"], environment)
    }

    /// Starts the binary with this environment and nothing else, and waits until it listens.
    pub fn start(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aos-server"));
        command.args(args).env_clear().env("PORT", "0").envs(environment.iter().copied());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let log = Arc::<Mutex<String>>::default();
        let shown: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for shown in shown {
            let (kept, sender) = (Arc::clone(&log), sender.clone());
            // Read to the end, so that the server never waits for a reader.
            std::thread::spawn(move || {
                for line in BufReader::new(shown).lines().map_while(Result::ok) {
                    kept.lock().unwrap().push_str(&format!("{line}\n"));
                    let _ = sender.send(line);
                }
            });
        }
        let mut process = Self { child, log, url: String::new() };
        while process.url.is_empty() {
            let line = lines.recv_timeout(Duration::from_secs(60));
            let line = line.unwrap_or_else(|error| panic!("{args:?} does not start ({error}):\n{}", process.log()));
            if let Some((_, url)) = line.split_once(" on http://") {
                // A line of JSON goes on after it.
                process.url = format!("http://{}", url.split(['"', ' ']).next().unwrap_or_default());
            }
        }
        process
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a service manager does; it has to end well.
    pub fn terminate(&mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let ended = self.child.wait().unwrap();
        assert_eq!(ended.code(), Some(0), "{}", self.log());
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn api(&self) -> Api {
        Api { http: reqwest::Client::new(), url: self.url.clone() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The deployed configuration of the load balancer, with these servers behind it, and with the ports of 127.0.0.1 on
/// which it listens itself.
pub fn balancer(replicas: &[u16], api: u16, state: u16) -> String {
    let deployed = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/haproxy/haproxy.cfg");
    let mut text = std::fs::read_to_string(deployed).unwrap();
    let servers: Vec<_> = replicas.iter().map(|port| format!("server replica-{port} 127.0.0.1:{port}")).collect();
    let template = text.lines().find(|line| line.trim().starts_with("server-template ")).unwrap().trim().to_owned();
    for (deployed, times, here) in [
        (template, 2, servers.join("\n    ")),
        ("bind :8000".to_owned(), 1, format!("bind 127.0.0.1:{api}")),
        ("bind :8404".to_owned(), 1, format!("bind 127.0.0.1:{state}")),
    ] {
        assert_eq!(text.matches(&deployed).count(), times, "{deployed}");
        text = text.replace(&deployed, &here);
    }
    text
}

/// A client of a server.
#[derive(Clone)]
pub struct Api {
    pub http: reqwest::Client,
    pub url: String,
}

impl Api {
    /// The same client, of a server on another port.
    pub fn at(&self, port: u16) -> Self {
        Self { url: format!("http://127.0.0.1:{port}"), ..self.clone() }
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.try_post(path, body).await;
        assert!(status.is_success(), "{path}: {status}: {answer}");
        answer
    }

    pub async fn try_post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let answer = self.http.post(format!("{}{path}", self.url)).json(body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Begins a run; gives its id.
    pub async fn begin(&self, workflow: &Value, input: &Value) -> String {
        let run = self.post("/v1/runs", &json!({"workflow": workflow, "input": input})).await;
        run["id"].as_str().unwrap().to_owned()
    }

    /// The run once it has ended.
    pub async fn ended(&self, run: &str) -> Value {
        for _ in 0..2_400 {
            let run = self.get(&format!("/v1/runs/{run}")).await;
            if ["succeeded", "failed", "cancelled", "dead"].iter().any(|state| run["state"] == *state) {
                return run;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the run {run} does not end: {}", self.get(&format!("/v1/runs/{run}")).await)
    }
}
