//! Redis: what speeds up, and is never needed. Nothing is kept there that is not kept elsewhere.
//!
//! Whatever becomes of it (absent, flushed, read-only, full, slow, hanging), the rest goes on: a cache misses, hints are
//! lost, the rate limiter keeps to this process's share, and nobody is held up for longer than a moment.

mod cache;
mod connection;
mod hints;
mod jitter;
mod limiter;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use aos_core::cache::Cache;
use aos_core::limiter::Limiter;
use aos_core::{Failure, codes};

pub use cache::{MAX_VALUE_BYTES, RedisCache};
pub use connection::Link;
pub use hints::{Hint, Hints};
pub use limiter::RedisLimiter;
pub use trouble::{Trouble, TroubleKind};

use crate::config::Secret;
use crate::telemetry::Metrics;

/// How long a start waits for the first connection.
const FIRST_LOOK: Duration = Duration::from_millis(250);

/// A Redis in all its roles. Cheap to clone.
#[derive(Clone)]
pub struct Redis {
    link: Link,
    hints: Hints,
}

impl Redis {
    /// Begins to use the Redis at `url`; one that can't be reached may come later. Outages go into the log and into
    /// `metrics`.
    ///
    /// # Errors
    /// [`codes::INVALID_SETTING`] for a URL that can't be used.
    pub async fn open(url: &Secret, metrics: Metrics) -> Result<Self, Failure> {
        Self::open_within(FIRST_LOOK, url, metrics).await
    }

    /// As [`Redis::open`], for who has more time to wait for the first connection.
    ///
    /// # Errors
    /// As [`Redis::open`].
    pub async fn open_within(patience: Duration, url: &Secret, metrics: Metrics) -> Result<Self, Failure> {
        let link = Link::open(url.expose(), metrics, patience)
            .await
            .map_err(|error| Failure::new(codes::INVALID_SETTING, format!("REDIS_URL can't be used: {error}")))?;
        Ok(Self { hints: Hints::new(link.clone()), link })
    }

    /// A cache that all processes share.
    pub fn cache(&self) -> Arc<dyn Cache> {
        Arc::new(RedisCache::new(self.link.clone()))
    }

    /// A rate limiter that all processes share; see [`RedisLimiter::start`].
    pub fn limiter(&self, live: impl Fn() -> usize + Send + Sync + 'static) -> Arc<dyn Limiter> {
        RedisLimiter::start(self.link.clone(), live)
    }

    /// Hints between processes.
    pub fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Asks for an answer.
    ///
    /// # Errors
    /// What is wrong, after 200 ms at most; at once while Redis is known to be away.
    pub async fn ping(&self) -> Result<(), Trouble> {
        self.link.ping().await
    }

    /// Host and port, or a path: never a password.
    pub fn place(&self) -> &str {
        self.link.place()
    }
}
