//! A whole server on stores in memory, with a few Rust workflows and skills.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aos_core::driver::Stores;
use aos_core::flow::{Ctx, Flows};
use aos_core::id::{RunId, WorkerId};
use aos_core::journal::{Append, Transition};
use aos_core::llm::{Adapters, PriceBook, StubAdapter, Switches};
use aos_core::memory::{MemoryRegistry, MemorySchedules, MemoryStore, VirtualClock};
use aos_core::money::Money;
use aos_core::queue::Priority;
use aos_core::random::Seed;
use aos_core::runs::{Created, FirstLease, NewRun};
use aos_core::skill::{Skill, SkillCall, SkillContract, SkillOutput, TypedSkill};
use aos_core::time::Clock;
use aos_core::workflow::{Plan, PlanBuilder};
use aos_core::{Failure, Payload, codes};
use aos_server::backend::Control;
use aos_server::clock::SystemClock;
use aos_server::config::Access;
use aos_server::hub::Hub;
use aos_server::server::{Ingredients, Role, Running, Server};
use aos_server::state::AppState;
use aos_server::telemetry::{Metrics, Tracer};
use aos_server::worker::WorkerSettings;
use aos_server::worker::report::Live;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// How often `count` was called: forks and replays must not call it again.
pub type Calls = Arc<AtomicU64>;

/// Whether `break` and `charge` do their work.
type Mended = Arc<AtomicBool>;

pub struct Api {
    pub router: Router,
    pub running: Running,
    pub calls: Calls,
    mended: Mended,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

fn control() -> Control {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Control::in_memory(&clock)
}

impl Api {
    pub async fn new() -> Self {
        Self::with(8).await
    }

    pub async fn with(concurrency: usize) -> Self {
        Self::bounded(concurrency, 0).await
    }

    /// One that accepts only so many queued runs.
    pub async fn bounded(concurrency: usize, max_queued: u64) -> Self {
        Self::controlled(concurrency, max_queued, control(), Access::Open, Arc::new(SystemClock)).await
    }

    /// One that is steered by this.
    pub async fn steered(control: Control) -> Self {
        Self::controlled(8, 0, control, Access::Open, Arc::new(SystemClock)).await
    }

    /// One whose schedules go by a clock of their own.
    pub async fn scheduled(clock: &VirtualClock) -> Self {
        let schedules = Arc::new(MemorySchedules::new(Arc::new(clock.clone())));
        Self::controlled(8, 0, Control { schedules, ..control() }, Access::Open, Arc::new(SystemClock)).await
    }

    /// One that may want API keys, and goes by a clock of its own.
    pub async fn guarded(access: Access, clock: &VirtualClock) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(clock.clone());
        Self::controlled(8, 0, Control::in_memory(&clock), access, clock).await
    }

    async fn controlled(
        concurrency: usize,
        max_queued: u64,
        control: Control,
        access: Access,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let store = MemoryStore::new(Arc::clone(&clock));
        let blobs = store.blobs();
        let store = Arc::new(store);
        let stores = Stores { runs: store.clone(), journal: store, blobs };
        let (calls, mended) = (Calls::default(), Mended::default());
        let mut worker = WorkerSettings::new(WorkerId::new("test").unwrap(), concurrency);
        worker.poll = Duration::from_millis(20);
        let server = Server::new(Ingredients {
            stores,
            registry_store: Arc::new(MemoryRegistry::new()),
            control,
            skills: skills(&calls, &mended),
            flows: flows(),
            adapters: Adapters::new(Arc::new(Switches::default())).with(Arc::new(StubAdapter)),
            prices: Arc::new(PriceBook::builtin().unwrap()),
            calls: TaskTracker::new(),
            clock,
            worker,
            redis: None,
            hub: Hub::new(),
            live: Live::default(),
            max_queued,
            metrics: Metrics::new().unwrap(),
            tracer: Tracer::default(),
            audit_key: None,
            log_skill_params: false,
            access,
        })
        .await
        .unwrap();
        let router = server.router();
        Self { router, running: server.start(Role::Serve), calls, mended }
    }

