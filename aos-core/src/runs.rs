//! The contract of a store that keeps runs, their leases and their inboxes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::BoxFuture;
use crate::canonical::Hash;
use crate::error::{Failure, codes};
use crate::event::{Fork, RunStatus};
use crate::id::{ApiKeyId, RunId, TenantId, WorkerId, WorkflowId};
use crate::journal::Line;
use crate::money::Money;
use crate::payload::Payload;
use crate::queue::{ConcurrencyLimit, Priority};
use crate::random::Seed;
use crate::time::Timestamp;
use crate::trace::TraceParent;
use crate::workflow::WorkflowVersion;

/// Where a run stands, as lists and filters show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Accepted, not begun.
    Queued,
    /// A worker has it.
    Running,
    /// It waits for a timer or its inbox; nobody holds it.
    Parked,
    /// It was asked to pause; nobody holds it until it is resumed.
    Paused,
    /// It gave an output.
    Succeeded,
    /// It failed.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// It killed its workers too often; an operator decides.
    Dead,
}

impl RunState {
    /// Every state, in the order of a run's life.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Running,
        Self::Parked,
        Self::Paused,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Dead,
    ];

    /// The state as wire text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Parked => "parked",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
        }
    }

    /// The state of a wire text.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether nothing will happen to the run by itself any more.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Dead)
    }
}

impl From<RunStatus> for RunState {
    fn from(status: RunStatus) -> Self {
        match status {
            RunStatus::Succeeded => Self::Succeeded,
            RunStatus::Failed => Self::Failed,
            RunStatus::Cancelled => Self::Cancelled,
        }
    }
}

/// A run to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    /// Its id.
    pub run: RunId,
    /// Its owner.
    pub tenant: TenantId,
    /// Which workflow.
    pub workflow: WorkflowVersion,
    /// Hash of the plan, which is a blob of the store.
    pub plan: Hash,
    /// Its input.
    pub input: Payload,
    /// Its seed.
    pub seed: Seed,
    /// What it may spend.
    pub budget: Option<Money>,
    /// The run that started it.
    pub parent: Option<RunId>,
    /// The run it is a fork of.
    pub forked_from: Option<Fork>,
    /// The caller's key: a second creation with the same key gives the first run.
    pub idempotency_key: Option<String>,
    /// The request that created it, for tracing.
    pub request_id: Option<String>,
    /// The API key by which it was asked for: what its model calls cost counts for that.
    pub api_key: Option<ApiKeyId>,
    /// The span it was asked for within; without one it begins a trace of its own.
    pub trace: Option<TraceParent>,
    /// How urgent it is.
    pub priority: Priority,
    /// It is not claimed before this time of the store's clock.
    pub start_at: Option<Timestamp>,
}

impl NewRun {
    /// The span that the run is below.
    pub fn trace(&self) -> TraceParent {
        self.trace.unwrap_or_else(|| TraceParent::of_run(&self.run))
    }

    /// What must be equal for two creations under one idempotency key to be the same request. A child's budget is
    /// what its parent happened to have left, and doesn't count; nor does when, or how soon, the run is to start.
    pub fn fingerprint(&self) -> Hash {
        Hash::of(format!(
            "{}\n{}\n{}\n{}\n{}",
            self.workflow,
            self.plan,
            self.input.hash(),
            self.seed,
            self.budget.filter(|_| self.parent.is_none()).map(|b| b.to_string()).unwrap_or_default()
        ))
    }
}

/// The lease that a new run is created with, and what its journal begins with then.
#[derive(Clone, Debug, PartialEq)]
pub struct FirstLease {
    /// Who is to hold it.
    pub worker: WorkerId,
    /// How long it lasts.
    pub duration: Duration,
    /// The journal's first entries, from index 0 on; empty when nothing is to be written yet.
    pub lines: Vec<Line>,
    /// Payloads that the lines refer to by hash.
    pub blobs: Vec<Payload>,
}

impl FirstLease {
    /// A lease on a run whose journal is empty.
    pub const fn new(worker: WorkerId, duration: Duration) -> Self {
        Self { worker, duration, lines: Vec::new(), blobs: Vec::new() }
    }
}

/// What a creation gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Created {
    /// A new run; with a lease when one was asked for.
    New(RunRecord, Option<Lease>),
    /// The run that this idempotency key, or this run id, already named.
    Existing(RunRecord),
}

