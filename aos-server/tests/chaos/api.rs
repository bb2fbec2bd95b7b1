//! The server's HTTP API, as a client sees it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

/// How long one request may take.
const ANSWER: Duration = Duration::from_secs(5);

/// How long to ask again, and elsewhere, for what has to be there.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of one server, or of several that share their data. Clones know of the same servers.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    urls: Arc<Mutex<Vec<String>>>,
    turn: Arc<AtomicUsize>,
}

impl Api {
    /// A client of the server at `url`.
    pub fn new(http: &reqwest::Client, url: &str) -> Self {
        Self::of(http, vec![url.to_owned()])
    }

    /// A client that asks each of these in turn.
    pub fn of(http: &reqwest::Client, urls: Vec<String>) -> Self {
        Self { http: http.clone(), urls: Arc::new(Mutex::new(urls)), turn: Arc::default() }
    }

    /// Says that a server, by its place, is at another URL from now on.
    pub fn moved(&self, server: usize, url: String) {
        self.urls.lock().unwrap()[server] = url;
    }

    /// An answer; `None` when none came, or the server says that it can't answer now while another one may.
    pub async fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Option<(StatusCode, Value)> {
        let (status, text) = self.ask(path, ANSWER, key, Some(body)).await?;
        Some((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// An answer, after however many tries.
    pub async fn get(&self, path: &str) -> (StatusCode, String) {
        let began = Instant::now();
        loop {
            if let Some(answer) = self.ask(path, ANSWER, None, None).await {
                return answer;
            }
            assert!(began.elapsed() < PATIENCE, "nobody answers GET {path}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A JSON document.
    pub async fn read(&self, path: &str) -> Value {
        let (status, text) = self.get(path).await;
        assert!(status.is_success(), "GET {path}: {status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Registers a workflow, and waits until every server knows it.
    pub async fn register(&self, definition: &Value) {
        let (status, answer) = self.post("/v1/workflows", None, definition).await.unwrap();
        assert!(status.is_success(), "{status}: {answer}");
        let (path, began) = (format!("/v1/workflows/{}", definition["id"].as_str().unwrap()), Instant::now());
        let (servers, mut know) = (self.urls.lock().unwrap().len(), 0);
        while know < servers {
            know = if self.get(&path).await.0.is_success() { know + 1 } else { 0 };
            assert!(began.elapsed() < PATIENCE, "a server does not hear of {path}");
        }
    }

    /// Runs a workflow to its end, undisturbed.
    pub async fn run(&self, workflow: &str, input: Value) -> Value {
        let body = json!({"workflow": workflow, "input": input});
        let (status, text) = self.ask("/v1/runs?wait=60s", PATIENCE + ANSWER, None, Some(&body)).await.unwrap();
        let run: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &run["state"]), (StatusCode::CREATED, &json!("succeeded")), "{run}");
        run
    }

    /// What the server finds when it replays a run.
    pub async fn replay(&self, run: &str) -> Value {
        let (status, answer) = self.post(&format!("/v1/runs/{run}/replay"), None, &Value::Null).await.unwrap();
        assert!(status.is_success(), "{status}: {answer}");
        answer
    }

    /// Every run in these states (all of them when there are none), children included.
    pub async fn runs(&self, states: &str) -> Vec<Value> {
        let (mut runs, mut cursor) = (Vec::new(), String::new());
        loop {
            let mut page = self.read(&format!("/v1/runs?limit=200&state={states}{cursor}")).await;
            runs.append(page["runs"].as_array_mut().unwrap());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return runs,
            }
        }
    }

    /// Asks the server whose turn it is.
    async fn ask(
        &self,
        path: &str,
        patience: Duration,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Option<(StatusCode, String)> {
        let (url, is_only) = {
            let urls = self.urls.lock().unwrap();
            (urls[self.turn.fetch_add(1, Ordering::Relaxed) % urls.len()].clone(), urls.len() == 1)
        };
        let url = format!("{url}{path}");
        let request = match body {
            None => self.http.get(url),
            Some(body) => self.http.post(url).header("content-type", "application/json").body(body.to_string()),
        };
        let request = key.iter().fold(request, |request, key| request.header("idempotency-key", *key));
        let response = request.timeout(patience).send().await.ok()?;
        let (status, text) = (response.status(), response.text().await.ok()?);
        let is_answer = is_only || status != StatusCode::SERVICE_UNAVAILABLE;
        is_answer.then_some((status, text))
    }
}
