//! W1: five sequential recorded steps a run, every result durable before the next step starts.

mod floor;
mod place;
pub mod soak;
mod workload;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aos_core::BoxFuture;
use aos_core::engine::RunOptions;
use aos_core::id::RunId;
use clap::Args;

use crate::load::{Failed, Summary, load};
use place::Place;
use workload::{STEPS, host, input, plan, serve};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Rows of the larger of the floor's two batches.
const FLOOR_ROWS: usize = 64;

/// Runs at once.
const CONCURRENCY: [usize; 2] = [1, 64];

/// How W1 is run.
#[derive(Args)]
pub struct Options {
    /// Seconds for each figure.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Measure everything this many times, and give the best of each figure (of the floors, too).
    #[arg(long, default_value_t = 1)]
    repeat: u32,
    /// Where SQLite's files are put; the disk matters.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Measure on a private Postgres with fsync on, started for this command alone, instead of on SQLite.
    #[arg(long)]
    postgres: bool,
    /// Measure on this Postgres database, which is filled with runs.
    #[arg(long, conflicts_with = "postgres")]
    database_url: Option<String>,
    /// Only this many runs at once.
    #[arg(long)]
    at_once: Option<usize>,
    /// Only runs in process, or only those over HTTP.
    #[arg(long)]
    only: Option<Path>,
}

/// A way to run W1.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Path {
    /// The driver, called by this program.
    Process,
    /// The server's API, on a socket.
    Http,
}

/// Measures the floor, then W1 in process and over HTTP, alone and with 64 runs at once.
pub async fn run(options: &Options) -> Result<()> {
    let time = Duration::from_secs(options.seconds);
    let place = Place::open(options).await?;
    let mut floors = [0.0_f64; 2];
    let mut best: Vec<(Path, usize, Option<Summary>)> = [Path::Process, Path::Http]
        .into_iter()
        .filter(|path| options.only.is_none_or(|only| only == *path))
        .flat_map(|path| CONCURRENCY.map(|concurrency| (path, concurrency, None)))
        .filter(|(_, concurrency, _)| options.at_once.is_none_or(|only| only == *concurrency))
        .collect();
    for _ in 0..options.repeat.max(1) {
        // What is compared is measured one after the other: a disk has not written yet what the last one left to it.
        for ((rows, floor), at_once) in [1, FLOOR_ROWS].into_iter().zip(&mut floors).zip(CONCURRENCY) {
            *floor = floor.max(place.floor(rows, time).await?);
            for (path, concurrency, best) in best.iter_mut().filter(|(_, concurrency, _)| *concurrency == at_once) {
                let found = match path {
                    Path::Process => in_process(&place, *concurrency, time).await?,
                    Path::Http => over_http(&place, *concurrency, time).await?,
                };
                if best.as_ref().is_none_or(|best| found.per_second > best.per_second) {
                    *best = Some(found);
                }
            }
        }
    }
    let [commits, rows] = [floors[0], floors[1] * FLOOR_ROWS as f64];
    println!("{:<34} {:>12} {:>12}", format!("floor: {}", place.name()), "commits/s", "rows/s");
    println!("{:<34} {commits:>12.0} {commits:>12.0}", "  1 row a commit");
    println!("{:<34} {:>12.0} {rows:>12.0}", format!("  {FLOOR_ROWS} rows a commit"), floors[1]);
    println!(
        "{:<24} {:>8} {:>8} {:>8} {:>8} {:>14} {:>15}",
        "W1", "runs/s", "steps/s", "p50 ms", "p99 ms", "steps/floor", "p50/(N+1 commits)"
    );
    for (path, concurrency, summary) in best {
        let Some(Summary { per_second: runs, p50, p99 }) = summary else { continue };
        let name = match path {
            Path::Process => "in process",
            Path::Http => "over HTTP",
        };
        let steps = runs * STEPS as f64;
        let commits = p50 / 1e3 * commits / (STEPS + 1) as f64;
        let name = format!("  {name}, {concurrency} at once");
        println!("{name:<24} {runs:>8.0} {steps:>8.0} {p50:>8.2} {p99:>8.2} {:>14.2} {commits:>15.2}", steps / rows);
    }
    place.close().await;
    Ok(())
}

async fn in_process(place: &Place, concurrency: usize, time: Duration) -> Result<Summary> {
    let backend = place.stores().await?;
    let host = Arc::new(host(backend.stores())?);
    let (plan, next) = (plan()?, Arc::new(AtomicU64::new(0)));
    // A database that is measured twice has the runs of the first time.
    let name = format!("{:x}", aos_server::clock::now().as_millis());
    let figures = load(concurrency, time, time / 5, move || {
        let (host, plan, run) = (Arc::clone(&host), Arc::clone(&plan), next.fetch_add(1, Ordering::Relaxed));
        let run = format!("{name}-{run}");
        async move {
            let finished = host.run_to_end(&plan, input(), RunOptions::new(RunId::new(run)?)).await?;
            if finished.failure.is_some() {
                return Err(format!("a run failed: {:?}", finished.failure).into());
            }
            Ok(())
        }
    })
    .await;
    backend.close().await;
    figures
}

async fn over_http(place: &Place, concurrency: usize, time: Duration) -> Result<Summary> {
    let served = serve(place.stores().await?).await?;
    let figures = load(concurrency, time, time / 5, http_run(&served.url, concurrency)?).await;
    served.stop().await;
    figures
}

/// Gives what creates a run at a server and waits for its end.
fn http_run(
    url: &str,
    concurrency: usize,
) -> Result<impl Fn() -> BoxFuture<'static, std::result::Result<(), Failed>> + Clone + Send + 'static> {
    let client = reqwest::Client::builder().pool_max_idle_per_host(concurrency).tcp_nodelay(true).build()?;
    let (url, body) = (format!("{url}/v1/runs?wait=30s"), workload::request());
    Ok(move || -> BoxFuture<'static, std::result::Result<(), Failed>> {
        let request = client.post(&url).header("content-type", "application/json").body(body.clone());
        Box::pin(async move {
            let answer = request.send().await?;
            let status = answer.status();
            let text = answer.text().await?;
            if !status.is_success() || !text.contains("\"succeeded\"") {
                return Err(format!("{status}: {text}").into());
            }
            Ok(())
        })
    })
}
