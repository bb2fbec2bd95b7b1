//! Runs an engine by hand: virtual time, scripted answers, a journal in a vector.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aos_core::canonical::Hash;
use aos_core::engine::{Engine, RunOptions, Step};
use aos_core::event::{CallEffect, ChildEffect, Fact, HostEffect, RunFinished};
use aos_core::flow::Flows;
use aos_core::id::RunId;
use aos_core::journal::Line;
use aos_core::limit::RunLimits;
use aos_core::money::Money;
use aos_core::random::Seed;
use aos_core::replay::{ReplayError, Replayed, replay};
use aos_core::skill::SkillContract;
use aos_core::time::Timestamp;
use aos_core::workflow::{Plan, PlanBuilder};
use aos_core::{Failure, Payload, codes};
use serde_json::Value;

pub fn pure() -> SkillContract {
    SkillContract::pure("double", "1.0.0").unwrap()
}

pub fn idempotent() -> SkillContract {
    SkillContract::idempotent("fetch", "1.2.0").unwrap().estimate(Money::from_cents(2))
}

pub fn once() -> SkillContract {
    SkillContract::once("pay", "1.0.0").unwrap()
}

/// The plan of the flow `test@1.0.0`, which may call `double`, `fetch` and `pay`.
pub fn plan() -> Arc<Plan> {
    let limits = RunLimits { entries: 1_000, ..RunLimits::default() };
    let plan = PlanBuilder::code("test", "1.0.0").unwrap().limits(limits);
    plan.skill(&pure()).unwrap().skill(&idempotent()).unwrap().skill(&once()).unwrap().build()
}

pub fn json(value: Value) -> Payload {
    Payload::new(value).unwrap()
}

pub struct Harness {
    pub plan: Arc<Plan>,
    pub flows: Flows,
    pub engine: Engine,
    pub now: Timestamp,
    /// What is durable.
    pub lines: Vec<Line>,
    /// Payloads that the lines refer to.
    pub blobs: Vec<Payload>,
    /// Children handed out and not answered.
    pub children: VecDeque<ChildEffect>,
    /// Effects handed out and not answered.
    pub calls: VecDeque<CallEffect>,
    pub aborted: Vec<String>,
    pub appends: usize,
}

impl Harness {
    pub fn start(flows: Flows, input: Value) -> Self {
        Self::start_plan(plan(), flows, input)
    }

    pub fn start_plan(plan: Arc<Plan>, flows: Flows, input: Value) -> Self {
        let now = Timestamp::from_millis(1_767_225_600_000);
        let options = RunOptions::new(RunId::new("run-1").unwrap()).seed(Seed::new(7));
        let engine = Engine::start(Arc::clone(&plan), &flows, json(input), options, now).unwrap();
        let mut harness = Self {
            plan,
            flows,
            engine,
            now,
            lines: vec![],
            blobs: vec![],
            children: VecDeque::new(),
            calls: VecDeque::new(),
            aborted: vec![],
            appends: 0,
        };
        harness.pump().ok();
        harness
    }

    /// Takes what the engine has; gives the wake time, or the end.
    pub fn pump(&mut self) -> Result<Option<Timestamp>, RunFinished> {
        loop {
            let (append, effects, finished) = match self.engine.poll() {
                Step::Do { append, effects } => (append, effects, None),
                Step::Wait { wake_at } => return Ok(wake_at),
                Step::Done { append, effects, finished } => (append, effects, Some(finished)),
            };
            assert_eq!(append.first_index, self.lines.len() as u64);
            self.appends += usize::from(!append.lines.is_empty());
            self.lines.extend(append.lines);
            self.blobs.extend(append.blobs);
            for effect in effects {
                match effect {
                    HostEffect::Call(call) => self.calls.push_back(call),
                    HostEffect::Abort { effect } => {
                        self.aborted.push(effect.to_string());
                        self.calls.retain(|call| call.effect != effect);
                    }
                    HostEffect::Child(child) => self.children.push_back(child),
                }
            }
            if let Some(finished) = finished {
                return Err(finished);
            }
        }
    }

    pub fn complete(&mut self, effect: &str, output: Value) -> &mut Self {
        self.complete_at_cost(effect, output, Money::ZERO)
    }

    pub fn complete_at_cost(&mut self, effect: &str, output: Value, cost: Money) -> &mut Self {
        let call = self.take(effect);
        let fact =
            Fact::Completed { effect: call.effect, attempt: call.attempt, output: json(output), cost, child: None };
        self.engine.apply(fact, self.now);
        self.pump().ok();
        self
    }

    pub fn fail(&mut self, effect: &str, failure: Failure) -> &mut Self {
        let call = self.take(effect);
        self.engine.apply(Fact::Failed { effect: call.effect, attempt: call.attempt, failure }, self.now);
        self.pump().ok();
        self
    }

    pub fn take(&mut self, effect: &str) -> CallEffect {
        let known: Vec<_> = self.calls.iter().map(|call| call.effect.to_string()).collect();
        let index = known.iter().position(|known| known == effect);
        let index = index.unwrap_or_else(|| panic!("no effect {effect}, there are {known:?}"));
        self.calls.remove(index).unwrap()
    }

    pub fn apply(&mut self, fact: Fact) -> &mut Self {
        self.engine.apply(fact, self.now);
        self.pump().ok();
        self
    }

    pub fn advance(&mut self, duration: Duration) -> &mut Self {
        self.now = self.now.saturating_add(duration);
        self.apply(Fact::Tick)
    }

    /// The process dies; another one resumes from what is durable.
    pub fn crash(&mut self) -> &mut Self {
        self.calls.clear();
        self.engine =
            Engine::resume(Arc::clone(&self.plan), &self.flows, &self.lines, &|hash| self.blob(hash), self.now)
                .unwrap();
        self.pump().ok();
        self
    }

    pub fn finished(&self) -> &RunFinished {
        self.engine.finished().expect("the run has not ended")
    }

    pub fn replay(&self) -> Result<Replayed, ReplayError> {
        replay(Arc::clone(&self.plan), &self.flows, &self.lines, &|hash| self.blob(hash))
    }

    fn blob(&self, hash: &Hash) -> Option<Payload> {
        self.blobs.iter().find(|blob| blob.hash() == *hash).cloned()
    }

    /// The run has ended with this output, and every prefix of its journal replays.
    pub fn succeeds_with(&self, output: Value) {
        let finished = self.finished();
        assert_eq!(finished.output, Some(json(output)), "{finished:?}");
        self.replays();
    }

    pub fn fails_with(&self, code: &aos_core::Code) {
        assert_eq!(self.finished().failure.as_ref().map(|failure| &failure.code), Some(code), "{:?}", self.finished());
        self.replays();
    }

    fn replays(&self) {
        let replayed = self.replay().unwrap();
        assert_eq!(replayed.finished.as_ref(), Some(self.finished()));
        for cut in 1..self.lines.len() {
            let prefix = replay(Arc::clone(&self.plan), &self.flows, &self.lines[..cut], &|hash| self.blob(hash));
            let prefix = prefix.unwrap_or_else(|error| panic!("prefix of {cut} lines: {error}"));
            assert_eq!(prefix.finished, None, "prefix of {cut} lines");
        }
    }
}

pub fn flaky() -> Failure {
    Failure::new(codes::HTTP_FAILED, "connection reset")
}
