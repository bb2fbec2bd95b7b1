//! The engine: a run as a state machine without I/O.
//!
//! # The drive rule
//!
//! *The engine's next effects are a pure function of (plan, input, seed, entries so far).* A host starts or resumes
//! an engine, and then loops over [`Engine::poll`]:
//!
//! - [`Step::Do`]: make `append` durable, **then** carry out the effects (a `pure` skill may run earlier);
//! - [`Step::Wait`]: nothing to do until a skill or child has ended, an inbox item has come, or `wake_at` has passed:
//!   tell the engine with [`Engine::apply`];
//! - [`Step::Done`]: make `append` durable and the run finished, in one go.
//!
//! # Core owns, host owns
//!
//! | the engine owns | the host owns |
//! |---|---|
//! | which effect comes next, effect ids, idempotency keys | executing effects |
//! | retries, backoff, jitter, timeouts, budgets, limits | clocks and timers: it says when `wake_at` has come |
//! | what an entry says, its bytes, the chain | making entries durable, fencing writers |
//! | what a crash means for an effect in flight | noticing the crash, resuming elsewhere |

mod content;
mod effect;
mod outbox;
mod program;
mod timer;
mod transition;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

pub use content::CONTENT_VERSION;
pub(crate) use effect::stable;
pub use outbox::Batch;
pub(crate) use program::{EffectResult, Program};

use effect::Effects;
use outbox::Outbox;
use timer::Timers;

use crate::budget::Budget;
use crate::canonical::Hash;
use crate::error::Failure;
use crate::event::{Event, Fact, Fork, HostEffect, RunFinished, RunStarted};
use crate::flow::Flows;
use crate::id::{EffectId, RunId, TenantId};
use crate::journal::Line;
use crate::limit::RunLimits;
use crate::money::Money;
use crate::payload::Payload;
use crate::random::Seed;
use crate::replay::{Cursor, ReplayError};
use crate::time::Timestamp;
use crate::workflow::{Body, Interpreter, Plan};

/// What distinguishes this run from others of its plan.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOptions {
    /// The run's id; not part of its content hash.
    pub run: RunId,
    /// Its owner; not part of its content hash.
    pub tenant: TenantId,
    /// Its seed.
    pub seed: Seed,
    /// What it may spend; `None` means the plan's budget.
    pub budget: Option<Money>,
    /// The run it branches off; not part of its content hash.
    pub forked_from: Option<Fork>,
}

impl RunOptions {
    /// Options with the given id, the tenant `default`, seed 0 and the plan's budget.
    pub fn new(run: RunId) -> Self {
        Self { run, tenant: TenantId::default(), seed: Seed::default(), budget: None, forked_from: None }
    }

    /// Sets the seed.
    #[must_use]
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }
}

/// What the host is to do next.
#[derive(Debug)]
pub enum Step {
    /// Make the batch durable, then carry out the effects.
    Do {
        /// New entries; empty when only effects are wanted (after a resume, or when a retry is due).
        append: Batch,
        /// What to carry out afterwards.
        effects: Vec<HostEffect>,
    },
    /// Nothing, until something happens.
    Wait {
        /// When to apply [`Fact::Tick`] at the latest.
        wake_at: Option<Timestamp>,
    },
    /// Make the batch durable together with the run's end.
    Done {
        /// The last entries; empty if they have been handed out before.
        append: Batch,
        /// Effects still in flight, to be abandoned.
        effects: Vec<HostEffect>,
        /// How the run ended.
        finished: RunFinished,
    },
}

/// One run, in memory. See the [module](self) for how to drive it.
pub struct Engine {
    plan: Arc<Plan>,
    started: RunStarted,
    program: Box<dyn Program>,
    limits: RunLimits,
    budget: Budget,
    effects: Effects,
    timers: Timers,
    mailbox: Mailbox,
    /// Events that follow without anything from outside: instant effects, refusals.
    internal: VecDeque<Internal>,
    /// The part of the journal that is still being replayed.
    cursor: Cursor,
    outbox: Outbox,
    now: Timestamp,
    /// How many entries the run has, replayed ones included.
    entries: u64,
    /// Whether the state is being rebuilt, so that effects are for nobody to carry out.
    rebuilding: bool,
    finished: Option<RunFinished>,
}

/// Signals that nobody has waited for yet, and effects that wait for signals, by name.
#[derive(Default)]
struct Mailbox {
    waiting: HashMap<String, VecDeque<EffectId>>,
    unread: HashMap<String, VecDeque<Payload>>,
    seen: u64,
}

/// What follows without anything from outside.
enum Internal {
    /// An event that the engine decided by itself.
    Event(Event),
    /// The clock is read for this effect.
    ReadClock(EffectId),
    /// A signal that came before anybody waited for it; it is in the journal already.
    Deliver(EffectId, Payload),
}

impl Engine {
    /// Begins a run at time `now`. The input is checked against the plan's schema by the host.
    ///
    /// # Errors
    /// A plan that can't be hashed or names no registered flow; an input over the payload limit.
    pub fn start(
        plan: Arc<Plan>,
        flows: &Flows,
        input: Payload,
        options: RunOptions,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let started = RunStarted {
            run: options.run,
            tenant: options.tenant,
            workflow: plan.workflow.clone(),
            plan: plan.hash()?,
            input,
            seed: options.seed,
            budget: options.budget.or(plan.budget),
            forked_from: options.forked_from,
        };
        RunLimits::check("levels of child runs", plan.depth(), plan.limits.child_depth)?;
        RunLimits::check("bytes of input", started.input.len() as u64, plan.limits.payload_bytes)?;
        let mut engine = Self::new(plan, flows, started, Cursor::at_end(), now)?;
        // Without a journal to compare with there is nothing to drift from.
        engine.begin().map_err(|error| Failure::from(*error))?;
        Ok(engine)
    }

