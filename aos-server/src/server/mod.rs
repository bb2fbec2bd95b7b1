//! The server put together: from its parts to a process that answers, works, and ends in order.

mod running;
mod tls;

pub use running::{LAST_REQUESTS, Running, Socket};
pub use tls::TlsListener;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aos_core::audit::Stage;
use aos_core::driver::{Host, Stores};
use aos_core::flow::Flows;
use aos_core::id::{TenantId, WorkerId};
use aos_core::keys::KeyText;
use aos_core::llm::{Adapters, PriceBook};
use aos_core::registry::{Registry, RegistryStore};
use aos_core::skill::Skill;
use aos_core::skill::schema::JsonSchemas;
use aos_core::time::{Clock, Timestamp};
use aos_core::workflow::Plan;
use aos_core::{Failure, codes};
use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::{Act, Audit, AuditKey};
use crate::backend::redis::{Hint, Redis};
use crate::backend::{Backend, Control};
use crate::backlog::{self, Backlog};
use crate::clock;
use crate::config::{Access, Config, Database};
use crate::gate::Gate;
use crate::http;
use crate::hub::{HeardJournal, Hub};
use crate::llm::{self, Surroundings};
use crate::plans::Plans;
use crate::schedule;
use crate::skill;
use crate::skill::limited::SkillLimits;
use crate::state::{AppState, Parts};
use crate::switchboard::Switchboard;
use crate::telemetry::{Metrics, Observed, Tracer};
use crate::worker::report::{Live, keep_reporting};
use crate::worker::verify::{Verification, verification};
use crate::worker::{Leases, Worker, WorkerSettings};

/// A run that would wait longer than this gives its worker back.
const PARK_AFTER: Duration = Duration::from_secs(1);

/// How long a server goes on answering that shares its database with others, unless settings say otherwise: the time
/// in which load balancers notice that it is not ready.
pub const LEAVE_AFTER: Duration = Duration::from_secs(3);

/// How long to leave a store alone that failed to tell about the registry.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// What a process does beside advancing runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It answers the whole API.
    Serve,
    /// It answers questions about its health, and no others.
    Worker,
}

impl Role {
    /// The role as operators read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Worker => "worker",
        }
    }
}

/// What a server is made of.
pub struct Ingredients {
    /// Runs, journals and blobs.
    pub stores: Stores,
    /// Where skills and workflows are kept.
    pub registry_store: Arc<dyn RegistryStore>,
    /// What the installation is steered by, beside its runs.
    pub control: Control,
    /// Skills that this server executes.
    pub skills: Vec<Arc<dyn Skill>>,
    /// Rust workflows, with the plan of each.
    pub flows: (Flows, Vec<Arc<Plan>>),
    /// Bindings to language models.
    pub adapters: Adapters,
    /// What calls of them cost.
    pub prices: Arc<PriceBook>,
    /// Calls of them under way: waited for at the end, for what they cost.
    pub calls: TaskTracker,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// How the worker works.
    pub worker: WorkerSettings,
    /// No run is accepted when this many are queued; 0 for no bound.
    pub max_queued: u64,
    /// Redis, and the store whose changes are made known by it.
    pub redis: Option<(Redis, Backend)>,
    /// Who waits for which run; with hints of `redis` when there is one.
    pub hub: Arc<Hub>,
    /// How many workers are alive.
    pub live: Live,
    /// What is counted; share it with the adapters.
    pub metrics: Metrics,
    /// Where spans go; share it with the adapters.
    pub tracer: Tracer,
    /// Whether inputs and outputs of skills are logged.
    pub log_skill_params: bool,
    /// What checkpoints of the audit log are signed with.
    pub audit_key: Option<AuditKey>,
    /// Who has to have an API key.
    pub access: Access,
}

/// What a process brings to the registry.
#[derive(Clone, Copy)]
enum Brings {
    /// The skills of its release.
    Skills,
    Nothing,
}

