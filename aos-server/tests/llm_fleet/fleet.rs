//! Servers that share a Postgres and a Redis, and ask one provider.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aos_testkit::service::claude::MockClaude;
use aos_testkit::service::{Postgres, Redis};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::operator_support::{Api, Process};

/// The model that is asked for.
pub const MODEL: &str = "claude-haiku-4-5";

/// A workflow of one question.
pub fn ask() -> Value {
    json!({
        "id": "ask",
        "steps": [{"id": "ask", "skill": "llm_invoke", "params": {
            "adapter": "claude", "model": MODEL, "max_tokens": "{{ input.max_tokens }}", "prompt": "{{ input.prompt }}"
        }}],
        "output": "{{ steps.ask.output.text }}"
    })
}

pub struct Fleet {
    pub servers: Vec<Process>,
    pub redis: Redis,
    pub directory: TempDir,
    _postgres: Postgres,
}

impl Fleet {
    /// Starts so many servers with these settings, which come after those that they all need.
    pub async fn start(servers: usize, claude: &MockClaude, settings: &[(&str, &str)]) -> Self {
        let postgres = Postgres::start(&["fsync=off"]).unwrap();
        let redis = Redis::start(&[]).unwrap();
        let directory = TempDir::new().unwrap();
        let key = directory.path().join("key");
        std::fs::write(&key, claude.key()).unwrap();
        let (database, redis_url) = (postgres.database().unwrap().url, redis.url());
        let base_url = claude.base_url();
        let all = [
            ("DATABASE_URL", database.as_str()),
            ("REDIS_URL", &redis_url),
            ("ANTHROPIC_BASE_URL", &base_url),
            ("ANTHROPIC_API_KEY_FILE", key.to_str().unwrap()),
            ("LOG_LEVEL", "warn,aos_server::command=info"),
        ];
        let settings = [&all, settings].concat();
        let servers: Vec<_> = (0..servers).map(|_| Process::serve(&settings)).collect();
        let fleet = Self { servers, redis, directory, _postgres: postgres };
        fleet.api(0).post("/v1/workflows", &ask()).await;
        for server in &fleet.servers {
            // Every server learns of it by itself.
            while !knows(&server.api()).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        fleet
    }

    pub fn api(&self, server: usize) -> Api {
        self.servers[server].api()
    }

    /// Where the key is.
    pub fn key_file(&self) -> PathBuf {
        self.directory.path().join("key")
    }
}

async fn knows(api: &Api) -> bool {
    let answer = api.http.get(format!("{}/v1/workflows/ask", api.url)).send().await.unwrap();
    answer.status().is_success()
}

/// Runs that are created all the time, until it is dropped.
pub struct Load {
    done: Arc<AtomicBool>,
    tasks: tokio::task::JoinSet<Vec<Value>>,
}

impl Load {
    /// On each server so many clients, each of which runs one question after the other, with a pause in between.
    pub fn start(
        fleet: &Fleet,
        clients: usize,
        pause: Duration,
        input: impl Fn(u64) -> Value + Clone + Send + 'static,
    ) -> Self {
        let (done, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut tasks = tokio::task::JoinSet::new();
        for api in fleet.servers.iter().map(Process::api) {
            for _ in 0..clients {
                let (api, done, asked, input) = (api.clone(), Arc::clone(&done), Arc::clone(&asked), input.clone());
                tasks.spawn(async move {
                    let mut runs = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        let number = asked.fetch_add(1, Ordering::Relaxed);
                        let body = json!({"workflow": "ask", "input": input(number)});
                        let run = api.post("/v1/runs?wait=60s", &body).await;
                        runs.push(run);
                        tokio::time::sleep(pause).await;
                    }
                    runs
                });
            }
        }
        Self { done, tasks }
    }

    /// Asks no more, and gives the runs as they were seen last.
    pub async fn stop(self) -> Vec<Value> {
        self.done.store(true, Ordering::Relaxed);
        self.tasks.join_all().await.into_iter().flatten().collect()
    }
}
