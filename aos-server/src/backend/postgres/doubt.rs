//! Which connections are trusted: all of them, until one fails or does not answer; after that each is asked before it
//! is used or kept, because what broke one has probably broken others. A server that has become read-only counts as
//! broken: the primary is elsewhere now.
//!
//! The network may swallow a connection without a word. So nothing waits for an answer without end.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, PgConnection, Row};
use tokio::time::timeout;

/// How long an answer may take: less than leases last, so that there is time for another try.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// The same for work that is long by its nature.
pub(super) const LONG_ANSWER: Duration = Duration::from_secs(120);

/// How long a connection may take to show that it is alive.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// How long after a failure connections are asked before they are kept.
const UNEASE: Duration = Duration::from_secs(30);

/// How much later than a failure a connection may have come back to the pool that had broken before it.
const HASTE: Duration = Duration::from_millis(200);

/// When a connection has last failed. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Doubt(Arc<Mutex<Option<Instant>>>);

impl Doubt {
    /// Says that a connection has failed.
    pub(super) fn raise(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// What `work` comes to, or an error when that takes longer than `limit`.
    pub(super) async fn in_time<T, E: From<sqlx::Error>>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut work = pin!(work);
        match timeout(limit, &mut work).await {
            Ok(done) => done,
            Err(_) => {
                // Before `work` is dropped, and gives its connection back.
                self.raise();
                let why = format!("no answer within {} s", limit.as_secs());
                Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, why)).into())
            }
        }
    }

    /// Has a pool ask the connections that are in doubt.
    pub(super) fn watch(&self, pool: PgPoolOptions) -> PgPoolOptions {
        let (before, after) = (self.clone(), self.clone());
        pool.before_acquire(move |connection, meta| {
            let doubtful = before.since().is_some_and(|since| meta.idle_for + HASTE >= since);
            Box::pin(async move { Ok(!doubtful || is_well(connection).await) })
        })
        .after_release(move |connection, _| {
            let doubtful = after.since().is_some_and(|since| since < UNEASE);
            Box::pin(async move { Ok(!doubtful || is_well(connection).await) })
        })
    }

    /// How long ago a connection failed.
    fn since(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed())
    }
}

/// Whether a connection answers, and writes.
async fn is_well(connection: &mut PgConnection) -> bool {
    let ask = async {
        let row = connection.fetch_one("SELECT current_setting('transaction_read_only') = 'off'").await?;
        row.try_get(0)
    };
    matches!(timeout(SIGN_OF_LIFE, ask).await, Ok(Ok(true)))
}
