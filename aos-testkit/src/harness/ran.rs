//! What a simulation gives.

use std::collections::BTreeSet;
use std::sync::Arc;

use aos_core::canonical::Hash;
use aos_core::driver::Stores;
use aos_core::event::{Event, RunStatus};
use aos_core::flow::Flows;
use aos_core::id::{RunId, TenantId};
use aos_core::journal::{Line, blob_refs};
use aos_core::payload::Payload;
use aos_core::replay::golden::{GoldenError, GoldenFile};
use aos_core::replay::{ReplayError, Replayed, replay, verify_chain};
use aos_core::runs::{RunRecord, RunState};
use aos_core::workflow::Plan;
use aos_core::{Failure, codes};

use super::gate::Called;
use crate::recording::ERR_NOT_RECORDED;

/// A run that was simulated to its end.
#[derive(Clone)]
pub struct Ran {
    /// What was executed.
    pub plan: Arc<Plan>,
    /// The Rust workflows it may have needed.
    pub flows: Flows,
    /// The run as its store knows it: state, output, failure, cost, content hash.
    pub record: RunRecord,
    /// Its journal.
    pub lines: Vec<Line>,
    /// The payloads that the journal refers to by hash.
    pub blobs: Vec<Payload>,
    /// How many appends the simulation made, child runs included.
    pub appends: u64,
    /// Every attempt of every skill, in the order in which they began, child runs included.
    pub calls: Vec<Called>,
}

impl Ran {
    pub(super) async fn collect(
        stores: &Stores,
        plan: &Arc<Plan>,
        flows: Flows,
        run: &RunId,
        appends: u64,
        calls: Vec<Called>,
    ) -> Result<Self, Failure> {
        let tenant = TenantId::default();
        let missing = || Failure::new(codes::INTERNAL, format!("the simulated run {run} is not in its store"));
        let record = stores.runs.get(&tenant, run).await?.ok_or_else(missing)?;
        let lines = stores.journal.read(&tenant, run, 0, usize::MAX).await?;
        let mut blobs = Vec::new();
        for hash in lines.iter().flat_map(blob_refs).collect::<BTreeSet<Hash>>() {
            let bytes = stores.blobs.get(&hash).await?.ok_or_else(missing)?;
            let text = std::str::from_utf8(&bytes).map_err(|e| Failure::new(codes::STORE_CORRUPT, e.to_string()))?;
            blobs.push(Payload::parse(text)?);
        }
        Ok(Self { plan: Arc::clone(plan), flows, record, lines, blobs, appends, calls })
    }

    /// How the run ended; `None` when it was buried.
    pub const fn status(&self) -> Option<RunStatus> {
        match self.record.state {
            RunState::Succeeded => Some(RunStatus::Succeeded),
            RunState::Failed => Some(RunStatus::Failed),
            RunState::Cancelled => Some(RunStatus::Cancelled),
            RunState::Queued | RunState::Running | RunState::Parked | RunState::Paused | RunState::Dead => None,
        }
    }

    /// The run's content hash; zeros when it was buried.
    pub fn content_hash(&self) -> Hash {
        self.record.content_hash.unwrap_or(Hash::ZERO)
    }

    /// The first failure of an attempt that a [recording](crate::recording) had no result for.
    pub(crate) fn missing_recording(&self) -> Option<Failure> {
        let entries = verify_chain(&self.lines, &self.finder()).ok()?;
        entries.into_iter().find_map(|entry| match entry.event {
            Event::EffectFailed { failure, .. } | Event::AttemptFailed { failure, .. }
                if failure.code.as_str() == ERR_NOT_RECORDED =>
            {
                Some(failure)
            }
            _ => None,
        })
    }

    /// Replays the journal.
    ///
    /// # Errors
    /// Drift or damage: either is a fault of the workflow, or of AOS.
    pub fn replay(&self) -> Result<Replayed, ReplayError> {
        replay(Arc::clone(&self.plan), &self.flows, &self.lines, &self.finder())
    }

    /// Finds the payloads that the journal refers to by hash.
    pub fn finder(&self) -> impl Fn(&Hash) -> Option<Payload> + '_ {
        |hash| self.blobs.iter().find(|blob| blob.hash() == *hash).cloned()
    }

    /// The run as a golden file.
    ///
    /// # Errors
    /// As [`Ran::replay`].
    pub fn golden(&self, note: &str) -> Result<GoldenFile, GoldenError> {
        GoldenFile::record(Arc::clone(&self.plan), &self.flows, self.lines.clone(), self.blobs.clone(), note)
    }
}
