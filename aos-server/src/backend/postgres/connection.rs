//! Connections: how they are made, how many there are, and when one is not used again.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use aos_core::runs::StoreError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor, PgPool, Row};
use tokio::time::timeout;
use url::Url;

use super::doubt::{ANSWER, Doubt};
use super::error::Fault;
use super::session::Pool;

/// Connections of one process that read and do all that is not written in batches.
const CONNECTIONS: u32 = 12;

/// How long to wait for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);

/// How long a connection may be used: it finds its way back to a primary that moved.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// What says in a URL whether a pooler stands before the database, where that is not to be found out.
const POOLER: &str = "pgbouncer";

/// A setting that a session has from its start, if it is one: poolers refuse such settings, or drop them.
const SESSION: &str = "aos.session";

/// A transaction that its process lost must not hold locks for longer than its process would wait for an answer: runs
/// that it was about to claim can be claimed by nobody else until then.
const IDLE: (&str, &str) = ("idle_in_transaction_session_timeout", "5s");

/// The best plan of a batch does not depend on what is in it, and making one takes longer than following it.
const PLANS: (&str, &str) = ("plan_cache_mode", "force_generic_plan");

/// The connections of one process.
#[derive(Clone)]
pub(super) struct Pools {
    /// For all but the batches.
    pub(super) pool: Pool,
    /// For the batches alone: however busy the others are, what was accepted gets written.
    pub(super) writers: Pool,
    /// Host, port and database, for messages.
    pub(super) place: Arc<str>,
}

impl Pools {
    /// Connects to the database at `url`; `writers` is how many connections write batches.
    pub(super) async fn open(url: &str, writers: usize) -> Result<Self, StoreError> {
        let unusable = |why: String| {
            StoreError::Conflict(format!(
                "DATABASE_URL is not a Postgres URL: {why}; expected postgres://user:password@host:port/database"
            ))
        };
        let (url, is_pooled) = said(url).map_err(unusable)?;
        let options = PgConnectOptions::from_str(&url).map_err(|error| unusable(error.to_string()))?;
        let place: Arc<str> =
            format!("{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or("")).into();
        // Nothing here is a floating-point number, and poolers refuse to pass on how many digits one would have.
        let options = options.application_name("aos-server").extra_float_digits(None);
        let fault = |error| Fault::new(&place, error).store_error("connect to the database");
        let doubt = Doubt::default();
        let writers = pool(&doubt, u32::try_from(writers).unwrap_or(u32::MAX));
        if is_pooled != Some(true)
            && let Some(connections) = connect(&doubt, &options, is_pooled).await.map_err(fault)?
        {
            let options = options.options([IDLE, PLANS]);
            let writers = Pool::new(writers.connect_lazy_with(options), &doubt, false);
            return Ok(Self { pool: Pool::new(connections, &doubt, false), writers, place });
        }
        tracing::info!("a pooler stands before Postgres at {place}: every statement is a transaction");
        let options = options.statement_cache_capacity(0);
        let connections = pool(&doubt, CONNECTIONS).connect_with(options.clone()).await.map_err(fault)?;
        let writers = Pool::new(writers.connect_lazy_with(options), &doubt, true);
        Ok(Self { pool: Pool::new(connections, &doubt, true), writers, place })
    }

    /// Closes all connections once their work is done, or leaves those alone that can't be reached.
    pub(super) async fn close(&self) {
        let closed = async {
            self.writers.close().await;
            self.pool.close().await;
        };
        if timeout(2 * ANSWER, closed).await.is_err() {
            tracing::warn!("connections to Postgres at {} could not be closed in order", self.place);
        }
    }
}

/// What a URL says about a pooler, and the URL without that.
fn said(url: &str) -> Result<(String, Option<bool>), String> {
    let parsed = Url::parse(url).ok();
    let value = |url: &Url| url.query_pairs().find(|(key, _)| key == POOLER).map(|(_, value)| value.into_owned());
    let Some((mut rest, value)) = parsed.and_then(|url| value(&url).map(|value| (url, value))) else {
        return Ok((url.to_owned(), None));
    };
    let is_pooled = match &*value {
        "true" => true,
        "false" => false,
        _ => return Err(format!("{POOLER} is {value:?} instead of true or false")),
    };
    let others: Vec<_> = rest.query_pairs().into_owned().filter(|(key, _)| key != POOLER).collect();
    rest.set_query(None);
    if !others.is_empty() {
        rest.query_pairs_mut().extend_pairs(others);
    }
    Ok((rest.into(), Some(is_pooled)))
}

/// Connections that each are a session of the database; `None` when a pooler stands before it.
async fn connect(doubt: &Doubt, options: &PgConnectOptions, is_pooled: Option<bool>) -> sqlx::Result<Option<PgPool>> {
    let options = options.clone().options([IDLE, (SESSION, "on")]);
    let connections = match pool(doubt, CONNECTIONS).connect_with(options).await {
        Ok(connections) => connections,
        // "Unsupported startup parameter", a pooler says.
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("08P01") && is_pooled.is_none() => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if is_pooled.is_some() {
        return Ok(Some(connections));
    }
    // As one message: behind a pooler it is safe only so.
    let row = connections.fetch_one("SELECT current_setting('aos.session', true)").await?;
    if row.try_get::<Option<&str>, _>(0)? == Some("on") {
        return Ok(Some(connections));
    }
    connections.close().await;
    Ok(None)
}

fn pool(doubt: &Doubt, connections: u32) -> PgPoolOptions {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .max_lifetime(LIFETIME)
        .test_before_acquire(false);
    doubt.watch(pool)
}
