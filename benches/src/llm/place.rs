//! A server with limits and an account, before the provider.

use std::path::Path;
use std::time::Duration;

use aos_server::backend::Backend;
use aos_server::config::{Config, Sources, table};
use aos_server::server::{Role, Server};
use aos_testkit::service::Redis;
use aos_testkit::service::claude::MockClaude;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{CALLS, Result, workflow};

/// A server that runs in this process.
pub struct Place {
    pub url: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::result::Result<(), aos_core::Failure>>,
    backend: Backend,
    _dir: TempDir,
    _redis: Option<Redis>,
}

impl Place {
    /// Starts one whose data are in `dir`.
    pub async fn start(claude: &MockClaude, dir: &Path, with_redis: bool) -> Result<Self> {
        let dir = tempfile::tempdir_in(dir)?;
        let redis = if with_redis { Some(Redis::start(&[])?) } else { None };
        let database = format!("sqlite://{}", dir.path().join("aos.db").display());
        let sources = Sources::default()
            .flag(&table::DATABASE_URL, Some(database))
            .flag(&table::REDIS_URL, redis.as_ref().map(Redis::url))
            .flag(&table::ANTHROPIC_BASE_URL, Some(claude.base_url()))
            .flag(&table::ANTHROPIC_API_KEY, Some(claude.key()))
            .flag(&table::RATE_LIMIT_RPM, Some(10_000_000))
            .flag(&table::RATE_LIMIT_TPM, Some(10_000_000_000_u64))
            .flag(&table::WORKER_CONCURRENCY, Some(128));
        let config = Config::load(&sources).map_err(|error| error.to_string())?;
        let (server, backend) = Server::from_config(&config).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel();
        let running = server.start(Role::Serve);
        let serving = tokio::spawn(running.serve(listener, Duration::ZERO, async move { drop(stopped.await) }));
        for calls in CALLS {
            let answer = reqwest::Client::new()
                .post(format!("{url}/v1/workflows"))
                .header("content-type", "application/json")
                .body(workflow(calls).to_string())
                .send()
                .await?;
            if !answer.status().is_success() {
                return Err(format!("the workflow was refused: {}", answer.text().await?).into());
            }
        }
        Ok(Self { url, stop, serving, backend, _dir: dir, _redis: redis })
    }

    pub async fn stop(self) {
        let _gone = self.stop.send(());
        if let Ok(Err(failure)) = self.serving.await {
            println!("serving ended with {failure}");
        }
        self.backend.close().await;
    }
}
