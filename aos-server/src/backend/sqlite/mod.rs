//! Everything in one SQLite file: what `aos-server` uses when nothing else is set.
//!
//! - **One writer.** A thread of its own holds the one connection that writes and commits whatever is queued in one
//!   transaction (group commit, `writer.rs`); readers have connections of their own and never wait for it (WAL).
//! - **Durable means on disk.** `synchronous = FULL`: a commit is acknowledged after `fdatasync`.
//! - **Correct with several processes.** Fences, indices and inbox numbers are checked in SQL, inside the writing
//!   transaction, so a CLI command may use the file beside the server. What another process changed is noticed
//!   within a quarter of a second ([`RunStore::changed`]).
//! - **No cancellation trouble.** A caller's future only waits; the work is done by the writer's thread or by a
//!   blocking task, and ends whatever becomes of the caller.

mod audit;
mod blob;
mod budgets;
mod connection;
mod costs;
mod create;
mod error;
mod journal;
mod keys;
mod ledger;
mod list;
mod presence;
mod purge;
mod queue;
mod readers;
mod registry;
mod row;
mod runs;
mod schedules;
mod slots;
mod switches;
#[cfg(test)]
mod tests;
mod workers;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aos_core::audit::AuditStore;
use aos_core::blob::BlobStore;
use aos_core::driver::Stores;
use aos_core::journal::JournalStore;
use aos_core::keys::KeyStore;
use aos_core::ledger::LedgerStore;
use aos_core::registry::RegistryStore;
use aos_core::runs::{RunStore, StoreError};
use aos_core::schedules::ScheduleStore;
use aos_core::slots::SlotStore;
use aos_core::switches::SwitchStore;
use aos_core::time::Clock;
use aos_core::workers::WorkerStore;

use crate::backend::Control;
use crate::backend::Migration;
use crate::backend::batches::Batches;
use crate::backend::watch::Waiters;
use crate::clock::SystemClock;
use presence::Presence;
use readers::Readers;
use writer::Writer;

/// How often changes by other processes are looked for, while somebody waits for one.
const LOOK_FOR_OTHERS: Duration = Duration::from_millis(250);

/// The stores of one SQLite file. Clones share the file.
#[derive(Clone)]
pub struct SqliteStores(Arc<Sqlite>);

/// What the roles share; each role is a contract implemented in the file of its name.
struct Sqlite {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    writer: Writer,
    readers: Arc<Readers>,
    waiters: Arc<Waiters>,
    batches: Batches,
    /// Locked while this process works on runs.
    presence: Mutex<Option<Presence>>,
}

impl SqliteStores {
    /// Opens a file, given as a path or as `sqlite://` and a path; makes it, and its directory, when missing.
    ///
    /// Needs a tokio runtime, and that runtime's timer.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for a file of another application or of a newer release, [`StoreError::Corrupt`] for
    /// one that is no database, [`StoreError::Unavailable`] for the rest. The messages say what to do.
    pub async fn open(location: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with_clock(location, Arc::new(SystemClock)).await
    }

