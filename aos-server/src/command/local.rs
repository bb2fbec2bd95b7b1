//! Runs that happen in this process: one shot, on memory.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aos_core::driver::{Driven, Host, Observer, Stores, create};
use aos_core::event::RunFinished;
use aos_core::flow::Flows;
use aos_core::id::{RunId, TenantId, WorkerId};
use aos_core::memory::MemoryStore;
use aos_core::money::Money;
use aos_core::queue::Priority;
use aos_core::random::Seed;
use aos_core::replay::golden::GoldenFile;
use aos_core::runs::{Claim, Created, Lease, Message, NewRun};
use aos_core::skill::SkillSource;
use aos_core::time::Clock;
use aos_core::workflow::Plan;
use aos_core::{Failure, Payload, codes};

use super::ui::{CommandError, Exit};
use crate::history::History;
use crate::waits::Waits;

/// How often a lease is prolonged: well within the time that hosts ask for.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What a one-shot run is made from.
pub struct Job {
    pub run: RunId,
    pub plan: Arc<Plan>,
    pub input: Payload,
    pub seed: Seed,
    pub budget: Option<Money>,
    /// Sent before the run begins, in this order.
    pub signals: Vec<(String, Payload)>,
}

/// A run that has ended, with its history.
pub struct Ran {
    pub run: RunId,
    pub finished: RunFinished,
    pub history: History,
    flows: Arc<Flows>,
}

impl Ran {
    /// The run as a golden file.
    ///
    /// # Errors
    /// A history that does not replay.
    pub fn golden(self, note: &str) -> Result<GoldenFile, CommandError> {
        let (plan, lines, blobs) = self.history.into_ordered();
        Ok(GoldenFile::record(plan, &self.flows, lines, blobs, note).map_err(Failure::from)?)
    }
}

/// Stores in memory.
pub fn memory(clock: &Arc<dyn Clock>) -> Stores {
    let store = MemoryStore::new(Arc::clone(clock));
    let blobs = store.blobs();
    let store = Arc::new(store);
    Stores { runs: store.clone(), journal: store, blobs }
}

/// A host for one run.
pub fn host(
    stores: Stores,
    skills: Arc<dyn SkillSource>,
    flows: Flows,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
) -> Result<Host, CommandError> {
    let worker = WorkerId::new(format!("cli-{}", std::process::id()))
        .map_err(|e| Failure::new(codes::INTERNAL, e.to_string()))?;
    let mut host = Host::new(stores, skills, flows, clock, worker);
    host.observer = observer;
    // Timers are waited for, however long; a run that waits for its inbox only is given back, because what can be
    // sent to it has been sent.
    host.park_after = Some(Duration::MAX);
    Ok(host)
}

/// Runs a job to its end. `interrupted` resolves when the person who started it wants it to stop.
///
/// # Errors
/// A store that fails, or a run that waits for something nobody can send.
pub async fn run(host: &Host, job: Job, interrupted: impl Future<Output = ()>) -> Result<Ran, CommandError> {
    let hash = host.keep_plan(&job.plan).await?;
    let (run, tenant) = (job.run, TenantId::default());
    let new = NewRun {
        run: run.clone(),
        tenant: tenant.clone(),
        workflow: job.plan.workflow.clone(),
        plan: hash,
        input: job.input,
        seed: job.seed,
        budget: job.budget,
        parent: None,
        forked_from: None,
        idempotency_key: None,
        request_id: None,
        api_key: None,
        trace: None,
        priority: Priority::default(),
        start_at: None,
    };
    let runs = &host.stores.runs;
    let (Created::New(record, Some(lease)), begun) = create(host, new).await.map_err(Failure::from)? else {
        return Err(Failure::new(codes::CONFLICT, format!("the run {run} exists already")).into());
    };
    for (name, payload) in job.signals {
        runs.send(&tenant, &run, Message::Signal { name, payload }).await.map_err(Failure::from)?;
    }
    let leases = [lease.clone()];
    let driven = tokio::select! {
        driven = begun.drive(host, Claim { lease, record }) => driven?,
        never = heartbeats(host, &leases) => match never {},
        never = cancels(host, &leases[0], interrupted) => match never {},
    };
    let record = runs.get(&tenant, &run).await.map_err(Failure::from)?;
    let record = record.ok_or_else(|| Failure::new(codes::STORE_CORRUPT, format!("the run {run} has vanished")))?;
    let history = History::read(host, &record).await?.with_books(host).await?;
    match driven {
        Driven::Finished(finished) => Ok(Ran { run, finished, history, flows: Arc::clone(&host.flows) }),
        Driven::Parked => Err(waits(&run, &history)),
        Driven::LeaseLost => {
            Err(Failure::new(codes::FENCED, format!("another process took the run {run} over")).into())
        }
    }
}

/// Prolongs leases for ever. A lease that was lost is noticed by the next write.
async fn heartbeats(host: &Host, leases: &[Lease]) -> Infallible {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let _ = host.stores.runs.heartbeat(leases, host.lease).await;
    }
}

/// Asks the run to stop once the person at the terminal wants that.
async fn cancels(host: &Host, lease: &Lease, interrupted: impl Future<Output = ()>) -> Infallible {
    interrupted.await;
    let reason = "interrupted at the terminal".to_owned();
    // A run that has just ended can't be cancelled any more.
    let _ = host.stores.runs.send(&lease.tenant, &lease.run, Message::Cancel { reason }).await;
    std::future::pending().await
}

/// The error for a run that waits for signals which nobody will send.
fn waits(run: &RunId, history: &History) -> CommandError {
    let mut waits = Waits::default();
    if let Err(failure) = history.lines.iter().try_for_each(|line| waits.learn(line)) {
        return failure.into();
    }
    let names = waits.signals().join(", ");
    let message = format!("the run {run} waits for the signal {names}, and nobody is there to send it");
    CommandError::new(Exit::No, Failure::new(codes::CONFLICT, message))
        .hint("give it beforehand with --signal NAME=JSON, or run the workflow on a server")
}
