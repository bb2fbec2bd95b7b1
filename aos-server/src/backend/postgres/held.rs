//! A connection that is kept between statements.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::doubt::ANSWER;
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

    /// Has the connection do something.
    pub(super) async fn work<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let (doubt, place) = (self.pool.doubt().clone(), Arc::clone(&self.place));
        let connection = self.connection().await?;
        let done = doubt.in_time(ANSWER, async { Ok(work(connection).await) }).await;
        let done = done.unwrap_or_else(|error| Err(Fault::new(&place, error)));
        if let Err(fault) = &done {
            self.failed(fault);
        }
        done
    }

    /// The connection, taken from the pool when there is none.
    async fn connection(&mut self) -> Result<&mut Connection, Fault> {
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

    /// A connection that may be broken is not used again.
    fn failed(&mut self, fault: &Fault) {
        if !fault.may_pass() {
            return;
        }
        self.pool.doubt().raise();
        if let Some((mut connection, _)) = self.connection.take() {
            connection.close_on_drop();
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
