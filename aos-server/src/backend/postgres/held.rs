//! A connection that is kept between statements.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::error::Fault;
use super::session::{Connection, Pool};

/// How long it is kept without work.
const IDLE: Duration = Duration::from_secs(1);

/// How long it is kept under work: the pool decides then whether it is too old.
const TURN: Duration = Duration::from_secs(60);

/// A connection of the pool that is held while there is work for it: giving one back costs the pool a message to the
/// server and its answer, as much again as a small statement.
pub(super) struct Held {
    pool: Pool,
    place: Arc<str>,
    connection: Option<(Connection, Instant)>,
}

impl Held {
    pub(super) fn new(pool: &Pool, place: &Arc<str>) -> Self {
        Self { pool: pool.clone(), place: Arc::clone(place), connection: None }
    }

    /// The connection, taken from the pool when there is none.
    pub(super) async fn connection(&mut self) -> Result<&mut Connection, Fault> {
        if self.connection.as_ref().is_some_and(|(_, since)| since.elapsed() > TURN) || self.pool.is_closed() {
            self.connection = None;
        }
        if self.connection.is_none() {
            let connection = self.pool.acquire().await.map_err(|error| Fault::new(&self.place, error))?;
            self.connection = Some((connection, Instant::now()));
        }
        match &mut self.connection {
            Some((connection, _)) => Ok(connection),
            // It was put there above.
            None => Err(Fault::new(&self.place, sqlx::Error::PoolClosed)),
        }
    }

    /// Has to be told of every failure: a connection that may be broken is not used again.
    pub(super) fn failed(&mut self, fault: &Fault) {
        if fault.may_pass()
            && let Some((connection, _)) = &mut self.connection
        {
            connection.close_on_drop();
            self.connection = None;
        }
    }

    /// Waits for work; meanwhile the connection goes back to the pool, at once when that is being closed.
    pub(super) async fn until<T>(&mut self, work: impl Future<Output = T>) -> T {
        if self.connection.is_none() {
            return work.await;
        }
        let mut work = std::pin::pin!(work);
        let closing = self.pool.close_event();
        tokio::select! {
            biased;
            ready = timeout(IDLE, &mut work) => if let Ok(ready) = ready { return ready },
            _ = closing => {}
        }
        self.connection = None;
        work.await
    }
}
