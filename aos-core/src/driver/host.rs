//! What a host brings: stores, skills, flows and a clock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::blob::BlobStore;
use crate::canonical::Hash;
use crate::driver::{Driven, create, drive};
use crate::engine::RunOptions;
use crate::error::{Failure, codes};
use crate::event::{CallEffect, RunFinished};
use crate::flow::Flows;
use crate::id::{RunId, WorkerId};
use crate::journal::{JournalStore, Line, blob_refs};
use crate::payload::Payload;
use crate::queue::Priority;
use crate::runs::{Claim, Created, Lease, NewRun, RunStore};
use crate::skill::{SkillResult, SkillSource};
use crate::time::{Clock, Timestamp};
use crate::trace::TraceParent;
use crate::workflow::Plan;

/// The stores of a host, by role; one backend usually plays all of them.
#[derive(Clone)]
pub struct Stores {
    /// Runs, leases, inboxes.
    pub runs: Arc<dyn RunStore>,
    /// Journals.
    pub journal: Arc<dyn JournalStore>,
    /// Plans and large payloads.
    pub blobs: Arc<dyn BlobStore>,
}

/// One attempt of a skill, as observers see it.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Under which right it was made.
    pub lease: &'a Lease,
    /// What was asked.
    pub call: &'a CallEffect,
    /// The span of what the worker does with the run.
    pub run: TraceParent,
    /// The attempt's own span, below that.
    pub trace: TraceParent,
}

/// Is told what happens, for metrics, logs and live events. Must not block.
pub trait Observer: Send + Sync {
    /// Entries of a run have become durable.
    fn appended(&self, _lease: &Lease, _lines: &[Line]) {}
    /// An attempt has ended.
    fn attempt_ended(&self, _attempt: &Attempt<'_>, _took: Duration, _result: &SkillResult) {}
    /// The driver is done with a claim: the run has ended, is parked or is lost, or can't be advanced.
    fn driven(&self, _claim: &Claim, _took: Duration, _result: &Result<Driven, Failure>) {}
    /// The driver has taken a lease of its own, for a child run: to be prolonged like the others.
    fn lease_taken(&self, _lease: &Lease) {}
    /// The driver is done with that lease, or has given it up: it is not to be prolonged any more.
    fn lease_ended(&self, _lease: &Lease) {}
}

/// An observer that doesn't care.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}

/// Everything that driving runs needs. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    /// Where state is kept.
    pub stores: Stores,
    /// Where skills come from.
    pub skills: Arc<dyn SkillSource>,
    /// The Rust workflows this host knows.
    pub flows: Arc<Flows>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Who claims runs.
    pub worker: WorkerId,
    /// Who is told.
    pub observer: Arc<dyn Observer>,
    /// How long a lease is asked for.
    pub lease: Duration,
    /// A run that would wait longer than this gives its lease back; `None` keeps every run in memory.
    pub park_after: Option<Duration>,
    plans: Arc<Mutex<HashMap<Hash, Arc<Plan>>>>,
}

/// How many plans a host remembers.
const PLANS_KEPT: usize = 1_000;

/// A finished run with its journal, as [`Host::run`] gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunReport {
    /// How it ended.
    pub finished: RunFinished,
    /// Its journal.
    pub lines: Vec<Line>,
}

impl Host {
    /// A host named `worker` that keeps every run in memory until it ends, asks for leases of 30 s, and tells nobody.
    pub fn new(
        stores: Stores,
        skills: Arc<dyn SkillSource>,
        flows: Flows,
        clock: Arc<dyn Clock>,
        worker: WorkerId,
    ) -> Self {
        Self {
            stores,
            skills,
            flows: Arc::new(flows),
            clock,
            worker,
            observer: Arc::new(NoObserver),
            lease: Duration::from_secs(30),
            park_after: None,
            plans: Arc::default(),
        }
    }

    /// Keeps a plan, so that runs can refer to it; gives its hash.
    ///
    /// # Errors
    /// A plan that can't be hashed, or a store that fails.
    pub async fn keep_plan(&self, plan: &Arc<Plan>) -> Result<Hash, Failure> {
        let hash = plan.hash()?;
        if self.remembered(&hash).is_none() {
            let text = Payload::from_serialize(&**plan)?;
            self.stores.blobs.put(text.as_str().as_bytes()).await?;
            self.remember(hash, plan);
        }
        Ok(hash)
    }