    /// Rebuilds a run from its journal, up to the last durable entry, and takes it from there at time `now`.
    ///
    /// Attempts that were in flight are handed out again by the next [`Engine::poll`]; those of `once` skills have
    /// failed with [`OUTCOME_UNKNOWN`](crate::codes::OUTCOME_UNKNOWN) instead. `blob` finds payloads kept outside.
    ///
    /// # Errors
    /// [`ReplayError`]: the journal is damaged, or the program no longer does what the journal says.
    pub fn resume(
        plan: Arc<Plan>,
        flows: &Flows,
        lines: &[Line],
        blob: &dyn Fn(&Hash) -> Option<Payload>,
        now: Timestamp,
    ) -> Result<Self, ReplayError> {
        let mut engine = Self::replayed(plan, flows, Cursor::new(lines, blob, None)?)?;
        engine.now = now;
        engine.program.go_live();
        engine.recover();
        // The journal is used up, so nothing that follows can disagree with it.
        engine.settle().map_err(|error| *error)?;
        Ok(engine)
    }

    /// Rebuilds a run as its journal tells it, without deciding what a crash means.
    pub(crate) fn replayed(plan: Arc<Plan>, flows: &Flows, cursor: Cursor) -> Result<Self, ReplayError> {
        let (started, at) = cursor.started()?;
        let hash = plan.hash().map_err(ReplayError::Program)?;
        if hash != started.plan {
            return Err(ReplayError::plan(started, hash, &plan.workflow));
        }
        let started = started.clone();
        let mut engine = Self::new(plan, flows, started, cursor, at).map_err(ReplayError::Program)?;
        engine.rebuilding = true;
        engine.begin().map_err(|error| *error)?;
        while let Some((event, at)) = engine.cursor.next_fact() {
            if engine.finished.is_some() {
                return Err(*engine.cursor.not_asked_for());
            }
            engine.now = at;
            engine.commit_fact(event).and_then(|()| engine.settle()).map_err(|error| *error)?;
        }
        engine.rebuilding = false;
        Ok(engine)
    }

    fn new(
        plan: Arc<Plan>,
        flows: &Flows,
        started: RunStarted,
        cursor: Cursor,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let program: Box<dyn Program> = match &plan.body {
            Body::Steps { .. } => Box::new(Interpreter::new(&plan, started.input.clone(), started.seed)?),
            Body::Code => Box::new(flows.program(&plan, started.input.clone(), cursor.patches())?),
        };
        Ok(Self {
            limits: plan.limits,
            budget: Budget::new(started.budget),
            effects: Effects::default(),
            timers: Timers::default(),
            mailbox: Mailbox::default(),
            internal: VecDeque::new(),
            outbox: Outbox::new(cursor.chain()),
            plan,
            started,
            program,
            cursor,
            now,
            entries: 0,
            rebuilding: false,
            finished: None,
        })
    }

    /// Tells the engine what the host has learned, at time `now`.
    ///
    /// What is no longer of interest is ignored: results of attempts that were given up, inbox numbers applied
    /// before, anything after the end.
    pub fn apply(&mut self, fact: Fact, now: Timestamp) {
        if self.finished.is_some() {
            return;
        }
        self.now = now;
        // A live engine has no journal left to disagree with; see `Cursor::compare`.
        let _no_drift = self.learn(fact).and_then(|()| self.settle());
    }

    /// What to do next. Hands out each entry and each effect once.
    pub fn poll(&mut self) -> Step {
        let (append, effects) = self.outbox.take();
        match &self.finished {
            Some(finished) => Step::Done { append, effects, finished: finished.clone() },
            None if append.lines.is_empty() && effects.is_empty() => Step::Wait { wake_at: self.timers.next() },
            None => Step::Do { append, effects },
        }
    }

    /// The run's first entry.
    pub fn started(&self) -> &RunStarted {
        &self.started
    }

    /// The plan it executes.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// How it ended, once it has.
    pub fn finished(&self) -> Option<&RunFinished> {
        self.finished.as_ref()
    }

    /// How many entries the run has, and so the index of the next one.
    pub fn next_index(&self) -> u64 {
        self.outbox.next_index()
    }

    /// Whether the host has taken everything there is.
    pub(crate) fn is_drained(&self) -> bool {
        self.outbox.is_empty()
    }

    /// No entries, at the index of the next one.
    pub(crate) fn nothing(&self) -> Batch {
        Batch { first_index: self.next_index(), ..Batch::default() }
    }

    /// The last inbox number that the journal has.
    pub fn inbox_seen(&self) -> u64 {
        self.mailbox.seen
    }

    /// How many effects have been requested so far.
    pub fn effects_requested(&self) -> u64 {
        self.effects.requested()
    }

    /// Hash of the last entry's line; [`Hash::ZERO`] before the first.
    pub fn chain(&self) -> Hash {
        self.outbox.chain()
    }
}
