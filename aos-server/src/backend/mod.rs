//! The backends behind the core's contracts, by vendor.

mod batches;
pub mod claude;
mod costs;
mod llm_http;
mod migration;
pub mod openai;
mod page;
pub mod postgres;
pub mod redis;
pub mod sqlite;
mod watch;

use std::sync::Arc;

use aos_core::audit::AuditStore;
use aos_core::driver::Stores;
use aos_core::keys::KeyStore;
use aos_core::ledger::LedgerStore;
use aos_core::memory::{
    MemoryAudit, MemoryKeys, MemoryLedger, MemorySchedules, MemorySlots, MemorySwitches, MemoryWorkers,
};
use aos_core::registry::RegistryStore;
use aos_core::runs::StoreError;
use aos_core::schedules::ScheduleStore;
use aos_core::slots::SlotStore;
use aos_core::switches::SwitchStore;
use aos_core::time::Clock;
use aos_core::workers::WorkerStore;

pub use migration::Migration;

use crate::clock::SystemClock;
use crate::config::Database;
use crate::telemetry::Metrics;
use batches::Batches;
use postgres::PostgresStores;
use redis::{Hint, Hints};
use sqlite::SqliteStores;
use watch::{Topic, Waiters};

/// The state of record, wherever settings say that it is.
#[derive(Clone)]
pub enum Backend {
    /// One file.
    Sqlite(SqliteStores),
    /// A database that many processes share.
    Postgres(PostgresStores),
}

impl Backend {
    /// Opens the place that a setting names, and brings its tables up to date.
    ///
    /// # Errors
    /// As [`SqliteStores::open`] and [`PostgresStores::open`].
    pub async fn open(database: &Database) -> Result<Self, StoreError> {
        Ok(match database {
            Database::Sqlite(path) => Self::Sqlite(SqliteStores::open(path).await?),
            Database::Postgres(url) => Self::Postgres(PostgresStores::open(url.expose()).await?),
        })
    }

    /// Opens the place that a setting names, and leaves its tables as they are.
    ///
    /// # Errors
    /// As [`Backend::open`], and [`StoreError::Conflict`] when the tables lack changes of this release.
    pub async fn open_as_it_is(database: &Database) -> Result<Self, StoreError> {
        let missing = pending(database).await?.len();
        if missing > 0 {
            let place = database.place();
            return Err(StoreError::Conflict(format!(
                "{place} lacks {missing} change(s) of its tables that this release needs: `aos-server migrate` makes them"
            )));
        }
        Ok(match database {
            // Nothing is missing, and so nothing is changed.
            Database::Sqlite(path) => Self::Sqlite(SqliteStores::open(path).await?),
            Database::Postgres(url) => Self::Postgres(PostgresStores::connect(url.expose()).await?),
        })
    }

    /// The three that the driver needs.
    pub fn stores(&self) -> Stores {
        match self {
            Self::Sqlite(stores) => stores.stores(),
            Self::Postgres(stores) => stores.stores(),
        }
    }

    /// Registries.
    pub fn registry(&self) -> Arc<dyn RegistryStore> {
        match self {
            Self::Sqlite(stores) => stores.registry(),
            Self::Postgres(stores) => stores.registry(),
        }
    }

    /// The clock of all processes that share the place.
    pub fn clock(&self) -> Arc<dyn Clock> {
        match self {
            Self::Sqlite(_) => Arc::new(SystemClock),
            Self::Postgres(stores) => stores.clock(),
        }
    }

    /// What the installation is steered by.
    pub fn control(&self) -> Control {
        match self {
            Self::Sqlite(stores) => stores.control(),
            Self::Postgres(stores) => stores.control(),
        }
    }

    /// Says that this process is about to advance runs; gives how many leases of dead workers ended by that. In
    /// Postgres none do: nobody knows whether a worker elsewhere is dead before its leases have run out.
    ///
    /// # Errors
    /// As [`SqliteStores::begin_work`].
    pub async fn begin_work(&self) -> Result<usize, StoreError> {
        match self {
            Self::Sqlite(stores) => stores.begin_work().await,
            Self::Postgres(_) => Ok(0),
        }
    }

