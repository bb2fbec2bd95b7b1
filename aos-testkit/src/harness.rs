//! Runs a workflow in a simulation: memory stores, virtual time, several workers, crashes, and a scheduler that a
//! seed drives.
//!
//! Every result of a skill is held back until nothing else can go on; then the seed chooses which one arrives. When
//! no result is held, the clock jumps to the next timer. So one seed is one order of completion, and another seed is
//! another one, at full speed and without a real pause anywhere.
//!
//! ```
//! use std::sync::Arc;
//! use aos_core::flow::{Ctx, Flows};
//! use aos_core::skill::{Skill, SkillContract, TypedSkill};
//! use aos_core::workflow::PlanBuilder;
//! use aos_core::Failure;
//! use aos_testkit::harness::Harness;
//! use aos_testkit::skills::Skills;
//!
//! async fn shout(ctx: Ctx, name: String) -> Result<String, Failure> {
//!     ctx.call("upper@^1", &name).await?.to()
//! }
//!
//! let contract = SkillContract::pure("upper", "1.0.0")?;
//! let upper = TypedSkill::new(contract, |text: String, _| async move { Ok(text.to_uppercase()) });
//! let plan = PlanBuilder::code("shout", "1.0.0")?.skill(upper.contract())?.build();
//! let mut flows = Flows::new();
//! flows.register("shout", "1.0.0", shout)?;
//!
//! let ran = Harness::new(plan, Arc::new(Skills::new().with(upper)))
//!     .flows(flows)
//!     .input(serde_json::json!("hello"))?
//!     .workers(2)
//!     .order(42)
//!     .run()?;
//! assert_eq!(ran.record.output.unwrap().value(), "HELLO");
//! # Ok::<(), Failure>(())
//! ```

mod bell;
mod gate;
mod ran;
mod tap;
mod worker;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aos_core::driver::{Host, Stores};
use aos_core::flow::Flows;
use aos_core::id::{RunId, TenantId, WorkerId};
use aos_core::journal::Line;
use aos_core::memory::{MemoryStore, VirtualClock};
use aos_core::money::Money;
use aos_core::payload::Payload;
use aos_core::queue::Priority;
use aos_core::random::{Rng, Seed};
use aos_core::runs::{Created, FirstLease, Message, NewRun};
use aos_core::skill::SkillSource;
use aos_core::time::{Clock, Timestamp};
use aos_core::workflow::Plan;
use aos_core::{BoxFuture, Code, Failure, codes};
use serde_json::Value;

pub use gate::Called;
pub use ran::Ran;
pub use tap::Kill;

use crate::executor::{self, Ended};
use crate::recording::Recording;
use bell::Bell;
use gate::{Gated, Gates};
use tap::Tap;
use worker::{Leases, Yard};

/// The code of a simulation in which nothing can happen any more and the run has not ended: it waits for a signal
/// that nobody sends, say.
pub const ERR_STALLED: &str = "ERR_SIMULATION_STALLED";

/// When simulations begin unless they are told otherwise: 2026-01-01T00:00:00Z.
pub const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

type Wrap = Box<dyn FnOnce(Stores) -> Stores + Send + Sync>;

/// One run to simulate. See the [module](self).
pub struct Harness {
    plan: Arc<Plan>,
    flows: Flows,
    skills: Arc<dyn SkillSource>,
    clock: VirtualClock,
    input: Payload,
    run: RunId,
    seed: Seed,
    budget: Option<Money>,
    order: u64,
    workers: usize,
    threads: usize,
    park: bool,
    messages: Vec<(Duration, Message)>,
    kills: BTreeSet<Kill>,
    wrap: Option<Wrap>,
    past: Option<(Vec<Line>, Vec<Payload>)>,
}

impl Harness {
    /// A simulation of `plan` with `skills`: no input, seed 0, one worker, one thread, order 0, a clock of its own.
    pub fn new(plan: Arc<Plan>, skills: Arc<dyn SkillSource>) -> Self {
        Self {
            plan,
            flows: Flows::new(),
            skills,
            clock: VirtualClock::new(START),
            input: Payload::null(),
            // A name that RunId allows, so this can't fail.
            run: RunId::new("run-0001").unwrap_or_else(|_| unreachable!("a valid run id")),
            seed: Seed::default(),
            budget: None,
            order: 0,
            workers: 1,
            threads: 1,
            park: false,
            messages: Vec::new(),
            kills: BTreeSet::new(),
            wrap: None,
            past: None,
        }
    }