    /// The plan with this hash.
    ///
    /// # Errors
    /// [`codes::STORE_CORRUPT`] when the store doesn't have it, or has something else.
    pub async fn plan(&self, hash: &Hash) -> Result<Arc<Plan>, Failure> {
        if let Some(plan) = self.remembered(hash) {
            return Ok(plan);
        }
        let damaged = |why: String| Failure::new(codes::STORE_CORRUPT, format!("the plan {hash} {why}"));
        let bytes = self.stores.blobs.get(hash).await?.ok_or_else(|| damaged("is not in the store".into()))?;
        let plan: Plan = serde_json::from_slice(&bytes).map_err(|e| damaged(format!("can't be read: {e}")))?;
        let plan = Arc::new(plan);
        self.remember(*hash, &plan);
        Ok(plan)
    }

    fn remembered(&self, hash: &Hash) -> Option<Arc<Plan>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }

    fn remember(&self, hash: Hash, plan: &Arc<Plan>) {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= PLANS_KEPT {
            plans.clear();
        }
        plans.insert(hash, Arc::clone(plan));
    }

    /// The payloads that lines refer to by hash.
    ///
    /// # Errors
    /// A store that fails. A payload that is not there is left out: reading the line names it.
    pub async fn blobs_of(&self, lines: &[Line]) -> Result<HashMap<Hash, Payload>, Failure> {
        let mut blobs = HashMap::new();
        for hash in lines.iter().flat_map(blob_refs) {
            if let Some(bytes) = self.stores.blobs.get(&hash).await?
                && let Ok(text) = std::str::from_utf8(&bytes)
            {
                blobs.insert(hash, Payload::parse(text)?);
            }
        }
        Ok(blobs)
    }

    /// Creates a run, drives it to its end, and gives it with its journal: all that an embedder of small programs
    /// needs.
    ///
    /// # Errors
    /// As [`Host::run_to_end`].
    pub async fn run(&self, plan: &Arc<Plan>, input: Payload, options: RunOptions) -> Result<RunReport, Failure> {
        let (tenant, run) = (options.tenant.clone(), options.run.clone());
        let finished = self.run_to_end(plan, input, options).await?;
        let lines = self.stores.journal.read(&tenant, &run, 0, usize::MAX).await?;
        Ok(RunReport { finished, lines })
    }

    /// Creates a run under `options.run` and drives it to its end.
    ///
    /// # Errors
    /// As [`drive`]; [`codes::CONFLICT`] when the run exists already, or another worker has taken it.
    pub async fn run_to_end(
        &self,
        plan: &Arc<Plan>,
        input: Payload,
        options: RunOptions,
    ) -> Result<RunFinished, Failure> {
        let new = NewRun {
            run: options.run.clone(),
            tenant: options.tenant,
            workflow: plan.workflow.clone(),
            plan: self.keep_plan(plan).await?,
            input,
            seed: options.seed,
            budget: options.budget,
            parent: None,
            forked_from: options.forked_from,
            idempotency_key: None,
            request_id: None,
            api_key: None,
            trace: None,
            priority: Priority::default(),
            start_at: None,
        };
        let busy = || {
            let message = format!("the run {} exists and is not this host's to drive", options.run);
            Failure::new(codes::CONFLICT, message)
        };
        let (Created::New(record, Some(lease)), begun) = create(self, new).await? else { return Err(busy()) };
        match begun.drive(self, Claim { lease, record }).await? {
            Driven::Finished(finished) => Ok(finished),
            Driven::Parked | Driven::LeaseLost => Err(busy()),
        }
    }

    /// Claims up to `max` runs that are waiting for a worker, after a restart say, and drives them side by side; gives
    /// what became of each. None means that nothing is waiting.
    ///
    /// # Errors
    /// A store that can't be claimed from. A run that can't be driven is released and is an error in the list.
    pub async fn drive_claimable(&self, max: usize) -> Result<Vec<(RunId, Result<Driven, Failure>)>, Failure> {
        let claims = self.stores.runs.claim(&self.worker, max, self.lease).await?;
        let driven = claims.into_iter().map(|claim| async move {
            let lease = claim.lease.clone();
            let driven = drive(self, claim).await;
            if driven.is_err() {
                self.stores.runs.release(&lease).await?;
            }
            Ok((lease.run, driven))
        });
        futures_util::future::join_all(driven).await.into_iter().collect()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