    /// Counts in `metrics` how much this process writes at one time.
    pub fn measure(&self, metrics: &Metrics) {
        self.batches().count_in(metrics);
    }

    /// Gives hints of what this process changes.
    pub fn tell(&self, hints: Hints) {
        self.waiters().tell_others(move |topic| {
            hints.tell(match topic.clone() {
                Topic::Run(tenant, run) => Hint::Run(tenant, run),
                Topic::Registry(tenant) => Hint::Registry(tenant),
            });
        });
    }

    /// Has whoever waits for what another process gave a hint of look at once.
    pub fn hear(&self, hint: &Hint) {
        match hint {
            Hint::Run(tenant, run) => self.waiters().wake(&[Topic::Run(tenant.clone(), run.clone())]),
            Hint::Registry(tenant) => self.waiters().wake(&[Topic::Registry(tenant.clone())]),
            Hint::Work | Hint::Entries(_) | Hint::Switches | Hint::Written(_) => {}
        }
    }

    fn waiters(&self) -> &Arc<Waiters> {
        match self {
            Self::Sqlite(stores) => stores.waiters(),
            Self::Postgres(stores) => stores.waiters(),
        }
    }

    fn batches(&self) -> &Batches {
        match self {
            Self::Sqlite(stores) => stores.batches(),
            Self::Postgres(stores) => stores.batches(),
        }
    }

    /// Where the data is, for people; no password.
    pub fn place(&self) -> String {
        match self {
            Self::Sqlite(stores) => {
                let path = stores.path();
                path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string()
            }
            Self::Postgres(stores) => format!("Postgres at {}", stores.place()),
        }
    }

    /// Finishes what is under way and closes. Without it nothing acknowledged is lost either.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(stores) => stores.close().await,
            Self::Postgres(stores) => stores.close().await,
        }
    }
}

/// The changes that the tables of a database still lack, oldest first. Changes nothing.
///
/// # Errors
/// As [`Backend::open`].
pub async fn pending(database: &Database) -> Result<Vec<Migration>, StoreError> {
    match database {
        Database::Sqlite(path) => sqlite::pending(path).await,
        Database::Postgres(url) => {
            let stores = PostgresStores::connect(url.expose()).await?;
            let pending = postgres::pending(&stores).await;
            stores.close().await;
            pending
        }
    }
}

/// The number of the last change of the tables that this release knows.
pub fn latest(database: &Database) -> i64 {
    match database {
        Database::Sqlite(_) => sqlite::latest(),
        Database::Postgres(_) => postgres::latest(),
    }
}

/// What an installation is steered by, beside its runs.
#[derive(Clone)]
pub struct Control {
    /// Which workers there are.
    pub workers: Arc<dyn WorkerStore>,
    /// Slots of skills with a limit.
    pub slots: Arc<dyn SlotStore>,
    /// Runs that begin by the calendar.
    pub schedules: Arc<dyn ScheduleStore>,
    /// Operators' switches.
    pub switches: Arc<dyn SwitchStore>,
    /// API keys.
    pub keys: Arc<dyn KeyStore>,
    /// Who changed what.
    pub audit: Arc<dyn AuditStore>,
    /// The account of model calls, and their budgets.
    pub ledger: Arc<dyn LedgerStore>,
}

impl Control {
    /// One that lasts as long as the process, for a single one and for tests.
    pub fn in_memory(clock: &Arc<dyn Clock>) -> Self {
        Self {
            workers: Arc::new(MemoryWorkers::new(Arc::clone(clock))),
            slots: Arc::new(MemorySlots::new(Arc::clone(clock))),
            schedules: Arc::new(MemorySchedules::new(Arc::clone(clock))),
            switches: Arc::new(MemorySwitches::new(Arc::clone(clock))),
            keys: Arc::new(MemoryKeys::new(Arc::clone(clock))),
            audit: Arc::new(MemoryAudit::new(Arc::clone(clock))),
            ledger: Arc::new(MemoryLedger::new(Arc::clone(clock))),
        }
    }
}
