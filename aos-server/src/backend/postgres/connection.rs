//! Connections: how they are made, how many there are, and when one is not used again.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use aos_core::runs::StoreError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor, PgPool};

use super::error::Fault;

/// Connections of one process.
const CONNECTIONS: u32 = 16;

/// How long to wait for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);

/// How long a connection may be used: it finds its way back to a primary that moved.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// Opens a pool on the database at `url`; gives the place as text for messages too.
pub(super) async fn pool(url: &str) -> Result<(PgPool, Arc<str>), StoreError> {
    let options = PgConnectOptions::from_str(url).map_err(|error| {
        StoreError::Conflict(format!(
            "DATABASE_URL is not a Postgres URL: {error}; expected postgres://user:password@host:port/database"
        ))
    })?;
    let place: Arc<str> =
        format!("{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or("")).into();
    let options = options.application_name("aos-server");
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE)
        .max_lifetime(LIFETIME)
        .test_before_acquire(false)
        .after_connect(|connection, _| {
            Box::pin(async move {
                // A transaction that its process lost must not hold locks for ever.
                connection.execute("SET idle_in_transaction_session_timeout = '60s'").await.map(drop)
            })
        })
        .connect_with(options)
        .await
        .map_err(|error| Fault::new(&place, error).store_error("connect to the database"))?;
    Ok((pool, place))
}
