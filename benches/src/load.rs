//! Load: the same thing again and again, many at a time.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::percentile::percentile;

pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// How many were done in a second, and how long one took, in milliseconds.
pub struct Summary {
    pub per_second: f64,
    pub p50: f64,
    pub p99: f64,
}

impl Summary {
    /// The share of each of `parts` that one thing was made of, one after the other.
    pub fn shared(self, parts: usize) -> Self {
        let parts = parts as f64;
        Self { per_second: self.per_second * parts, p50: self.p50 / parts, p99: self.p99 / parts }
    }
}

/// Does `one` again and again in `concurrency` tasks until `time` is over, after a warm-up.
pub async fn load<F, Fut>(
    concurrency: usize,
    time: Duration,
    warm_up: Duration,
    one: F,
) -> Result<Summary, Box<dyn std::error::Error>>
where
    F: Fn() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<(), Failed>> + Send + 'static,
{
    let begin = Instant::now() + warm_up;
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
    let mut times = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        times.extend(ended?.map_err(|e| e.to_string())?);
    }
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    Ok(Summary { per_second: times.len() as f64 / time.as_secs_f64(), p50: ms(p50), p99: ms(p99) })
}
