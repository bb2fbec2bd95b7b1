//! The server's HTTP API, as a client sees it.

use reqwest::StatusCode;
use serde_json::{Value, json};

/// A client of whichever server lives at the moment.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    pub url: String,
}

impl Api {
    pub fn new(http: &reqwest::Client, url: &str) -> Self {
        Self { http: http.clone(), url: url.to_owned() }
    }

    /// An answer, or an error when none came.
    pub async fn post(&self, path: &str, key: Option<&str>, body: &Value) -> reqwest::Result<(StatusCode, Value)> {
        let request = self.http.post(format!("{}{path}", self.url)).header("content-type", "application/json");
        let request = key.iter().fold(request, |request, key| request.header("idempotency-key", *key));
        let response = request.body(body.to_string()).send().await?;
        let (status, text) = (response.status(), response.text().await?);
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    pub async fn get(&self, path: &str) -> (StatusCode, String) {
        let response = self.http.get(format!("{}{path}", self.url)).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    /// Registers a workflow.
    pub async fn register(&self, definition: &Value) {
        let (status, answer) = self.post("/v1/workflows", None, definition).await.unwrap();
        assert!(status.is_success(), "{status}: {answer}");
    }

    /// Runs a workflow to its end, undisturbed.
    pub async fn run(&self, workflow: &str, input: Value) -> Value {
        let body = json!({"workflow": workflow, "input": input});
        let (status, run) = self.post("/v1/runs?wait=60s", None, &body).await.unwrap();
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
            let (status, text) = self.get(&format!("/v1/runs?limit=200&state={states}{cursor}")).await;
            assert!(status.is_success(), "{status}: {text}");
            let mut page: Value = serde_json::from_str(&text).unwrap();
            runs.append(page["runs"].as_array_mut().unwrap());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return runs,
            }
        }
    }
}