/// A run as the store knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// What it was created from.
    pub new: NewRun,
    /// Where it stands.
    pub state: RunState,
    /// When it was created, by the store's clock.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Its output, when it succeeded.
    pub output: Option<Payload>,
    /// Why it did not succeed.
    pub failure: Option<Failure>,
    /// What it has cost, when it has ended.
    pub cost: Money,
    /// Its content hash, when it has ended.
    pub content_hash: Option<Hash>,
    /// How many workers in a row have died with it without getting any further.
    pub rescues: u32,
    /// Whether it was asked to pause and its worker has not let go of it yet.
    pub pausing: bool,
    /// The number of the last item in its inbox; 0 when there is none.
    pub inbox_last: u64,
}

impl RunRecord {
    /// What a creation gives that names this run by its idempotency key or its id: the run when it asks for the same,
    /// else [`StoreError::IdempotencyMismatch`]. For stores.
    pub fn same_request(&self, new: &NewRun) -> Result<Created, StoreError> {
        if self.new.fingerprint() == new.fingerprint() {
            return Ok(Created::Existing(self.clone()));
        }
        let key = new.idempotency_key.clone().unwrap_or_else(|| new.run.to_string());
        Err(StoreError::IdempotencyMismatch { key, run: self.new.run.clone() })
    }
}

/// The right of one worker to advance one run, until a deadline of the store's clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The run's owner.
    pub tenant: TenantId,
    /// The run.
    pub run: RunId,
    /// Who holds it.
    pub worker: WorkerId,
    /// Rises with every claim of the run: the fencing token of every write.
    pub epoch: u64,
}

/// A claimed run.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The right to advance it.
    pub lease: Lease,
    /// The run.
    pub record: RunRecord,
}

impl Claim {
    /// The span of what the worker does with the run until it ends or is given back.
    pub fn trace(&self) -> TraceParent {
        self.record.new.trace().child(&format!("{}/{}", self.lease.run, self.lease.epoch))
    }
}

/// What somebody sent to a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A signal for the program.
    Signal {
        /// Its name.
        name: String,
        /// What it carries.
        payload: Payload,
    },
    /// A request to stop.
    Cancel {
        /// Why.
        reason: String,
    },
}

/// A message in a run's inbox.
#[derive(Clone, Debug, PartialEq)]
pub struct InboxItem {
    /// Its number within the run, rising from 1.
    pub seq: u64,
    /// What was sent.
    pub message: Message,
}

/// Which runs to list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFilter {
    /// Only this owner's.
    pub tenant: TenantId,
    /// Only in one of these states; empty means all.
    pub states: Vec<RunState>,
    /// Only of the workflow with this id.
    pub workflow: Option<WorkflowId>,
    /// Only children of this run.
    pub parent: Option<RunId>,
    /// Only those created before this time.
    pub created_before: Option<Timestamp>,
    /// Only those that have ended, and did so before this time.
    pub ended_before: Option<Timestamp>,
    /// Continue after this cursor of an earlier page.
    pub cursor: Option<String>,
    /// At most this many; 0 means 50, and no page has more than 1,000.
    pub limit: usize,
}

impl RunFilter {
    /// How many runs a page holds at most.
    pub fn page_size(&self) -> usize {
        if self.limit == 0 { 50 } else { self.limit.min(1_000) }
    }

    /// Whether a run fits, the cursor aside.
    pub fn accepts(&self, record: &RunRecord) -> bool {
        record.new.tenant == self.tenant
            && (self.states.is_empty() || self.states.contains(&record.state))
            && self.workflow.as_ref().is_none_or(|workflow| *workflow == record.new.workflow.id)
            && self.parent.as_ref().is_none_or(|parent| record.new.parent.as_ref() == Some(parent))
            && self.created_before.is_none_or(|before| record.created_at < before)
            && self.ended_before.is_none_or(|before| record.finished_at.is_some_and(|at| at < before))
    }
}

/// Which ended runs to delete.
#[derive(Clone, Debug, PartialEq)]
pub struct PurgeFilter {
    /// Only this owner's.
    pub tenant: TenantId,
    /// Only in one of these states; states that are not terminal select nothing.
    pub states: Vec<RunState>,
    /// Only of the workflow with this id.
    pub workflow: Option<WorkflowId>,
    /// Only those that ended before this time.
    pub ended_before: Timestamp,
}

/// One page of a list, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<RunRecord>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<String>,
}