    pub fn state(&self) -> &AppState {
        self.running.state()
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(json_request(Method::POST, path, body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(json_request(Method::PUT, path, body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Request::delete(path).body(Body::empty()).unwrap()).await
    }

    pub async fn post_empty(&self, path: &str) -> Answer {
        self.send(Request::post(path).body(Body::empty()).unwrap()).await
    }

    /// Makes `break` and `charge` work from now on.
    pub fn mend(&self) {
        self.mended.store(true, Ordering::SeqCst);
    }

    /// Makes a run of a workflow that died before it began; gives its id.
    pub async fn dead(&self, workflow: &str) -> String {
        let state = self.state();
        let plan = state.registry.describe_workflow(workflow).unwrap().plan.clone();
        let new = NewRun {
            run: RunId::new(uuid::Uuid::now_v7().to_string()).unwrap(),
            tenant: state.tenant.clone(),
            workflow: plan.workflow.clone(),
            plan: state.host.keep_plan(&plan).await.unwrap(),
            input: Payload::new(json!(1)).unwrap(),
            seed: Seed::default(),
            budget: None,
            parent: None,
            forked_from: None,
            idempotency_key: None,
            request_id: None,
            api_key: None,
            trace: None,
            priority: Priority::default(),
            start_at: None,
        };
        let claim = Some(FirstLease::new(WorkerId::new("unlucky").unwrap(), Duration::from_secs(600)));
        let created = state.host.stores.runs.create(new, claim).await.unwrap();
        let Created::New(record, Some(lease)) = created else { panic!("{created:?}") };
        let transition = Transition::Bury(Failure::new(codes::RUN_DEAD, "five workers have died"));
        let bury = Append { lease, first_index: 0, lines: vec![], blobs: vec![], transition };
        state.host.stores.journal.append(bury).await.unwrap();
        record.new.run.to_string()
    }

    /// Creates a run and waits for its end.
    pub async fn run(&self, workflow: &str, input: Value) -> Value {
        self.post("/v1/runs?wait=30s", &json!({"workflow": workflow, "input": input})).await.is(201).json()
    }

    /// Asks for the run until it is in one of these states.
    pub async fn until(&self, run: &Value, states: &[&str]) -> Value {
        let path = run["links"]["self"].as_str().unwrap();
        for _ in 0..2_000 {
            let run = self.get(path).await.is(200).json();
            if states.contains(&run["state"].as_str().unwrap()) {
                return run;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{path} never came to one of {states:?}: {}", self.get(path).await.text);
    }
}

pub fn json_request(method: Method, path: &str, body: &Value) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

impl Answer {
    /// Fails unless the answer has this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// The problem document, once everything that each has to have is there.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Value {
        let answer = self.is(status);
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{}", answer.text);
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["type"], format!("urn:aos:error:{code}"), "{problem}");
        assert_eq!(problem["request_id"], answer.headers["x-request-id"].to_str().unwrap(), "{problem}");
        for field in ["title", "detail"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {problem}");
        }
        problem
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name}: {:?}", self.headers)).to_str().unwrap()
    }
}

fn contracts() -> [SkillContract; 5] {
    [
        SkillContract::idempotent("count", "1.0.0").unwrap().estimate(Money::from_cents(2)),
        SkillContract::idempotent("break", "1.0.0").unwrap(),
        SkillContract::idempotent("hang", "1.0.0").unwrap(),
        SkillContract::once("charge", "1.0.0").unwrap(),
        SkillContract::pure("shout", "1.0.0").unwrap().schemas(json!({"type": "string"}), json!({"type": "string"})),
    ]
}

fn skills(calls: &Calls, mended: &Mended) -> Vec<Arc<dyn Skill>> {
    let [count, broken, hang, charge, shout] = contracts();
    let calls = Arc::clone(calls);
    let count = TypedSkill::untyped(count, move |call| {
        calls.fetch_add(1, Ordering::SeqCst);
        async move { Ok(SkillOutput { output: call.input, cost: Money::from_cents(1) }) }
    });
    let work = |mended: Mended| {
        move |call: SkillCall| {
            let works = mended.load(Ordering::SeqCst);
            async move {
                let broken = || Failure::new(codes::SKILL_FAILED, "it is broken").details(json!({"part": 7}));
                if works { Ok(SkillOutput::from(call.input)) } else { Err(broken()) }
            }
        }
    };
    let broken = TypedSkill::untyped(broken, work(Arc::clone(mended)));
    let charge = TypedSkill::untyped(charge, work(Arc::clone(mended)));
    let hang = TypedSkill::untyped(hang, |_| async {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        Ok(SkillOutput::default())
    });
    let shout = TypedSkill::untyped(shout, |call| async move {
        let text: String = call.input.to()?;
        Ok(Payload::from_serialize(&text.to_uppercase())?.into())
    });
    vec![Arc::new(count), Arc::new(broken), Arc::new(hang), Arc::new(charge), Arc::new(shout)]
}

fn flows() -> (Flows, Vec<Arc<Plan>>) {
    let mut flows = Flows::new();
    flows.register("five", "1.0.0", five).unwrap();
    flows.register("five", "1.1.0", five).unwrap();
    flows.register("broken", "1.0.0", broken).unwrap();
    flows.register("approve", "1.0.0", approve).unwrap();
    flows.register("order", "1.0.0", order).unwrap();
    flows.register("hang", "1.0.0", hang).unwrap();
    flows.register("nap", "1.0.0", nap).unwrap();
    flows.register("parent", "1.0.0", parent).unwrap();
    let plan = |id: &str, version: &str| {
        let plan = PlanBuilder::code(id, version).unwrap();
        contracts().iter().fold(plan, |plan, contract| plan.skill(contract).unwrap())
    };
    let mut strict = Plan::clone(&plan("five", "1.1.0").build());
    strict.input_schema = Some(json!({
        "type": "object",
        "properties": {"x": {"type": "integer"}, "y": {"type": "string"}},
        "required": ["x"],
    }));
    let nap_plan = plan("nap", "1.0.0").build();
    let plans = vec![
        plan("five", "1.0.0").build(),
        Arc::new(strict),
        plan("broken", "1.0.0").build(),
        plan("approve", "1.0.0").build(),
        plan("order", "1.0.0").build(),
        plan("hang", "1.0.0").build(),
        nap_plan.clone(),
        plan("parent", "1.0.0").child(nap_plan).build(),
    ];
    (flows, plans)
}

async fn five(ctx: Ctx, input: Value) -> Result<Value, Failure> {
    let mut last = input;
    for step in 0..5 {
        last = ctx.call("count", &json!({"step": step, "last": last})).await?.to()?;
    }
    Ok(last)
}

async fn broken(ctx: Ctx, _: Value) -> Result<Value, Failure> {
    Ok(ctx.call("break", &Value::Null).await?.value().clone())
}

async fn approve(ctx: Ctx, _: Value) -> Result<Value, Failure> {
    Ok(ctx.signal("approval").await?.value().clone())
}

/// Counts two things and charges for them.
async fn order(ctx: Ctx, _: Value) -> Result<Value, Failure> {
    let one = ctx.call("count", &1).await?;
    let two = ctx.call("count", &2).await?;
    Ok(json!({"charged": ctx.call("charge", &json!([one, two])).await?}))
}

async fn hang(ctx: Ctx, _: Value) -> Result<Value, Failure> {
    Ok(ctx.call("hang", &Value::Null).await?.value().clone())
}

/// Sleeps for as many milliseconds as its input says.
async fn nap(ctx: Ctx, ms: u64) -> Result<Value, Failure> {
    ctx.sleep(Duration::from_millis(ms)).await?;
    Ok(json!("rested"))
}

async fn parent(ctx: Ctx, ms: u64) -> Result<Value, Failure> {
    Ok(ctx.child("nap", &ms).await?.value().clone())
}
