//! The database's clock, as this process knows it: asked for now and then, and counted on from there.
//!
//! Runs move from process to process, and their timers with them: a process whose own clock is wrong would set them for
//! another hour.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aos_core::BoxFuture;
use aos_core::time::{Clock, Timestamp};

use super::Postgres;
use super::doubt::ANSWER;
use super::row::timestamp;
use super::session::Pool;
use crate::clock::{self, monotonic, sleep_until};

/// How often the clock is asked for.
const EVERY: Duration = Duration::from_secs(5);

/// An answer that takes longer says too little about now.
const PROMPT: Duration = Duration::from_millis(250);

/// The database's clock. Clones go alike. Steps of this machine's clock do not reach it.
#[derive(Clone)]
pub(super) struct DatabaseClock(Arc<Mutex<(Timestamp, Instant)>>);

impl DatabaseClock {
    /// A clock that goes as this machine's does until the database has been asked.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new((clock::now(), Instant::now()))))
    }

    /// Asks the database.
    pub(super) async fn ask(&self, pool: &Pool) -> sqlx::Result<()> {
        let before = Instant::now();
        let at = timestamp(sqlx::query_scalar("SELECT aos_now()").fetch_one(pool).await?);
        let took = before.elapsed();
        if took <= PROMPT {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (at, before + took / 2);
        }
        Ok(())
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> Timestamp {
        let (at, since) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at.saturating_add(since.elapsed())
    }

    fn monotonic(&self) -> Duration {
        monotonic()
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(sleep_until(move || clock.now(), deadline))
    }
}

/// Asks the database again and again, until the stores are dropped.
pub(super) fn keep_time(stores: &Arc<Postgres>) {
    let (stores, clock, pool) = (Arc::downgrade(stores), stores.clock.clone(), stores.pool.clone());
    tokio::spawn(async move {
        while stores.strong_count() > 0 && !pool.is_closed() {
            tokio::time::sleep(EVERY).await;
            if let Err(error) = pool.doubt().in_time(ANSWER, clock.ask(&pool)).await {
                tracing::debug!(%error, "asking the database for the time failed");
            }
        }
    });
}
