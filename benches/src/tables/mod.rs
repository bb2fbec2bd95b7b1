//! Full tables: lists, filters, counts, claims and retention beside a million ended runs and a long queue.

mod fill;

use std::future::Future;
use std::time::{Duration, Instant};

use aos_core::id::{RunId, TenantId, WorkerId};
use aos_core::runs::{PurgeFilter, RunFilter, RunState, RunStore};
use aos_core::time::Timestamp;
use aos_server::backend::postgres::PostgresStores;
use aos_testkit::service::Postgres;
use clap::Args;

use crate::percentile::percentile;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Runs that a claim asks for: what an idle worker with default settings has room for.
const CLAIM: usize = 64;

/// Runs deleted by one statement of retention, as `runs purge` does it.
const PURGE: usize = 500;

/// How the tables are filled and looked at.
#[derive(Args)]
pub struct Options {
    /// Ended runs in the tables.
    #[arg(long, default_value_t = 1_000_000)]
    runs: u64,
    /// Runs that wait to be claimed.
    #[arg(long, default_value_t = 100_000)]
    queued: u64,
    /// How often each thing is done.
    #[arg(long, default_value_t = 400)]
    times: usize,
    /// Use this Postgres database, which is filled, instead of a private one with fsync on.
    #[arg(long)]
    database_url: Option<String>,
}

/// Fills a database and measures, each kind alone, and claims and lists once more while old runs are deleted.
pub async fn run(options: &Options) -> Result<()> {
    let server = if options.database_url.is_none() { Some(Postgres::start(&["max_wal_size=4GB"])?) } else { None };
    let url = match (&options.database_url, &server) {
        (Some(url), _) => url.clone(),
        (None, Some(server)) => server.database()?.url,
        (None, None) => return Err("there is no database".into()),
    };
    let stores = PostgresStores::open(&url).await?;
    let began = Instant::now();
    fill::fill(&url, options.runs, options.queued).await?;
    println!("{} ended and {} queued runs, made in {} s", options.runs, options.queued, began.elapsed().as_secs());
    println!("{:<44} {:>8} {:>8} {:>8}", "", "p50 ms", "p99 ms", "max ms");
    let runs = stores.runs();
    for (name, filter) in filters()? {
        measure(&name, options.times, || list(&*runs, &filter)).await?;
    }
    deep_pages(&*runs, options.times).await?;
    let (tenant, some) = (TenantId::default(), RunId::new("ended-77")?);
    measure("get", options.times, || get(&*runs, &tenant, &some)).await?;
    measure("count the queue", options.times / 10, || stats(&*runs)).await?;
    let queued = RunFilter { states: vec![RunState::Queued], ..RunFilter::default() };
    measure("count the queued, to 100,000", options.times / 10, || count(&*runs, &queued, 100_000)).await?;
    let old = RunFilter { states: vec![RunState::Failed], ended_before: Some(fill::middle()), ..RunFilter::default() };
    measure("count failed that ended before half", options.times / 10, || count(&*runs, &old, 100_000)).await?;
    measure(&format!("claim {CLAIM}"), options.times, || claim(&*runs)).await?;
    let purging = tokio::spawn({
        let runs = stores.runs();
        async move { purge(&*runs).await }
    });
    measure(&format!("claim {CLAIM}, while old runs are deleted"), options.times, || claim(&*runs)).await?;
    let newest = RunFilter::default();
    measure("list, while old runs are deleted", options.times, || list(&*runs, &newest)).await?;
    purging.abort();
    if let Ok(done) = purging.await {
        println!("deleted everything meanwhile: {}", done.map_err(|error| error.to_string())?);
    }
    let before = Instant::now();
    let filter = ended();
    let (mut deleted, mut batches) = (0, Vec::new());
    while before.elapsed() < Duration::from_secs(5) {
        let began = Instant::now();
        deleted += runs.purge(&filter, PURGE).await?;
        batches.push(began.elapsed());
    }
    let rate = deleted as f64 / before.elapsed().as_secs_f64();
    print("delete 500 ended runs", &mut batches);
    println!("retention deletes {rate:.0} runs/s, with their journals");
    stores.close().await;
    Ok(())
}

