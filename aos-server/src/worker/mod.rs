//! The worker: claims runs, advances each in a task of its own, keeps their leases, and lets go of them in order.
//!
//! A run that is created here while there is room starts at once, with the lease that its creation gave
//! ([`Worker::slot`]); everything else is found by claiming, at once when the hub says so and otherwise by polling.
//! What happens to a run whose worker dies is the store's business: the lease runs out and somebody claims it.

mod advance;
mod claim;
mod lease;
#[cfg(test)]
mod tests;

pub mod report;
pub mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aos_core::BoxFuture;
use aos_core::Failure;
use aos_core::driver::{Begun, Driven, Host, Stores};
use aos_core::id::WorkerId;
use aos_core::runs::{Claim, FirstLease};
use aos_core::time::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use lease::Leases;

use crate::hub::Hub;
use crate::telemetry::Metrics;

/// Advances a claimed run until it ends, waits, or is somebody else's.
pub trait Drive: Send + Sync {
    /// As [`Begun::drive`].
    fn drive(&self, claim: Claim, begun: Begun) -> BoxFuture<'_, Result<Driven, Failure>>;
}

impl Drive for Host {
    fn drive(&self, claim: Claim, begun: Begun) -> BoxFuture<'_, Result<Driven, Failure>> {
        Box::pin(begun.drive(self, claim))
    }
}

/// Room beyond the slots that even a small worker has.
const MIN_RELIEF: usize = 32;

/// How a worker works.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Its name, unique among all processes that share a store.
    pub id: WorkerId,
    /// Runs advanced at the same time.
    pub concurrency: usize,
    /// How long a lease lasts; it is prolonged three times in that time.
    pub lease: Duration,
    /// How often to look for claimable runs that nobody told this process about.
    pub poll: Duration,
    /// How long runs may go on after the worker was asked to stop.
    pub grace: Duration,
}

impl WorkerSettings {
    /// The settings of a server: leases of 10 s, a look for work every 250 ms, 25 s of grace.
    pub fn new(id: WorkerId, concurrency: usize) -> Self {
        Self {
            id,
            concurrency,
            lease: Duration::from_secs(10),
            poll: Duration::from_millis(250),
            grace: Duration::from_secs(25),
        }
    }
}

/// A worker. Cheap to clone.
#[derive(Clone)]
pub struct Worker(Arc<Inner>);

struct Inner {
    settings: WorkerSettings,
    driver: Arc<dyn Drive>,
    stores: Stores,
    clock: Arc<dyn Clock>,
    leases: Leases,
    hub: Arc<Hub>,
    metrics: Metrics,
    slots: Arc<Semaphore>,
    /// Room beyond the slots, for when the runs in them wait for each other.
    relief: Arc<Semaphore>,
    /// Whether there may be claimable runs beyond those this worker has room for.
    behind: AtomicBool,
    /// Whether an operator wants nothing to be claimed.
    paused: AtomicBool,
    stopping: CancellationToken,
    stopped: CancellationToken,
    tasks: TaskTracker,
}

/// Room for one more run.
pub struct Slot {
    worker: Worker,
    permit: OwnedSemaphorePermit,
}

impl Slot {
    /// Begins to advance a run that is leased to this worker, or goes on with one that was begun.
    pub fn start(self, claim: Claim, begun: Begun) {
        self.worker.start(claim, begun, self.permit);
    }
}

impl Worker {
    /// A worker that does nothing yet; see [`Worker::run`].
    pub fn new(
        settings: WorkerSettings,
        driver: Arc<dyn Drive>,
        stores: Stores,
        clock: Arc<dyn Clock>,
        leases: Leases,
        hub: Arc<Hub>,
        metrics: Metrics,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(settings.concurrency));
        // Who is to advance nothing does not do so in need either.
        let relief = if settings.concurrency == 0 { 0 } else { settings.concurrency + MIN_RELIEF };
        let relief = Arc::new(Semaphore::new(relief));
        Self(Arc::new(Inner {
            settings,
            driver,
            stores,
            clock,
            leases,
            hub,
            metrics,
            slots,
            relief,
            behind: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            stopping: CancellationToken::new(),
            stopped: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Room for a run that is about to be created; `None` when there is none, when older runs wait for it, or when the
    /// worker stops. Without it, create the run unclaimed and call [`Worker::arrived`].
    pub fn slot(&self) -> Option<Slot> {
        let inner = &self.0;
        if !self.accepts() || inner.behind.load(Ordering::Acquire) || self.is_paused() {
            return None;
        }
        let permit = Arc::clone(&inner.slots).try_acquire_owned().ok()?;
        Some(Slot { worker: self.clone(), permit })
    }

    /// What to create a run with so that it is leased to this worker.
    pub fn lease(&self) -> FirstLease {
        FirstLease::new(self.0.settings.id.clone(), self.0.settings.lease)
    }

    /// Says that there is a run to claim.
    pub fn arrived(&self) {
        self.0.behind.store(true, Ordering::Release);
        self.0.hub.work_for_all();
    }

    /// Works until [`Worker::stop`], then lets the runs in hand come to an end for a while and releases the rest.
    pub async fn run(&self) {
        let inner = &self.0;
        let heartbeats = tokio::spawn(lease::keep(self.clone()));
        claim::keep_claiming(self).await;
        inner.tasks.close();
        let in_hand = inner.leases.count();
        if in_hand > 0 {
            tracing::info!(runs = in_hand, grace_s = inner.settings.grace.as_secs(), "waiting for runs in hand");
        }
        if tokio::time::timeout(inner.settings.grace, inner.tasks.wait()).await.is_err() {
            lease::release_all(self).await;
        }
        inner.stopped.cancel();
        // It ends by itself once `stopped` is set.
        let _ = heartbeats.await;
    }

    /// Claims nothing more from now on.
    pub fn stop(&self) {
        self.0.stopping.cancel();
    }

    /// Claims nothing until that is taken back; runs in hand go on.
    pub fn pause_claims(&self, paused: bool) {
        if self.0.paused.swap(paused, Ordering::AcqRel) != paused {
            tracing::warn!(paused, "an operator's switch: claiming runs");
            self.0.hub.work_arrived();
        }
    }

    /// Whether an operator wants nothing to be claimed.
    pub fn is_paused(&self) -> bool {
        self.0.paused.load(Ordering::Acquire)
    }

    /// Whether the worker takes on runs.
    pub fn accepts(&self) -> bool {
        !self.0.stopping.is_cancelled()
    }

    /// Whether it advances runs at all: a process may leave that to others.
    pub fn has_slots(&self) -> bool {
        self.0.settings.concurrency > 0
    }

    /// How many runs it advances right now.
    pub fn in_hand(&self) -> usize {
        self.0.leases.count()
    }

    /// Its name.
    pub fn id(&self) -> &WorkerId {
        &self.0.settings.id
    }
}
