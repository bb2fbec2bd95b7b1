//! What the handlers share.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use aos_core::Failure;
use aos_core::driver::{self, Begun, Host};
use aos_core::id::TenantId;
use aos_core::llm::{Adapters, PriceBook};
use aos_core::registry::{Registry, RegistryStore};
use aos_core::runs::{Claim, Created, NewRun, RunRecord};
use aos_core::time::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::audit::Audit;
use crate::backend::Control;
use crate::backend::redis::Redis;
use crate::backlog::Backlog;
use crate::gate::Gate;
use crate::hub::Hub;
use crate::plans::{PlanKey, Plans, ReadyPlan};
use crate::switchboard::Switchboard;
use crate::telemetry::{Metrics, Tracer};
use crate::worker::Worker;
use crate::worker::report::Live;
use crate::worker::verify::SharedFindings;

/// Everything the handlers need. Cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

/// The parts of the state.
pub struct Parts {
    /// Stores, skills, flows and clock.
    pub host: Host,
    /// What the installation is steered by, beside its runs.
    pub control: Control,
    /// What keeps this process at what the switches say.
    pub switchboard: Switchboard,
    /// How many workers are alive.
    pub live: Live,
    /// Who changed what.
    pub audit: Audit,
    /// Who may do what.
    pub gate: Gate,
    /// Skills and workflows.
    pub registry: Registry,
    /// Where they are kept.
    pub registry_store: Arc<dyn RegistryStore>,
    /// Bindings to language models, with the operator's switches.
    pub adapters: Adapters,
    /// What calls of them cost.
    pub prices: Arc<PriceBook>,
    /// Calls of them under way.
    pub calls: TaskTracker,
    /// Plans that are ready to run.
    pub plans: Plans,
    /// How many runs wait.
    pub backlog: Backlog,
    /// The in-process worker.
    pub worker: Worker,
    /// Who waits for which run.
    pub hub: Arc<Hub>,
    /// Redis, when there is one.
    pub redis: Option<Redis>,
    /// What is counted.
    pub metrics: Metrics,
    /// Where spans go.
    pub tracer: Tracer,
    /// What replays have found.
    pub findings: SharedFindings,
    /// On whose behalf requests are answered.
    pub tenant: TenantId,
    /// When the process began.
    pub started: Timestamp,
    /// Set when the process was asked to end: it is not ready any more, and answers all the same for a while.
    pub leaving: CancellationToken,
    /// Set when the process is about to end: streams come to an end then.
    pub stopping: CancellationToken,
}

impl AppState {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The plan of a registered workflow: `id`, `id@1.2.3` or `id@^1`.
    ///
    /// # Errors
    /// No version that fits, or none that is enabled; a store that fails.
    pub async fn ready(&self, workflow: &str) -> Result<Arc<ReadyPlan>, Failure> {
        let revision = self.registry.revision();
        let resolve = || Ok(self.registry.describe_workflow(workflow)?.plan.clone());
        let ready = self.plans.get(&self.host, revision, PlanKey::Named(workflow.to_owned()), resolve).await;
        self.metrics.registry_operation("resolve", ready.is_ok());
        ready
    }

    /// Makes a run durable and begins it here if there is room; says whether it is new.
    ///
    /// # Errors
    /// As [`RunStore::create`](aos_core::runs::RunStore::create), and a [full queue](Backlog::admit).
    pub async fn accept(self, new: NewRun) -> Result<(RunRecord, bool), Failure> {
        if let Err(full) = self.backlog.admit() {
            // Whoever asks again for what was accepted before still gets it.
            let Some(key) = &new.idempotency_key else { return Err(full) };
            let known = self.host.stores.runs.by_key(&new.tenant, key).await?.ok_or(full)?;
            known.same_request(&new)?;
            return Ok((known, false));
        }
        let slot = self.worker.slot();
        let (created, begun) = match &slot {
            Some(_) => driver::create(&self.host, new).await?,
            None => (self.host.stores.runs.create(new, None).await?, Begun::default()),
        };
        match created {
            Created::New(record, Some(lease)) => {
                if let Some(slot) = slot {
                    slot.start(Claim { lease, record: record.clone() }, begun);
                }
                Ok((record, true))
            }
            Created::New(record, None) => {
                self.backlog.queued();
                self.worker.arrived();
                Ok((record, true))
            }
            Created::Existing(record) => Ok((record, false)),
        }
    }

    /// The time, by the clock of all processes that share the state of record.
    pub fn now(&self) -> Timestamp {
        self.host.clock.now()
    }

    /// Whether the process takes on work, and will for all it knows.
    pub fn stays(&self) -> bool {
        self.worker.accepts() && !self.leaving.is_cancelled()
    }
}

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Carries a write to its end even if the caller goes away meanwhile: a handler is dropped with its connection, and a
/// half-done write is what nobody wants to clean up.
///
/// # Panics
/// When `work` panics: the panic goes on in the caller, whose middleware reports it.
pub async fn durable<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work.in_current_span()).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Nobody aborts the task, so it ends this way only while the runtime itself is going down.
            Err(_) => std::future::pending().await,
        },
    }
}