    /// The Rust workflows that the host knows.
    #[must_use]
    pub fn flows(mut self, flows: Flows) -> Self {
        self.flows = flows;
        self
    }

    /// The run's input.
    ///
    /// # Errors
    /// A number that canonical JSON can't carry.
    pub fn input(mut self, input: Value) -> Result<Self, Failure> {
        self.input = Payload::new(input)?;
        Ok(self)
    }

    /// The run's input, ready-made.
    #[must_use]
    pub fn payload(mut self, input: Payload) -> Self {
        self.input = input;
        self
    }

    /// The clock, for skills that take time: give the same one to them.
    #[must_use]
    pub fn clock(mut self, clock: VirtualClock) -> Self {
        self.clock = clock;
        self
    }

    /// The run's id; `run-0001` otherwise.
    #[must_use]
    pub fn run_id(mut self, run: RunId) -> Self {
        self.run = run;
        self
    }

    /// Begins with this journal and the payloads it refers to, as a [fork](aos_core::replay::fork) does: of the same plan,
    /// input, seed and run id.
    #[must_use]
    pub fn past(mut self, lines: Vec<Line>, blobs: Vec<Payload>) -> Self {
        self.past = Some((lines, blobs));
        self
    }

    /// The run's seed.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Seed::new(seed);
        self
    }

    /// What the run may spend.
    #[must_use]
    pub const fn budget(mut self, budget: Money) -> Self {
        self.budget = Some(budget);
        self
    }

    /// The seed of the order in which things happen.
    #[must_use]
    pub const fn order(mut self, order: u64) -> Self {
        self.order = order;
        self
    }

    /// How many workers claim runs. With more than one, runs that only wait are parked, so that they wander from
    /// worker to worker.
    #[must_use]
    pub const fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self.park = workers > 1;
        self
    }

    /// How many operating system threads carry the simulation. With more than one, the order is no longer the
    /// seed's alone.
    #[must_use]
    pub const fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sends a signal this long after the start.
    #[must_use]
    pub fn signal(self, after: Duration, name: &str, payload: Payload) -> Self {
        self.message(after, Message::Signal { name: name.to_owned(), payload })
    }

    /// Asks the run to stop this long after the start.
    #[must_use]
    pub fn cancel(self, after: Duration, reason: &str) -> Self {
        self.message(after, Message::Cancel { reason: reason.to_owned() })
    }

    /// Puts a message into the run's inbox this long after the start.
    #[must_use]
    pub fn message(mut self, after: Duration, message: Message) -> Self {
        self.messages.push((after, message));
        self
    }

    /// Stops a worker dead there.
    #[must_use]
    pub fn kill(mut self, kill: Kill) -> Self {
        self.kills.insert(kill);
        self
    }

    /// Answers effects as a recorded run's were answered; what was not recorded goes to the skills.
    #[must_use]
    pub fn with_recording(mut self, recording: &Arc<Recording>) -> Self {
        self.skills = Arc::new(recording.skills(Some(Arc::clone(&self.skills)), None));
        self
    }

    /// Puts something around the stores, [faults](crate::fault) say.
    #[must_use]
    pub fn wrap_stores(mut self, wrap: impl FnOnce(Stores) -> Stores + Send + Sync + 'static) -> Self {
        self.wrap = Some(Box::new(wrap));
        self
    }

    /// Simulates the run to its end.
    ///
    /// # Errors
    /// [`ERR_STALLED`] when it can't end, and whatever keeps it from being advanced: drift, a store that fails for
    /// good. A run that fails is not an error: its record says so.
    pub fn run(mut self) -> Result<Ran, Failure> {
        let store = MemoryStore::new(Arc::new(self.clock.clone()));
        let stores = Stores { runs: Arc::new(store.clone()), journal: Arc::new(store.clone()), blobs: store.blobs() };
        let wrapped = match self.wrap.take() {
            Some(wrap) => wrap(stores.clone()),
            None => stores.clone(),
        };
        let (bell, gates) = (Bell::default(), Gates::default());
        let tap = Arc::new(Tap {
            inner: Arc::clone(&wrapped.journal),
            kills: std::mem::take(&mut self.kills),
            bell: bell.clone(),
            state: Mutex::default(),
        });
        let yard = Arc::new(Yard {
            tap: Arc::clone(&tap),
            bell: bell.clone(),
            tenant: TenantId::default(),
            root: self.run.clone(),
            end: Mutex::new(None),
        });
        let skills = Arc::new(Gated { inner: Arc::clone(&self.skills), gates: gates.clone() });
        let tapped = Stores { journal: Arc::clone(&tap) as _, ..wrapped };
        let (mut tasks, mut first) = (Vec::<BoxFuture<'static, ()>>::new(), None);
        for name in worker::names(self.workers) {
            let worker = WorkerId::new(name).map_err(|e| Failure::new(codes::INTERNAL, e.to_string()))?;
            let leases = Arc::new(Leases::default());
            let clock = Arc::new(self.clock.clone());
            let mut host = Host::new(tapped.clone(), Arc::clone(&skills) as _, self.flows.clone(), clock, worker);
            // Virtual time jumps far; a lease that ran out meanwhile would be a crash that nobody asked for.
            host.lease = Duration::from_secs(100 * 365 * 86_400);
            host.park_after = self.park.then_some(Duration::ZERO);
            host.observer = Arc::clone(&leases) as _;
            first.get_or_insert_with(|| host.clone());
            tasks.push(Box::pin(worker::work(Arc::clone(&yard), host, leases)));
        }
        if let Some(host) = first {
            pollster::block_on(self.create(&stores, &host))?;
        }
        tasks.extend(self.messengers(&stores, &bell));
        self.simulate(tasks, &gates)?;
        let end = yard.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        end.unwrap_or_else(|| {
            let why = "nothing can happen any more and the run has not ended: does it wait for a signal?";
            Err(Failure::new(Code::custom(ERR_STALLED), why))
        })?;
        let appends = tap.lock().appends;
        pollster::block_on(Ran::collect(&stores, &self.plan, self.flows, &self.run, appends, gates.calls()))
    }

    async fn create(&self, stores: &Stores, host: &Host) -> Result<(), Failure> {
        let plan = Payload::from_serialize(&*self.plan)?;
        stores.blobs.put(plan.as_str().as_bytes()).await?;
        let new = NewRun {
            run: self.run.clone(),
            tenant: TenantId::default(),
            workflow: self.plan.workflow.clone(),
            plan: host.keep_plan(&self.plan).await?,
            input: self.input.clone(),
            seed: self.seed,
            budget: self.budget,
            parent: None,
            forked_from: None,
            idempotency_key: None,
            request_id: None,
            api_key: None,
            trace: None,
            priority: Priority::default(),
            start_at: None,
        };
        let lease = self.past.clone().map(|(lines, blobs)| FirstLease {
            lines,
            blobs,
            ..FirstLease::new(host.worker.clone(), host.lease)
        });
        match stores.runs.create(new, lease).await? {
            Created::New(_, Some(lease)) => Ok(stores.runs.release(&lease).await?),
            Created::New(_, None) => Ok(()),
            Created::Existing(_) => Err(Failure::new(codes::INTERNAL, "a new store has a run already")),
        }
    }

    /// A task per message: waits for its time, then sends it.
    fn messengers(&self, stores: &Stores, bell: &Bell) -> Vec<BoxFuture<'static, ()>> {
        let task = |(after, message): &(Duration, Message)| -> BoxFuture<'static, ()> {
            let (runs, bell, clock) = (Arc::clone(&stores.runs), bell.clone(), self.clock.clone());
            let (run, message, at) = (self.run.clone(), message.clone(), self.clock.now().saturating_add(*after));
            Box::pin(async move {
                clock.sleep_until(at).await;
                // A run that has ended takes no messages, as in production.
                let _ = runs.send(&TenantId::default(), &run, message).await;
                bell.ring();
            })
        };
        self.messages.iter().map(task).collect()
    }

    fn simulate(&self, tasks: Vec<BoxFuture<'static, ()>>, gates: &Gates) -> Result<(), Failure> {
        let mut rng = Rng::new(Seed::new(self.order), "harness/order");
        let mut idle = || gates.release_one(&mut rng) || self.clock.advance_to_next().is_some();
        match executor::run(tasks, self.threads, Seed::new(self.order), &mut idle) {
            Ended::Completed | Ended::Stalled => Ok(()),
        }
    }
}
