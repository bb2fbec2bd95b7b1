//! The workload: a plan of five steps, the skill they call, a host and a server that have it.

use std::sync::Arc;
use std::time::Duration;

use aos_core::driver::{Host, Stores};
use aos_core::flow::Flows;
use aos_core::id::WorkerId;
use aos_core::llm::{Adapters, PriceBook, Switches};
use aos_core::memory::TokioClock;
use aos_core::registry::Registry;
use aos_core::skill::{Skill, SkillContract, SkillOutput, TypedSkill};
use aos_core::workflow::{Definition, Plan};
use aos_core::{Failure, Payload};
use aos_server::backend::Backend;
use aos_server::clock::SystemClock;
use aos_server::config::Access;
use aos_server::hub::Hub;
use aos_server::server::{Ingredients, Role, Server};
use aos_server::telemetry::{Metrics, Tracer};
use aos_server::worker::WorkerSettings;
use aos_server::worker::report::Live;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::Result;

/// Steps of one run.
pub const STEPS: usize = 5;

/// A recorded skill that gives 200 bytes at once. It is not pure, so nothing may be left out of the journal.
fn skill() -> std::result::Result<Arc<dyn Skill>, Failure> {
    let output = Payload::new(json!({"text": "x".repeat(189)}))?;
    let skill = TypedSkill::untyped(SkillContract::idempotent("work", "1.0.0")?, move |_| {
        std::future::ready(Ok(SkillOutput::from(output.clone())))
    });
    Ok(Arc::new(skill))
}

fn definition() -> Value {
    let step = |n: usize| {
        if n == 0 {
            return json!({"id": "s0", "skill": "work", "params": {"n": "{{ input.n }}"}});
        }
        json!({"id": format!("s{n}"), "skill": "work", "params": {"n": n}, "needs": [format!("s{}", n - 1)]})
    };
    let steps: Vec<_> = (0..STEPS).map(step).collect();
    json!({"id": "w1", "steps": steps, "output": "{{ steps.s4.output }}"})
}

fn registry() -> std::result::Result<Registry, Failure> {
    let registry = Registry::new();
    registry.register(skill()?, aos_server::clock::now())?;
    Ok(registry)
}

pub fn plan() -> std::result::Result<Arc<Plan>, Failure> {
    Ok(Arc::new(Definition::from_value(definition())?.plan(&registry()?)?))
}

pub fn input() -> Payload {
    Payload::new(json!({"n": 7})).unwrap_or_default()
}

pub fn host(stores: Stores) -> std::result::Result<Host, Failure> {
    let worker = WorkerId::new("w1").map_err(|e| Failure::new(aos_core::codes::INTERNAL, e.to_string()))?;
    Ok(Host::new(stores, Arc::new(registry()?), Flows::new(), Arc::new(TokioClock), worker))
}

/// The body of a request that creates a run.
pub fn request() -> String {
    json!({"workflow": "w1", "input": input()}).to_string()
}

/// A server on a socket, with the workload's skill and workflow.
pub struct Served {
    pub url: String,
    stop: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<std::result::Result<(), Failure>>,
    backend: Backend,
}

pub async fn serve(backend: Backend) -> Result<Served> {
    let server = Server::new(Ingredients {
        stores: backend.stores(),
        registry_store: backend.registry(),
        control: backend.control(),
        skills: vec![skill()?],
        flows: (Flows::new(), Vec::new()),
        adapters: Adapters::new(Arc::new(Switches::default())),
        prices: Arc::new(PriceBook::builtin()?),
        calls: TaskTracker::new(),
        clock: Arc::new(SystemClock),
        worker: WorkerSettings::new(WorkerId::new("w1")?, 128),
        redis: None,
        hub: Hub::new(),
        live: Live::default(),
        max_queued: 0,
        metrics: Metrics::new()?,
        tracer: Tracer::default(),
        log_skill_params: false,
        audit_key: None,
        access: Access::Open,
    })
    .await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let (stop, stopped) = oneshot::channel();
    let serving =
        tokio::spawn(server.start(Role::Serve).serve(listener, Duration::ZERO, async move { drop(stopped.await) }));
    let answer = reqwest::Client::new()
        .post(format!("{url}/v1/workflows"))
        .header("content-type", "application/json")
        .body(definition().to_string())
        .send()
        .await?;
    if !answer.status().is_success() {
        return Err(format!("the workflow was refused: {}", answer.text().await?).into());
    }
    Ok(Served { url, stop, serving, backend })
}

impl Served {
    pub async fn stop(self) {
        let _gone = self.stop.send(());
        if let Ok(Err(failure)) = self.serving.await {
            println!("serving ended with {failure}");
        }
        self.backend.close().await;
    }
}
