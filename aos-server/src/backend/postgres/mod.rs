//! Everything in a Postgres database: what many processes share.
//!
//! - **Group commit.** Creations and appends of all runs of a process are collected and made durable many at a time,
//!   each batch by one statement (see `batch.rs`); every one is accepted or rejected on its own by its fence.
//! - **One clock.** Lease deadlines are the database's (`aos_now()`), and so is the time by which runs sleep and wake:
//!   a process with a wrong clock does no harm.
//! - **Unknown outcomes are read back.** When the connection breaks under a batch, the batch is sent again, and what
//!   the fences then reject is compared with what is in the tables.
//! - **Any pooler.** PgBouncer in transaction mode is noticed; see `session.rs` for what is different then.
//! - **No cancellation trouble.** Work on the database runs in tasks of its own; a caller's future only waits.

mod audit;
mod batch;
mod blob;
mod clock;
mod connection;
mod costs;
mod create;
mod doubt;
mod error;
mod heartbeat;
mod held;
mod journal;
mod keys;
mod ledger;
mod list;
mod migrate;
mod purge;
mod queue;
mod registry;
mod row;
mod runs;
mod schedules;
mod session;
mod slots;
mod switches;
mod watch;
mod workers;

use std::future::Future;
use std::sync::Arc;
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

pub use migrate::{latest, pending};

use crate::backend::Control;
use crate::backend::batches::Batches;
use crate::backend::watch::Waiters;
use batch::Queue;
use clock::DatabaseClock;
use connection::Pools;
use create::Creations;
use doubt::{ANSWER, LONG_ANSWER};
use error::{Fault, closed};
use journal::Appends;
use ledger::Ledger;
use session::Pool;

/// The stores of one Postgres database. Clones share the connections.
#[derive(Clone)]
pub struct PostgresStores(Arc<Postgres>);

/// What the roles share; each role is a contract implemented in the file of its name.
struct Postgres {
    pools: Pools,
    /// That of the pools which is for all but the batches.
    pool: Pool,
    /// Host, port and database, for messages.
    place: Arc<str>,
    appends: Queue<Appends>,
    creations: Queue<Creations>,
    ledger: Queue<Ledger>,
    waiters: Arc<Waiters>,
    batches: Batches,
    limits: Arc<queue::Limits>,
    clock: DatabaseClock,
}

impl PostgresStores {
    /// Connects to the database at `url` (`postgres://user@host:port/name`) and brings its tables up to date.
    ///
    /// Needs a tokio runtime, and that runtime's timer.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for a URL that can't be used and for tables of a newer release,
    /// [`StoreError::Unavailable`] for the rest. The messages say what to do.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let stores = Self::connect(url).await?;
        let Postgres { pool, place, clock, .. } = &*stores.0;
        migrate::run(pool, place).await?;
        clock.ask(pool).await.map_err(|error| Fault::new(place, error).store_error("ask for the time"))?;
        clock::keep_time(&stores.0);
        Ok(stores)
    }

    /// As [`PostgresStores::open`], without touching the tables.
    ///
    /// # Errors
    /// As [`PostgresStores::open`].
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let pools = Pools::open(url, batch::LANES * 3).await?;
        let (writers, place) = (&pools.writers, &pools.place);
        let (waiters, batches) = (Arc::<Waiters>::default(), Batches::default());
        let stores = Self(Arc::new(Postgres {
            appends: Queue::start(writers, place, Appends::new(place, &waiters, &batches)),
            creations: Queue::start(writers, place, Creations::new(place)),
            ledger: Queue::start(writers, place, Ledger::new(place)),
            pool: pools.pool.clone(),
            place: Arc::clone(place),
            pools,
            waiters,
            batches,
            limits: Arc::new(queue::Limits::new()),
            clock: DatabaseClock::new(),
        }));
        watch::look_for_changes(&stores.0);
        Ok(stores)
    }

    /// Host, port and database, without user and password.
    pub fn place(&self) -> &str {
        &self.0.place
    }

    /// Whether a pooler (PgBouncer in transaction mode) stands before the database; then every statement is a
    /// transaction. Found out when the connection is made, unless the URL says it by `pgbouncer=true` or `false`.
    pub fn is_pooled(&self) -> bool {
        self.0.pool.is_pooled()
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

    /// The database's clock; this machine's, unless the stores were opened.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.0.clock.clone())
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

    /// Closes all connections once their work is done. Whatever is asked after that is
    /// [`StoreError::Unavailable`]. Without it nothing acknowledged is lost either.
    pub async fn close(&self) {
        self.0.pools.close().await;
    }
}

impl Postgres {
    /// Does `work` in a task of its own, which ends whatever becomes of the caller.
    async fn run<T, F, W>(&self, operation: &'static str, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Stop>> + Send + 'static,
        W: FnOnce(Pool) -> F,
    {
        self.run_within(ANSWER, operation, work).await
    }

    /// As [`run`](Self::run), for work that may take a while.
    async fn run_long<T, F, W>(&self, operation: &'static str, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Stop>> + Send + 'static,
        W: FnOnce(Pool) -> F,
    {
        self.run_within(LONG_ANSWER, operation, work).await
    }

    async fn run_within<T, F, W>(&self, limit: Duration, operation: &'static str, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Stop>> + Send + 'static,
        W: FnOnce(Pool) -> F,
    {
        let (work, doubt) = (work(self.pool.clone()), self.pool.doubt().clone());
        let task = tokio::spawn(async move { doubt.in_time(limit, work).await });
        match task.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Stop::Rejected(error))) => Err(error),
            Ok(Err(Stop::Sql(error))) => {
                let fault = Fault::new(&self.place, error);
                if fault.may_pass() {
                    self.pool.doubt().raise();
                }
                Err(fault.store_error(operation))
            }
            // The runtime is shutting down, or the task panicked.
            Err(_) => Err(closed(operation)),
        }
    }
}

/// Why a piece of work on the database ended without an answer.
enum Stop {
    /// The store refuses it.
    Rejected(StoreError),
    /// The database failed.
    Sql(sqlx::Error),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Rejected(error)
    }
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}
