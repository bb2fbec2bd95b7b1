//! Connections that only read, used on tokio's blocking threads.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aos_core::runs::StoreError;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::connection::open_reader;
use super::error::{Stop, closed};

/// Reads at one time.
const MAX_READERS: usize = 4;

/// A pool of reading connections, opened as needed.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::default(), permits: Arc::new(Semaphore::new(MAX_READERS)) }
    }

    /// Does `work` with a connection. It runs to its end even when the future is dropped.
    pub(super) async fn read<T, W>(self: &Arc<Self>, operation: &'static str, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, Stop> + Send + 'static,
    {
        let readers = Arc::clone(self);
        // The turn is taken in a task of its own: a caller that stops polling for a while must not hold one, or it
        // could wait for itself.
        let task = tokio::spawn(async move {
            let turn = Arc::clone(&readers.permits).acquire_owned().await.map_err(|_| closed(operation))?;
            let task = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                readers.with_connection(work).map_err(|stop| stop.into_store_error(operation, &readers.path))
            });
            task.await.unwrap_or_else(|error| Err(StoreError::Unavailable { operation, source: Box::new(error) }))
        });
        task.await.unwrap_or_else(|error| Err(StoreError::Unavailable { operation, source: Box::new(error) }))
    }

    /// Refuses what comes, waits for what is under way, and closes the connections.
    pub(super) async fn close(&self) {
        // The permits of what is under way come back; only closing the semaphore twice could fail here.
        let all = self.permits.acquire_many(MAX_READERS as u32).await;
        self.permits.close();
        drop(all);
        self.idle().clear();
    }

    fn with_connection<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Stop>) -> Result<T, Stop> {
        let idle = self.idle().pop();
        let conn = match idle {
            Some(conn) => conn,
            None => open_reader(&self.path)?,
        };
        let result = work(&conn);
        // A connection on which something failed is not trusted again.
        if !matches!(result, Err(Stop::Sql(_))) {
            self.idle().push(conn);
        }
        result
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
