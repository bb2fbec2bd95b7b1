//! The contract of a store that knows which workers there are.

use std::time::Duration;

use crate::BoxFuture;
use crate::id::WorkerId;
use crate::runs::StoreError;
use crate::time::Timestamp;

/// What a worker says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerReport {
    /// Its name, under which it holds leases.
    pub worker: WorkerId,
    /// What kind of process it is part of, `serve` or `worker` say.
    pub role: String,
    /// The machine it runs on.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// The release it is.
    pub version: String,
    /// How many runs it advances at the same time, at most.
    pub concurrency: u32,
    /// How many it advances now.
    pub in_hand: u32,
    /// Whether it takes on no more runs, because it is about to end.
    pub draining: bool,
}

/// A worker as the store knows it. All times are the store's clock's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRecord {
    /// What it said last.
    pub report: WorkerReport,
    /// When it was first heard of.
    pub since: Timestamp,
    /// When it was last heard of.
    pub seen_at: Timestamp,
    /// Whether it was heard of in time. One that was not is dead, or cut off from the store.
    pub alive: bool,
}

/// Keeps a list of workers, for operators. Nothing depends on it: who may advance a run is said by leases alone.
///
/// # Contract
/// - `report` keeps a worker [alive](WorkerRecord::alive) for `ttl` of the store's clock from then on, and replaces what
///   it said before; the time it was first heard of stays until it is forgotten.
/// - `leave` forgets a worker; forgetting an unknown one is `Ok`.
/// - `list` gives every worker, by name, those included that are no longer alive. A store may forget those that have
///   not been alive for an hour.
/// - Texts come back as they were given, but U+0000 in one may come back as U+FFFD.
pub trait WorkerStore: Send + Sync {
    /// Keeps what a worker says of itself.
    fn report<'a>(&'a self, report: &'a WorkerReport, ttl: Duration) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Forgets a worker that ends in order.
    fn leave<'a>(&'a self, worker: &'a WorkerId) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Every worker.
    fn list(&self) -> BoxFuture<'_, Result<Vec<WorkerRecord>, StoreError>>;
}
