//! Connections: how they are made, how many there are, and when one is not used again.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use aos_core::runs::StoreError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor, PgPool};

use super::doubt::Doubt;
use super::error::Fault;

/// Connections of one process that read and do all that is not written in batches.
const CONNECTIONS: u32 = 12;

/// How long to wait for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);

/// How long a connection may be used: it finds its way back to a primary that moved.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// The connections of one process.
#[derive(Clone)]
pub(super) struct Pools {
    /// For all but the batches.
    pub(super) pool: PgPool,
    /// For the batches alone: however busy the others are, what was accepted gets written.
    pub(super) writers: PgPool,
    /// Which of them are trusted.
    pub(super) doubt: Doubt,
    /// Host, port and database, for messages.
    pub(super) place: Arc<str>,
}

impl Pools {
    /// Connects to the database at `url`; `writers` is how many connections write batches.
    pub(super) async fn open(url: &str, writers: usize) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url).map_err(|error| {
            StoreError::Conflict(format!(
                "DATABASE_URL is not a Postgres URL: {error}; expected postgres://user:password@host:port/database"
            ))
        })?;
        let place: Arc<str> =
            format!("{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or("")).into();
        let options = options.application_name("aos-server");
        // A transaction that its process lost must not hold locks for ever.
        let doubt = Doubt::default();
        let pool = pool(&doubt, CONNECTIONS, "SET idle_in_transaction_session_timeout = '60s'");
        let pool = pool
            .connect_with(options.clone())
            .await
            .map_err(|error| Fault::new(&place, error).store_error("connect to the database"))?;
        // The best plan of a batch does not depend on what is in it, and making one takes longer than following it.
        let writers = u32::try_from(writers).unwrap_or(u32::MAX);
        let writers = self::pool(
            &doubt,
            writers,
            "SET idle_in_transaction_session_timeout = '60s'; SET plan_cache_mode = force_generic_plan",
        );
        Ok(Self { pool, writers: writers.connect_lazy_with(options), doubt, place })
    }

    /// Closes all connections once their work is done.
    pub(super) async fn close(&self) {
        self.writers.close().await;
        self.pool.close().await;
    }
}

fn pool(doubt: &Doubt, connections: u32, settings: &'static str) -> PgPoolOptions {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .max_lifetime(LIFETIME)
        .test_before_acquire(false)
        .after_connect(move |connection, _| Box::pin(async move { connection.execute(settings).await.map(drop) }));
    doubt.watch(pool)
}