/// A server that answers nobody and does nothing yet.
pub struct Server {
    state: AppState,
    verification: Verification,
    limits: SkillLimits,
    backend: Option<Backend>,
}

impl Server {
    /// Puts a server together: reads the registry, and registers the skills and Rust workflows it brings.
    ///
    /// # Errors
    /// A store that fails, or a skill that is registered with another contract under the same version.
    pub async fn new(ingredients: Ingredients) -> Result<Self, Failure> {
        let Ingredients {
            stores,
            registry_store,
            control,
            skills,
            flows,
            adapters,
            prices,
            calls,
            clock,
            worker,
            max_queued,
            redis,
            hub,
            live,
            metrics,
            tracer,
            log_skill_params,
            audit_key,
            access,
        } = ingredients;
        let (redis, backend) = redis.unzip();
        let registry = Registry::build(TenantId::default(), Arc::new(JsonSchemas::new()));
        registry.refresh(&*registry_store).await?;
        register(&registry, &*registry_store, &skills, &flows.1, clock.now()).await?;
        let leases = Leases::new();
        let (verifier, verification, findings) = verification(metrics.clone());
        let journal = HeardJournal::new(stores.journal, Arc::clone(&hub), verifier, metrics.clone());
        let stores = Stores { journal: Arc::new(journal), ..stores };
        let limits = SkillLimits::new(Arc::clone(&control.slots), TenantId::default(), worker.id.clone(), worker.lease);
        limits.refresh().await?;
        let source = limits.around(Arc::new(registry.clone()));
        let mut host = Host::new(stores.clone(), source, flows.0, Arc::clone(&clock), worker.id.clone());
        host.observer = Arc::new(Observed::new(metrics.clone(), tracer.clone(), leases.clone(), log_skill_params));
        host.lease = worker.lease;
        host.park_after = Some(PARK_AFTER);
        let driver = Arc::new(host.clone());
        let worker = Worker::new(worker, driver, stores, clock, leases, Arc::clone(&hub), metrics.clone());
        let switches = Arc::clone(adapters.switches());
        let switchboard =
            Switchboard::new(Arc::clone(&control.switches), Arc::clone(&host.clock), switches, worker.clone());
        switchboard.read().await?;
        let tenant = TenantId::default();
        let gate = Gate::new(Arc::clone(&control.keys), tenant.clone(), Arc::clone(&host.clock), access);
        let audit = Audit::new(Arc::clone(&control.audit), tenant.clone(), audit_key);
        let state = AppState::new(Parts {
            host,
            control,
            switchboard,
            live,
            audit,
            gate,
            registry,
            registry_store,
            adapters,
            prices,
            calls,
            plans: Plans::new(Arc::new(JsonSchemas::new())),
            backlog: Backlog::new(max_queued),
            worker,
            hub,
            redis,
            metrics,
            tracer,
            findings,
            tenant,
            started: clock::now(),
            leaving: CancellationToken::new(),
            stopping: CancellationToken::new(),
        });
        Ok(Self { state, verification, limits, backend })
    }

    /// The server that settings describe, on its state of record; gives that too, to be closed at the end.
    ///
    /// # Errors
    /// As [`Server::new`]; a file that can't be opened; TLS that can't be set up.
    pub async fn from_config(config: &Config) -> Result<(Self, Backend), Failure> {
        let backend = Backend::open(&config.database).await?;
        let left = backend.begin_work().await?;
        if left > 0 {
            tracing::warn!(runs = left, "the server before this one was killed; going on with the runs it had in hand");
        }
        // Runs are recorded with its hash.
        backend.stores().blobs.put(config.prices.to_json().as_bytes()).await?;
        Ok((Self::on(&backend, config, Brings::Skills, config.listen.access).await?, backend))
    }