/// How many runs wait, run and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Runs in each state that is not terminal, and `Dead`.
    pub by_state: Vec<(RunState, u64)>,
    /// When the oldest claimable run became claimable.
    pub oldest: Option<Timestamp>,
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The writer's lease is not the run's current one.
    #[error("the lease of {worker} on run {run} (epoch {epoch}) is no longer current")]
    Fenced {
        /// The run.
        run: RunId,
        /// The writer.
        worker: WorkerId,
        /// The writer's epoch.
        epoch: u64,
    },
    /// An append does not start at the next free index.
    #[error("the journal of run {run} does not continue at index {index}")]
    IndexConflict {
        /// The run.
        run: RunId,
        /// The index the append started at.
        index: u64,
    },
    /// There is no such thing.
    #[error("there is no {what} {id}")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        id: String,
    },
    /// The state of the thing does not allow this.
    #[error("{0}")]
    Conflict(String),
    /// The idempotency key was used for another request.
    #[error("the idempotency key {key:?} was used for run {run} with another request")]
    IdempotencyMismatch {
        /// The key.
        key: String,
        /// The run it made.
        run: RunId,
    },
    /// The store can't be reached, or failed in a way that may pass.
    #[error("the store failed to {operation}")]
    Unavailable {
        /// What was being done.
        operation: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store holds something it should not.
    #[error("the store holds a damaged {what} {id}: {why}")]
    Corrupt {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        id: String,
        /// What is wrong with it.
        why: String,
    },
}

impl StoreError {
    /// For stores: the run is not dead, and so it can't be what only dead ones can ("revived").
    pub fn not_dead(run: &RunId, state: RunState, what: &str) -> Self {
        Self::Conflict(format!("run {run} is {}: only a dead run can be {what}", state.as_str()))
    }

    /// For stores: the run has ended, and so it `cannot` do something ("takes no more messages").
    pub fn ended(run: &RunId, state: RunState, cannot: &str) -> Self {
        Self::Conflict(format!("run {run} has ended ({}): it {cannot}", state.as_str()))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Fenced { .. } | StoreError::IndexConflict { .. } => codes::FENCED,
            StoreError::NotFound { .. } => codes::NOT_FOUND,
            StoreError::Conflict(_) => codes::CONFLICT,
            StoreError::IdempotencyMismatch { .. } => codes::IDEMPOTENCY_MISMATCH,
            StoreError::Unavailable { .. } => codes::STORE_UNAVAILABLE,
            StoreError::Corrupt { .. } => codes::STORE_CORRUPT,
        };
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self::new(code, message)
    }
}

/// Keeps runs, their leases and their inboxes.
///
/// # Contract
/// - `create` is durable when it resolves with `Ok`; the same tenant and idempotency key, or the same run id, gives
///   [`Created::Existing`] when the [fingerprint](NewRun::fingerprint) is equal and
///   [`StoreError::IdempotencyMismatch`] when it is not.
/// - `create` with a [`FirstLease`] makes the run, its lease and its first entries durable together. Where it gives no
///   lease, it writes no entries either.
/// - A run is claimable when it is queued and its time to start has come; parked with its wake time come, or with an
///   unseen inbox item; or running with its lease's deadline passed. Every claim raises the epoch; at most one lease is current at any time; a
///   claim of an expired lease counts as a rescue, and rescues count from 0 again when the journal has grown since
///   the claim before: a run that gets further, however slowly, is not what kills its workers.
/// - Of the claimable runs, those with the higher priority are claimed first, and of these the oldest.
/// - Of a workflow with a [`ConcurrencyLimit`] no more runs are held at the same time, however many claim: a lease that
///   has run out doesn't count as held. `create` gives no lease for such a workflow, and none before the run's time:
///   its runs are for `claim`. A fork is leased all the same, because its past has to be written.
/// - A run asked to `pause` becomes [`Paused`](RunState::Paused) at once, or when its worker parks or releases it;
///   until then its record says `pausing`, also to whoever rescues it. `resume` makes it claimable again.
/// - Lease deadlines come from the store's clock only.
/// - A request to stop makes a queued or paused run claimable at once.
/// - `revive` queues a dead run anew: it goes on from its journal, and rescues count from 0.
/// - `discard` gives a dead run up for good: it is cancelled then, from then on, and its journal stays as it is.
/// - `count` gives as many runs as the pages of `list` have together, but stops at `at_most`.
/// - `purge` deletes ended runs with their journals and inboxes, those that ended first before the others, and frees their
///   ids and idempotency keys. It leaves a run alone whose parent has not ended, and holds up no claim or append of
///   another run.
/// - Inbox numbers of a run rise from 1 without gaps; an item is durable when `send` resolves. A message to a run
///   in a terminal state is [`StoreError::Conflict`].
/// - `changed` resolves once the run's inbox has an item after `after`, the run is terminal, or it is asked to pause;
///   also for changes made by other processes. It may resolve without cause.
/// - Nothing of one tenant is visible to, or changed by, a call for another.
pub trait RunStore: Send + Sync {
    /// Accepts a run. With `lease`, the new run is leased to a worker at once, and its journal begins.
    fn create(&self, run: NewRun, lease: Option<FirstLease>) -> BoxFuture<'_, Result<Created, StoreError>>;

