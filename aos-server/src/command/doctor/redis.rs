//! Whether Redis can be used.

use std::time::Duration;

use super::Check;
use crate::backend::redis::Redis;
use crate::command::ui::Exit;
use crate::config::Secret;
use crate::telemetry::Metrics;

const NAME: &str = "redis";

/// How long to wait for a connection.
const PATIENCE: Duration = Duration::from_secs(3);

/// A Redis that is of no use is a warning: the server starts without.
pub(super) async fn check(url: &Secret) -> Check {
    let opened = async { Redis::open_within(PATIENCE, url, Metrics::new()?).await };
    let redis = match opened.await {
        Ok(redis) => redis,
        Err(failure) => return Check::error(NAME, Exit::Usage, failure.message, "correct REDIS_URL, or unset it"),
    };
    let place = redis.place();
    match redis.ping().await {
        Ok(()) => Check::ok(NAME, format!("Redis at {place} answers, and takes writes")),
        Err(trouble) => {
            let found = format!("Redis at {place} is of no use: {trouble}; the server works without it");
            Check::warning(NAME, found, trouble.kind.advice())
        }
    }
}