    /// The API on a database that others may be working on, for whoever can open that. It registers nothing, changes no
    /// tables and advances no runs.
    ///
    /// # Errors
    /// As [`Server::from_config`]; tables that lack changes of this release.
    pub async fn beside(config: &Config) -> Result<(Self, Backend), Failure> {
        let backend = Backend::open_as_it_is(&config.database).await?;
        let server = Self::on(&backend, config, Brings::Nothing, Access::Open).await?;
        // What is created here is left for a server to advance.
        server.state.worker.stop();
        Ok((server, backend))
    }

    async fn on(backend: &Backend, config: &Config, brings: Brings, access: Access) -> Result<Self, Failure> {
        let metrics = Metrics::new()?;
        backend.measure(&metrics);
        let redis = match &config.redis {
            Some(url) => Some(Redis::open(url, metrics.clone()).await?),
            None => None,
        };
        let (hub, live) = match &redis {
            Some(redis) => (Hub::with_hints(redis.hints().clone()), Live::default()),
            None => (Hub::new(), Live::default()),
        };
        let tracer = match (&config.log.otlp_endpoint, brings) {
            (Some(endpoint), Brings::Skills) => Tracer::to(endpoint, config.log.trace_share)?,
            _ => Tracer::default(),
        };
        let prices = Arc::new(config.prices.clone());
        let mut around = Surroundings::shared(Arc::clone(&prices), backend, redis.as_ref(), &live, &metrics);
        around.tracer = tracer.clone();
        let adapters = llm::watched(llm::adapters(config, &around)?, &hub);
        let id = format!("{}-{}", std::process::id(), uuid::Uuid::now_v7().simple());
        let id = WorkerId::new(id).map_err(|e| Failure::new(codes::INTERNAL, e.to_string()))?;
        Self::new(Ingredients {
            stores: backend.stores(),
            registry_store: backend.registry(),
            control: backend.control(),
            skills: match brings {
                Brings::Skills => skill::all(config, &adapters)?,
                Brings::Nothing => Vec::new(),
            },
            flows: (Flows::new(), Vec::new()),
            adapters,
            prices,
            calls: around.tasks,
            clock: backend.clock(),
            worker: WorkerSettings { lease: config.worker.lease, ..WorkerSettings::new(id, config.worker.concurrency) },
            max_queued: config.worker.max_queued,
            redis: redis.map(|redis| (redis, backend.clone())),
            hub,
            live,
            metrics,
            tracer,
            log_skill_params: config.log.skill_params,
            audit_key: config.audit_key.clone(),
            access,
        })
        .await
    }

    /// What the handlers share.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// The API, without a socket.
    pub fn router(&self) -> Router {
        http::router(self.state.clone())
    }

    /// Begins to work: claims and advances runs, begins those of schedules, replays ended ones, follows registry and
    /// switches.
    pub fn start(self, role: Role) -> Running {
        let Self { state, verification, limits, backend } = self;
        let done = CancellationToken::new();
        let worker = tokio::spawn({
            let worker = state.worker.clone();
            async move { worker.run().await }
        });
        let mut background = vec![
            tokio::spawn(verification.run(state.host.clone(), done.clone())),
            tokio::spawn(follow_registry(state.clone(), done.clone())),
            tokio::spawn(state.switchboard.clone().follow(done.clone())),
            tokio::spawn(limits.keep(done.clone())),
            tokio::spawn(keep_reporting(
                state.worker.clone(),
                Arc::clone(&state.control.workers),
                role,
                state.live.clone(),
                done.clone(),
            )),
            tokio::spawn(backlog::keep_counting(state.clone(), done.clone())),
            tokio::spawn(schedule::run(state.clone(), done.clone())),
            tokio::spawn(llm::keep_sweeping(state.clone(), done.clone())),
            tokio::spawn(state.gate.clone().keep_noting(done.clone())),
        ];
        if let (Some(redis), Some(backend)) = (&state.redis, backend) {
            backend.tell(redis.hints().clone());
            background.push(tokio::spawn(hear(state.clone(), backend, done.clone())));
        }
        Running { state, role, worker, background, done }
    }
}

