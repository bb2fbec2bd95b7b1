//! Memory over time: the server answers W1 for minutes, and this process's memory is looked at meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;

use super::place::Place;
use super::{Result, http_run, workload};
use crate::load::load;

/// How many times memory is looked at.
const LOOKS: u32 = 40;

/// What the mean of the last quarter may be of the mean of the second.
const FLAT: f64 = 1.10;

/// How the soak is run.
#[derive(Args)]
pub struct Options {
    /// Minutes.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Runs at once.
    #[arg(long, default_value_t = 64)]
    at_once: usize,
    #[command(flatten)]
    place: super::Options,
}

/// Runs W1 over HTTP for so long, and fails if memory has grown: if the last quarter of the time needed more than a tenth
/// above the second. The first is for caches to fill.
pub async fn run(options: &Options) -> Result<()> {
    let place = Place::open(&options.place).await?;
    let time = Duration::from_secs(options.minutes * 60);
    let served = workload::serve(place.stores().await?).await?;
    let done = Arc::new(AtomicU64::new(0));
    let looking = tokio::spawn(look(time, Arc::clone(&done)));
    let one = http_run(&served.url, options.at_once)?;
    load(options.at_once, time, Duration::ZERO, move || {
        let (one, done) = (one(), Arc::clone(&done));
        async move {
            one.await?;
            done.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    })
    .await?;
    let looks = looking.await??;
    served.stop().await;
    place.close().await;
    let quarter = |n: usize| {
        let part = &looks[looks.len() * n / 4..looks.len() * (n + 1) / 4];
        part.iter().sum::<f64>() / part.len().max(1) as f64
    };
    let (second, last) = (quarter(1), quarter(3));
    println!("mean of the second quarter {second:.1} MiB, of the last {last:.1} MiB: {:.2} times", last / second);
    if last > second * FLAT {
        return Err(format!("memory has grown to more than {FLAT} times").into());
    }
    Ok(())
}

/// Prints the memory in use from time to time; gives it in MiB.
async fn look(time: Duration, done: Arc<AtomicU64>) -> std::io::Result<Vec<f64>> {
    println!("{:>8} {:>12} {:>12}", "s", "runs", "RSS MiB");
    let (begin, mut looks) = (Instant::now(), Vec::new());
    for _ in 0..LOOKS {
        tokio::time::sleep(time / LOOKS).await;
        let resident = resident()?;
        println!("{:>8} {:>12} {resident:>12.1}", begin.elapsed().as_secs(), done.load(Ordering::Relaxed));
        looks.push(resident);
    }
    Ok(looks)
}

/// This process's resident memory in MiB, as Linux has it.
fn resident() -> std::io::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().map_err(std::io::Error::other)?;
    Ok(kib / 1024.0)
}