    /// As [`SqliteStores::open`], with lease deadlines from another clock than the machine's. Processes that share a
    /// file must share the clock.
    ///
    /// # Errors
    /// As [`SqliteStores::open`].
    pub async fn open_with_clock(location: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let path = path_of(location.as_ref());
        let opened = tokio::task::spawn_blocking({
            let path = path.clone();
            move || connection::open_writer(&path)
        });
        let conn = opened.await.map_err(|error| StoreError::Unavailable {
            operation: "open the database file",
            source: Box::new(error),
        })??;
        let (waiters, batches) = (Arc::<Waiters>::default(), Batches::default());
        let readers = Arc::new(Readers::new(&path));
        let writer = Writer::start(conn, &path, Arc::clone(&clock), Arc::clone(&waiters), batches.clone())?;
        let stores =
            Self(Arc::new(Sqlite { path, clock, writer, readers, waiters, batches, presence: Mutex::default() }));
        stores.look_for_others();
        Ok(stores)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Runs, leases and inboxes.
    pub fn runs(&self) -> Arc<dyn RunStore> {
        Arc::clone(&self.0) as _
    }

    /// Journals.
    pub fn journal(&self) -> Arc<dyn JournalStore> {
        Arc::clone(&self.0) as _
    }

    /// Large payloads.
    pub fn blobs(&self) -> Arc<dyn BlobStore> {
        Arc::clone(&self.0) as _
    }

    /// Registries.
    pub fn registry(&self) -> Arc<dyn RegistryStore> {
        Arc::clone(&self.0) as _
    }

    /// The three that the driver needs.
    pub fn stores(&self) -> Stores {
        Stores { runs: self.runs(), journal: self.journal(), blobs: self.blobs() }
    }

    /// Which workers there are.
    pub fn workers(&self) -> Arc<dyn WorkerStore> {
        Arc::clone(&self.0) as _
    }

    /// Slots of skills with a limit.
    pub fn slots(&self) -> Arc<dyn SlotStore> {
        Arc::clone(&self.0) as _
    }

    /// Schedules.
    pub fn schedules(&self) -> Arc<dyn ScheduleStore> {
        Arc::clone(&self.0) as _
    }

    /// Operators' switches.
    pub fn switches(&self) -> Arc<dyn SwitchStore> {
        Arc::clone(&self.0) as _
    }

    /// API keys.
    pub fn keys(&self) -> Arc<dyn KeyStore> {
        Arc::clone(&self.0) as _
    }

    /// Audit logs.
    pub fn audit(&self) -> Arc<dyn AuditStore> {
        Arc::clone(&self.0) as _
    }

    /// The account of model calls.
    pub fn ledger(&self) -> Arc<dyn LedgerStore> {
        Arc::clone(&self.0) as _
    }

    /// Those by which an installation is steered.
    pub fn control(&self) -> Control {
        Control {
            workers: self.workers(),
            slots: self.slots(),
            schedules: self.schedules(),
            switches: self.switches(),
            keys: self.keys(),
            audit: self.audit(),
            ledger: self.ledger(),
        }
    }

    /// Who waits for changes.
    pub(super) fn waiters(&self) -> &Arc<Waiters> {
        &self.0.waiters
    }

    pub(super) fn batches(&self) -> &Batches {
        &self.0.batches
    }

    /// Says that this process is about to advance runs of the file, until it ends or [closes](Self::close) it. Every
    /// process that does so must say it, before it claims anything.
    ///
    /// When no other process does, the leases that are still held are those of dead workers. They end now instead of at
    /// their deadline; a claim of such a run counts as a rescue, as ever. Gives how many there were.
    ///
    /// # Errors
    /// As for any write.
    pub async fn begin_work(&self) -> Result<usize, StoreError> {
        let path = self.0.path.clone();
        let presence = match blocking(move || Presence::enter(&path)).await {
            Ok(presence) => presence,
            Err(error) => return Ok(unlockable(&error)),
        };
        let ended = if presence.is_alone() { self.0.end_leases().await? } else { 0 };
        match blocking(move || presence.share()).await {
            Ok(presence) => *self.0.presence() = Some(presence),
            Err(error) => drop(unlockable(&error)),
        }
        Ok(ended)
    }

    /// Finishes what is under way, writes the log back into the file and closes it. Whatever is asked after that is
    /// [`StoreError::Unavailable`]. Without it nothing acknowledged is lost either.
    pub async fn close(&self) {
        self.0.readers.close().await;
        self.0.writer.close().await;
        *self.0.presence() = None;
    }

    /// Wakes all who wait for changes when another process has written to the file.
    fn look_for_others(&self) {
        let stores = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            let mut seen = None;
            loop {
                tokio::time::sleep(LOOK_FOR_OTHERS).await;
                let Some(stores) = stores.upgrade() else { return };
                if stores.waiters.is_empty() {
                    continue;
                }
                // On the writer's own connection this number changes with the commits of others only.
                let version = stores.writer.write("look for other writers", |tx| {
                    Ok(tx.sql("PRAGMA data_version")?.query_row([], |row| row.get::<_, i64>(0))?)
                });
                let Ok(version) = version.await else { continue };
                if seen.replace(version) != Some(version) {
                    stores.waiters.notify_all();
                }
            }
        });
    }
}

impl Sqlite {
    /// One value, set in one go: it is whole whatever panicked while holding the lock.
    fn presence(&self) -> MutexGuard<'_, Option<Presence>> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The changes that a file still lacks, oldest first; all of them when it is not there. Changes nothing.
///
/// # Errors
/// As [`SqliteStores::open`].
pub async fn pending(path: &Path) -> Result<Vec<Migration>, StoreError> {
    let path = path.to_owned();
    let looking = tokio::task::spawn_blocking(move || connection::pending(&path));
    looking
        .await
        .map_err(|error| StoreError::Unavailable { operation: "open the database file", source: Box::new(error) })?
}

/// The number of the last change that this release knows.
pub fn latest() -> i64 {
    connection::latest()
}

/// Waits for a lock where that holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// No lease has been ended.
fn unlockable(error: &io::Error) -> usize {
    tracing::warn!(%error, "the lock file can't be used: runs of a killed server go on when their leases run out");
    0
}

/// The path in `sqlite://path`, `sqlite:path` or `path`.
fn path_of(location: &Path) -> PathBuf {
    let text = location.to_str().unwrap_or_default();
    let path = text.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    path.map_or_else(|| location.to_owned(), PathBuf::from)
}
