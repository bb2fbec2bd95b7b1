//! W1: five sequential recorded steps a run, every result durable before the next step starts.

mod floor;
mod workload;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aos_core::engine::RunOptions;
use aos_core::id::RunId;
use aos_server::backend::sqlite::SqliteStores;
use clap::Args;

use crate::percentile::percentile;
use workload::{STEPS, host, input, plan, serve};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// How W1 is run.
#[derive(Args)]
pub struct Options {
    /// Seconds for each figure.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Where the files are put; the disk matters.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

/// Measures the floor, then W1 in process and over HTTP, alone and with 64 runs at once.
pub async fn run(options: &Options) -> Result<()> {
    let time = Duration::from_secs(options.seconds);
    std::fs::create_dir_all(&options.dir)?;
    let dir = tempfile::tempdir_in(&options.dir)?;
    println!("{:<34} {:>12} {:>12}", "floor: bare SQLite, FULL", "commits/s", "rows/s");
    for rows in [1, 64] {
        let commits = floor::commits_per_second(&dir.path().join(format!("floor{rows}.db")), rows, time).await?;
        println!("{:<34} {commits:>12.0} {:>12.0}", format!("  {rows} rows a commit"), commits * rows as f64);
    }
    println!("{:<34} {:>12} {:>12} {:>9} {:>9}", "W1", "runs/s", "steps/s", "p50 ms", "p99 ms");
    for concurrency in [1, 64] {
        in_process(dir.path(), concurrency, time).await?.print(&format!("  in process, {concurrency} at once"));
    }
    for concurrency in [1, 64] {
        over_http(dir.path(), concurrency, time).await?.print(&format!("  over HTTP, {concurrency} at once"));
    }
    Ok(())
}

struct Figures {
    took: Duration,
    runs: Vec<Duration>,
}

impl Figures {
    fn print(mut self, name: &str) {
        let runs = self.runs.len() as f64 / self.took.as_secs_f64();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (p50, p99) = (ms(percentile(&mut self.runs, 50)), ms(percentile(&mut self.runs, 99)));
        println!("{name:<34} {runs:>12.0} {:>12.0} {p50:>9.2} {p99:>9.2}", runs * STEPS as f64);
    }
}

async fn in_process(dir: &Path, concurrency: usize, time: Duration) -> Result<Figures> {
    let stores = SqliteStores::open(dir.join(format!("process{concurrency}.db"))).await?;
    let host = Arc::new(host(stores.stores())?);
    let (plan, next) = (plan()?, Arc::new(AtomicU64::new(0)));
    let figures = load(concurrency, time, move || {
        let (host, plan, next) = (Arc::clone(&host), Arc::clone(&plan), Arc::clone(&next));
        async move {
            let run = RunId::new(format!("r{}", next.fetch_add(1, Ordering::Relaxed)))?;
            let finished = host.run_to_end(&plan, input(), RunOptions::new(run)).await?;
            if finished.failure.is_some() {
                return Err(format!("a run failed: {:?}", finished.failure).into());
            }
            Ok(())
        }
    })
    .await;
    stores.close().await;
    figures
}

async fn over_http(dir: &Path, concurrency: usize, time: Duration) -> Result<Figures> {
    let served = serve(&dir.join(format!("http{concurrency}.db"))).await?;
    let client = reqwest::Client::builder().pool_max_idle_per_host(concurrency).tcp_nodelay(true).build()?;
    let url = format!("{}/v1/runs?wait=30s", served.url);
    let body = workload::request();
    let figures = load(concurrency, time, move || {
        let request = client.post(&url).header("content-type", "application/json").body(body.clone());
        async move {
            let answer = request.send().await?;
            let status = answer.status();
            let text = answer.text().await?;
            if !status.is_success() || !text.contains("\"succeeded\"") {
                return Err(format!("{status}: {text}").into());
            }
            Ok(())
        }
    })
    .await;
    served.stop().await;
    figures
}

/// Does `one` again and again in `concurrency` tasks until `time` is over, after a warm-up of a fifth of it.
async fn load<F, Fut>(concurrency: usize, time: Duration, one: F) -> Result<Figures>
where
    F: Fn() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = std::result::Result<(), Failed>> + Send + 'static,
{
    let begin = Instant::now() + time / 5;
    let end = begin + time;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..concurrency {
        let one = one.clone();
        tasks.spawn(async move {
            let mut times = Vec::new();
            while Instant::now() < end {
                let began = Instant::now();
                one().await?;
                if began >= begin {
                    times.push(began.elapsed());
                }
            }
            Ok::<_, Failed>(times)
        });
    }
    let mut runs = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        runs.extend(ended?.map_err(|e| e.to_string())?);
    }
    Ok(Figures { took: time, runs })
}
