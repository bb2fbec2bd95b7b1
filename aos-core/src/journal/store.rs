//! The contract of a store that keeps journals.

use crate::BoxFuture;
use crate::error::Failure;
use crate::event::RunFinished;
use crate::id::{RunId, TenantId};
use crate::journal::Line;
use crate::payload::Payload;
use crate::runs::{Lease, StoreError};
use crate::time::Timestamp;

/// What becomes of the run together with an append, in the same transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Transition {
    /// It goes on under the same lease.
    Continue,
    /// It waits and gives the lease back: claimable again at `wake_at`, or as soon as its inbox holds something
    /// that the journal has not seen.
    Park {
        /// The earliest timer; `None` waits for the inbox only.
        wake_at: Option<Timestamp>,
        /// The last inbox number the journal has seen.
        inbox_seen: u64,
    },
    /// It has ended and gives the lease back.
    Finish(RunFinished),
    /// It can't be advanced, or has killed its workers too often: it is [`Dead`](crate::runs::RunState::Dead) with
    /// this failure, and never claimable again.
    Bury(Failure),
}

/// Consecutive entries of one run, to be made durable together.
#[derive(Clone, Debug, PartialEq)]
pub struct Append {
    /// The writer's right to write.
    pub lease: Lease,
    /// Index of the first line; the next free index of the run's journal.
    pub first_index: u64,
    /// The entries as they are stored, oldest first; empty when only the transition is wanted.
    pub lines: Vec<Line>,
    /// Payloads that the lines refer to by hash: durable no later than the lines.
    pub blobs: Vec<Payload>,
    /// What becomes of the run.
    pub transition: Transition,
}

/// Keeps the journals of runs.
///
/// # Contract
/// - An append is all or nothing, its [`Transition`] included, and durable when the future resolves with `Ok`.
/// - An append whose lease is not the run's current one (other epoch or worker, released, or no such run) is
///   [`StoreError::Fenced`] and changes nothing. A lease past its deadline that nobody else has claimed
///   is still current.
/// - An append whose `first_index` is not the next free index is [`StoreError::IndexConflict`] and changes nothing.
/// - Appends of different runs do not order or fail each other.
/// - `read` gives every line up to some durable append, in order, byte for byte as appended.
/// - A dropped `append` future may or may not have taken effect; a reader sees all of it or nothing.
pub trait JournalStore: Send + Sync {
    /// Makes entries durable.
    fn append(&self, append: Append) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The lines from index `from` on, at most `limit`; empty past the end.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the tenant has no such run.
    fn read<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        from: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Line>, StoreError>>;
}