    /// The run, if the tenant has it.
    fn get<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<Option<RunRecord>, StoreError>>;

    /// The run that an idempotency key names, if the tenant has it.
    fn by_key<'a>(&'a self, tenant: &'a TenantId, key: &'a str)
    -> BoxFuture<'a, Result<Option<RunRecord>, StoreError>>;

    /// Runs that fit a filter, newest first. Runs created meanwhile neither shift nor repeat what follows a cursor.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the cursor is none of this store's.
    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, StoreError>>;

    /// How many runs fit a filter, whatever its cursor and limit are; no more than `at_most` are counted.
    fn count(&self, filter: RunFilter, at_most: u64) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Leases up to `max` claimable runs of any tenant, the most urgent first.
    fn claim<'a>(
        &'a self,
        worker: &'a WorkerId,
        max: usize,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Vec<Claim>, StoreError>>;

    /// Prolongs leases; gives back those that are no longer current.
    fn heartbeat<'a>(&'a self, leases: &'a [Lease], lease: Duration) -> BoxFuture<'a, Result<Vec<Lease>, StoreError>>;

    /// Gives a lease back without progress: the run is queued again. A stale lease changes nothing and is `Ok`.
    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Puts a message into a run's inbox; gives its number.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the tenant has no such run, [`StoreError::Conflict`] when it has ended.
    fn send<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        message: Message,
    ) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// Inbox items after number `after`, oldest first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the tenant has no such run.
    fn inbox<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        after: u64,
    ) -> BoxFuture<'a, Result<Vec<InboxItem>, StoreError>>;

    /// Asks a run to pause; gives the run as it is then: paused, or running and [`pausing`](RunRecord::pausing).
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the tenant has no such run, [`StoreError::Conflict`] when it has ended.
    fn pause<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<RunRecord, StoreError>>;

    /// Lets a paused run go on, and takes a request to pause back; gives the run as it is then.
    ///
    /// # Errors
    /// As for [`RunStore::pause`].
    fn resume<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<RunRecord, StoreError>>;

    /// Queues a [dead](RunState::Dead) run anew; gives it as it is then.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the tenant has no such run, [`StoreError::Conflict`] when it is not dead.
    fn revive<'a>(&'a self, tenant: &'a TenantId, run: &'a RunId) -> BoxFuture<'a, Result<RunRecord, StoreError>>;

    /// Gives a [dead](RunState::Dead) run up: it is [cancelled](RunState::Cancelled) with this failure. Gives it as it
    /// is then.
    ///
    /// # Errors
    /// As for [`RunStore::revive`].
    fn discard<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        failure: Failure,
    ) -> BoxFuture<'a, Result<RunRecord, StoreError>>;

    /// Deletes at most `max` runs that fit; gives how many. Fewer than `max` means that no more do.
    fn purge<'a>(&'a self, filter: &'a PurgeFilter, max: usize) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// Sets how many runs of a workflow may be held at the same time; `None` lifts the limit. Runs that are held
    /// already go on.
    fn limit<'a>(
        &'a self,
        tenant: &'a TenantId,
        workflow: &'a WorkflowId,
        max: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The limits that are set, by workflow.
    fn limits<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<ConcurrencyLimit>, StoreError>>;

    /// Resolves once there may be something after number `after` in the inbox, or the run has ended or is asked to
    /// pause; at once when the tenant has no such run.
    fn changed(&self, tenant: &TenantId, run: &RunId, after: u64) -> BoxFuture<'static, ()>;

    /// How many runs wait, run and so on, over all tenants.
    fn stats(&self) -> BoxFuture<'_, Result<QueueStats, StoreError>>;
}