fn filters() -> Result<Vec<(String, RunFilter)>> {
    let of = |states: &[RunState]| RunFilter { states: states.to_vec(), ..RunFilter::default() };
    let workflow = |id: &str| -> Result<RunFilter> { Ok(RunFilter { workflow: Some(id.parse()?), ..of(&[]) }) };
    let named = [
        ("list the newest", of(&[])),
        ("list 1,000", RunFilter { limit: 1_000, ..of(&[]) }),
        ("list failed (1 in 1,000)", of(&[RunState::Failed])),
        ("list queued and running", of(&[RunState::Queued, RunState::Running])),
        ("list dead (none)", of(&[RunState::Dead])),
        ("list a workflow", workflow("common")?),
        ("list a rare workflow", workflow("rare")?),
        ("list failed of a rare workflow (none)", RunFilter { states: vec![RunState::Failed], ..workflow("rare")? }),
        ("list those older than half", RunFilter { created_before: Some(fill::middle()), ..of(&[]) }),
        ("list failed older than half", RunFilter { created_before: Some(fill::middle()), ..of(&[RunState::Failed]) }),
        ("list those ended before half", RunFilter { ended_before: Some(fill::middle()), ..of(&[]) }),
        ("list children", RunFilter { parent: Some(RunId::new("parent")?), ..of(&[]) }),
    ];
    Ok(named.into_iter().map(|(name, filter)| (name.to_owned(), filter)).collect())
}

async fn list(runs: &dyn RunStore, filter: &RunFilter) -> Result<()> {
    runs.list(filter.clone()).await?;
    Ok(())
}

async fn get(runs: &dyn RunStore, tenant: &TenantId, run: &RunId) -> Result<()> {
    runs.get(tenant, run).await?;
    Ok(())
}

async fn stats(runs: &dyn RunStore) -> Result<()> {
    runs.stats().await?;
    Ok(())
}

async fn count(runs: &dyn RunStore, filter: &RunFilter, at_most: u64) -> Result<()> {
    runs.count(filter.clone(), at_most).await?;
    Ok(())
}

/// Pages from the newest run towards the oldest one.
async fn deep_pages(runs: &dyn RunStore, times: usize) -> Result<()> {
    let mut cursor = None;
    let (mut took, size) = (Vec::new(), 1_000);
    for _ in 0..times {
        let filter = RunFilter { cursor: cursor.clone(), limit: size, ..RunFilter::default() };
        let began = Instant::now();
        let page = runs.list(filter).await?;
        took.push(began.elapsed());
        cursor = page.next;
    }
    print("list 1,000, page after page", &mut took);
    Ok(())
}

async fn claim(runs: &dyn RunStore) -> Result<()> {
    let claimed = runs.claim(&WorkerId::new("w")?, CLAIM, Duration::from_secs(600)).await?;
    if claimed.len() < CLAIM {
        return Err("the queue ran empty: use more --queued or fewer --times".into());
    }
    Ok(())
}

fn ended() -> PurgeFilter {
    let states = vec![RunState::Succeeded, RunState::Failed, RunState::Cancelled];
    PurgeFilter { tenant: TenantId::default(), states, workflow: None, ended_before: Timestamp::MAX }
}

/// Deletes until nothing is left; gives how many.
async fn purge(runs: &dyn RunStore) -> std::result::Result<u64, aos_core::Failure> {
    let (filter, mut total) = (ended(), 0);
    loop {
        let deleted = runs.purge(&filter, PURGE).await?;
        total += deleted;
        if deleted < PURGE as u64 {
            return Ok(total);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn measure<F, Fut>(name: &str, times: usize, once: F) -> Result<()>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let mut took = Vec::with_capacity(times);
    for _ in 0..times.max(1) {
        let began = Instant::now();
        once().await?;
        took.push(began.elapsed());
    }
    print(name, &mut took);
    Ok(())
}

fn print(name: &str, took: &mut [Duration]) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let max = took.iter().max().copied().unwrap_or_default();
    println!("{name:<44} {:>8.2} {:>8.2} {:>8.2}", ms(percentile(took, 50)), ms(percentile(took, 99)), ms(max));
}