/// Runs the process that settings describe until `shutdown` resolves. `listening` is told once requests are answered, and
/// given the first API key if this process has made it: nobody else will show it.
///
/// # Errors
/// As [`Server::from_config`]; an address that can't be listened on.
pub async fn run(
    role: Role,
    config: &Config,
    listening: impl FnOnce(SocketAddr, &Backend, &AppState, Option<KeyText>),
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let address = config.listen.address();
    let taken = |e: std::io::Error| {
        Failure::new(codes::INVALID_SETTING, format!("HOST and PORT are {address}: can't listen there: {e}"))
    };
    // Before anything else: a second server on the same port should say so and touch nothing.
    let listener = TcpListener::bind(address).await.map_err(taken)?;
    let (server, backend) = Server::from_config(config).await?;
    let running = server.start(role);
    let first_key = match role {
        Role::Serve => first_key(running.state()).await?,
        Role::Worker => None,
    };
    let address = listener.local_addr().map_err(taken)?;
    let socket = match &config.tls {
        Some(files) => Socket::Tls(TlsListener::new(listener, files.clone())?),
        None => Socket::Plain(listener),
    };
    listening(address, &backend, running.state(), first_key);
    let tracer = running.state().tracer.clone();
    let served = running.serve(socket, leave_after(role, config), shutdown).await;
    tracer.close().await;
    backend.close().await;
    served
}

/// The first key, if this process makes it.
async fn first_key(state: &AppState) -> Result<Option<KeyText>, Failure> {
    let key = state.gate.make_first().await?;
    if let Some(key) = &key {
        let act = Act {
            actor: "the server, at its start".into(),
            action: "createKey".into(),
            subject: "the first key".into(),
            request_id: None,
        };
        let made = serde_json::json!({"made": key.id().as_str()});
        state.audit.ended(&act, Stage::Done, made.to_string()).await;
    }
    Ok(key)
}

/// Only a server that shares its database has others beside it to which a load balancer can turn.
fn leave_after(role: Role, config: &Config) -> Duration {
    match (role, &config.database) {
        (Role::Serve, Database::Postgres(_)) => config.listen.drain_delay.unwrap_or(LEAVE_AFTER),
        (Role::Serve, Database::Sqlite(_)) => config.listen.drain_delay.unwrap_or_default(),
        (Role::Worker, _) => Duration::ZERO,
    }
}

async fn register(
    registry: &Registry,
    store: &dyn RegistryStore,
    skills: &[Arc<dyn Skill>],
    plans: &[Arc<Plan>],
    now: Timestamp,
) -> Result<(), Failure> {
    for skill in skills {
        registry.commit(store, |registry| registry.register(Arc::clone(skill), now)).await?;
    }
    for plan in plans {
        let code = serde_json::Value::Null;
        registry.commit(store, |registry| registry.register_plan(code.clone(), Arc::clone(plan), now)).await?;
    }
    Ok(())
}

/// Passes on what other processes give hints of.
async fn hear(state: AppState, backend: Backend, done: CancellationToken) {
    let Some(redis) = &state.redis else { return };
    let passed_on = |hint: Hint| {
        state.hub.hear(&hint);
        backend.hear(&hint);
        if hint == Hint::Switches {
            state.switchboard.look();
        }
    };
    done.run_until_cancelled(redis.hints().listen(passed_on)).await;
}

/// Takes over what other processes, or an operator in the database, change in the registry.
async fn follow_registry(state: AppState, done: CancellationToken) {
    loop {
        tokio::select! {
            () = done.cancelled() => return,
            result = state.registry.next_refresh(&*state.registry_store) => if let Err(failure) = result {
                tracing::error!(code = %failure.code, error = failure.message, "the registry could not be refreshed");
                tokio::time::sleep(AFTER_ERROR).await;
            },
        }
    }
}
