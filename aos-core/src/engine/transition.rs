//! How events change the state, and which events follow from them.
//!
//! *Facts* come from outside (or, in a replay, from the journal); everything else is *derived*: the engine emits it
//! by itself, writes it live, and compares it with the journal in a replay. Both go through the same code.

use std::time::Duration;

use super::content::{self, Leaf};
use super::effect::{CallPolicy, Pending};
use super::timer::Timer;
use super::{EffectResult, Engine, Internal};

use crate::budget::Budget;
use crate::canonical::Hash;
use crate::error::{Code, Failure, codes};
use crate::event::{
    CallEffect, ChildEffect, Command, Event, Fact, HostEffect, Request, Requested, RunFinished, RunStatus,
};
use crate::id::{EffectId, RunId};
use crate::limit::RunLimits;
use crate::money::Money;
use crate::payload::Payload;
use crate::random::Rng;
use crate::replay::{DriftClass, ReplayError};
use crate::retry::RetryPolicy;
use crate::skill::CrashClass;
use crate::time::Timestamp;

/// A replay may disagree with its journal at any derived event; a live engine never does.
pub(super) type Replayed = Result<(), Box<ReplayError>>;

impl Engine {
    pub(super) fn begin(&mut self) -> Replayed {
        let started = Event::RunStarted(self.started.clone());
        self.record(&started)?;
        let mut requests = Vec::new();
        self.program.start(&mut requests);
        self.request_all(requests)?;
        self.settle()
    }

    /// Turns what the host learned into an entry, and applies it.
    pub(super) fn learn(&mut self, fact: Fact) -> Replayed {
        match fact {
            Fact::Completed { effect, attempt, output, cost, child } => {
                if !self.is_wanted(&effect, attempt) {
                    return Ok(());
                }
                let size = RunLimits::check("bytes in one output", output.len() as u64, self.limits.payload_bytes);
                match size {
                    Ok(()) => self.write_fact(Event::EffectCompleted { effect, attempt, output, cost, child }),
                    Err(mut failure) => {
                        failure.code = codes::PAYLOAD_TOO_LARGE;
                        self.attempt_failed(effect, attempt, failure.cost(cost))
                    }
                }
            }
            Fact::Failed { effect, attempt, failure } => {
                if self.is_wanted(&effect, attempt) {
                    self.attempt_failed(effect, attempt, failure)
                } else {
                    Ok(())
                }
            }
            Fact::Signal { seq, name, payload } => {
                if seq > self.mailbox.seen {
                    self.write_fact(Event::SignalReceived { seq, name, payload })
                } else {
                    Ok(())
                }
            }
            Fact::Cancel { seq, reason } => {
                if seq > self.mailbox.seen {
                    self.write_fact(Event::CancelRequested { seq, reason })
                } else {
                    Ok(())
                }
            }
            Fact::Tick => {
                while let Some((effect, timer)) = self.timers.due(self.now) {
                    self.fire(effect, &timer)?;
                    self.settle()?;
                }
                Ok(())
            }
        }
    }

    fn is_wanted(&mut self, effect: &EffectId, attempt: u32) -> bool {
        self.effects.pending(effect).is_some_and(|pending| pending.in_flight && pending.attempt == attempt)
    }

    fn fire(&mut self, effect: EffectId, timer: &Timer) -> Replayed {
        let Some(pending) = self.effects.pending(&effect) else { return Ok(()) };
        pending.timer = None;
        let attempt = pending.attempt;
        match timer {
            Timer::Sleep => self.write_fact(Event::EffectCompleted {
                effect,
                attempt,
                output: Payload::null(),
                cost: Money::ZERO,
                child: None,
            }),
            Timer::Retry => {
                self.start_attempt(&effect);
                Ok(())
            }
            Timer::Timeout => {
                let unknown = pending.policy.crash == CrashClass::Once;
                if pending.in_flight {
                    self.outbox.effect(HostEffect::Abort { effect: effect.clone() });
                }
                let mut failure = Failure::new(codes::TIMEOUT, format!("{effect} took longer than its timeout"));
                if unknown {
                    failure = failure.details(serde_json::json!({"outcome": "unknown"}));
                }
                self.attempt_failed(effect, attempt, failure)
            }
        }
    }

    fn attempt_failed(&mut self, effect: EffectId, attempt: u32, failure: Failure) -> Replayed {
        let pause = self.verdict(&effect, attempt, &failure);
        self.write_fact(match pause {
            Some(pause) => Event::AttemptFailed { effect, attempt, failure, retry_at: self.now.saturating_add(pause) },
            None => Event::EffectFailed { effect, attempt, failure },
        })
    }

    /// How long to wait before the next attempt; `None` when there is none.
    fn verdict(&mut self, effect: &EffectId, attempt: u32, failure: &Failure) -> Option<Duration> {
        if failure.code == codes::OUTCOME_UNKNOWN {
            return None;
        }
        let pending = self.effects.pending(effect)?;
        let mut rng = Rng::new(self.started.seed, &format!("retry {effect} {attempt}"));
        let pause = pending.policy.retry.pause(attempt, failure, &mut rng)?;
        // The reservation covers one attempt; what the failed ones cost must leave room for another.
        let mut after: Budget = self.budget;
        after.spend(failure.cost);
        after.reserve(Money::ZERO).ok().map(|()| pause)
    }

    fn write_fact(&mut self, event: Event) -> Replayed {
        self.outbox.write(self.now, &event);
        self.commit_fact(event)
    }

    /// Applies a fact that is in the journal.
    pub(super) fn commit_fact(&mut self, event: Event) -> Replayed {
        self.entries += 1;
        match event {
            Event::EffectCompleted { effect, attempt, output, cost, child } => {
                self.check_attempt(&effect, attempt)?;
                self.complete(effect, &output, cost, child)
            }
            Event::AttemptFailed { effect, attempt, failure, retry_at } => {
                self.check_attempt(&effect, attempt)?;
                self.check_verdict(&effect, attempt, &failure, Some(retry_at))?;
                self.wait_for_retry(&effect, failure, retry_at);
                Ok(())
            }
            Event::EffectFailed { effect, attempt, failure } => {
                self.check_attempt(&effect, attempt)?;
                self.check_verdict(&effect, attempt, &failure, None)?;
                self.fail(effect, failure)
            }
            Event::SignalReceived { seq, name, payload } => {
                self.mailbox.seen = seq;
                let waiting = self.mailbox.waiting.get_mut(&name).and_then(|queue| queue.pop_front());
                match waiting {
                    Some(effect) => self.complete(effect, &payload, Money::ZERO, None),
                    None => {
                        self.mailbox.unread.entry(name).or_default().push_back(payload);
                        Ok(())
                    }
                }
            }
            Event::CancelRequested { seq, reason } => {
                self.mailbox.seen = seq;
                let failure = Failure::new(codes::CANCELLED, reason);
                self.finish(RunStatus::Cancelled, Err(failure))
            }
            Event::RunStarted(_) | Event::EffectRequested { .. } | Event::RunFinished(_) => {
                Err(self.cursor.not_asked_for())
            }
        }
    }

    /// In a replay: the journal's attempt must be the one this effect is at.
    fn check_attempt(&mut self, effect: &EffectId, attempt: u32) -> Replayed {
        if !self.rebuilding {
            return Ok(());
        }
        match self.effects.pending(effect) {
            Some(pending) if pending.attempt == attempt => Ok(()),
            Some(pending) => {
                let expected = serde_json::json!({"attempt": attempt});
                let actual = serde_json::json!({"attempt": pending.attempt});
                Err(self.cursor.drift_here(DriftClass::Retry, Some(effect.clone()), expected, actual))
            }
            None => Err(self.cursor.not_asked_for()),
        }
    }

    /// In a replay: the journal's decision to retry must be this engine's.
    fn check_verdict(
        &mut self,
        effect: &EffectId,
        attempt: u32,
        failure: &Failure,
        retry_at: Option<Timestamp>,
    ) -> Replayed {
        if !self.rebuilding {
            return Ok(());
        }
        let verdict = self.verdict(effect, attempt, failure).map(|pause| self.now.saturating_add(pause));
        if verdict == retry_at {
            return Ok(());
        }
        let expected = serde_json::json!({"retry_at": retry_at});
        let actual = serde_json::json!({"retry_at": verdict});
        Err(self.cursor.drift_here(DriftClass::Retry, Some(effect.clone()), expected, actual))
    }

    fn complete(&mut self, effect: EffectId, output: &Payload, cost: Money, child: Option<Hash>) -> Replayed {
        let Some(mut pending) = self.take(&effect) else { return Ok(()) };
        pending.spent = pending.spent.saturating_add(cost);
        self.budget.spend(cost);
        let spent = pending.spent;
        self.effects.end(&effect, Leaf::completed(*pending, output, child));
        self.resolve(&effect, &Ok(output.clone()), spent)
    }

    fn fail(&mut self, effect: EffectId, failure: Failure) -> Replayed {
        let Some(mut pending) = self.take(&effect) else { return Ok(()) };
        pending.spent = pending.spent.saturating_add(failure.cost);
        self.budget.spend(failure.cost);
        let spent = pending.spent;
        self.effects.end(&effect, Leaf::failed(*pending, failure.code.clone()));
        self.resolve(&effect, &Err(failure), spent)
    }

    /// Takes an effect out of everything that still expects something of it.
    fn take(&mut self, effect: &EffectId) -> Option<Box<Pending>> {
        let mut pending = self.effects.take(effect)?;
        if let Some(timer) = pending.timer.take() {
            self.timers.clear(timer);
        }
        self.budget.release(pending.policy.estimate);
        if let Requested::Signal { name } = &pending.request
            && let Some(queue) = self.mailbox.waiting.get_mut(name)
        {
            queue.retain(|waiting| waiting != effect);
        }
        Some(pending)
    }

    fn wait_for_retry(&mut self, effect: &EffectId, failure: Failure, retry_at: Timestamp) {
        self.budget.spend(failure.cost);
        let Some(pending) = self.effects.pending(effect) else { return };
        if let Some(timer) = pending.timer.take() {
            self.timers.clear(timer);
        }
        pending.spent = pending.spent.saturating_add(failure.cost);
        pending.failed.push(failure.code);
        pending.attempt += 1;
        pending.in_flight = false;
        pending.timer = Some(self.timers.set(retry_at, effect.clone(), Timer::Retry));
    }

    fn resolve(&mut self, effect: &EffectId, result: &EffectResult, cost: Money) -> Replayed {
        let mut requests = Vec::new();
        self.program.resolve(effect, result, cost, &mut requests);
        self.request_all(requests)
    }

    /// Carries out what follows by itself, until nothing does; ends the run when its program has.
    pub(super) fn settle(&mut self) -> Replayed {
        while self.finished.is_none() {
            if let Some(next) = self.internal.pop_front() {
                self.internal(next)?;
            } else if let Some(outcome) = self.program.outcome() {
                let status = if outcome.is_ok() { RunStatus::Succeeded } else { RunStatus::Failed };
                self.finish(status, outcome)?;
            } else {
                break;
            }
        }
        Ok(())
    }

    fn internal(&mut self, next: Internal) -> Replayed {
        match next {
            Internal::Event(mut event) => {
                if let Event::EffectFailed { effect, failure, .. } = &mut event
                    && let Some(recorded) = self.cursor.refusal_of(effect, &failure.code)
                {
                    // Programs may pass the message on, which a later release may word differently.
                    *failure = recorded;
                }
                self.record(&event)?;
                match event {
                    Event::EffectCompleted { effect, output, cost, child, .. } => {
                        self.complete(effect, &output, cost, child)
                    }
                    Event::EffectFailed { effect, failure, .. } => {
                        self.effects.end(&effect, Leaf::refused(failure.code.clone()));
                        self.resolve(&effect, &Err(failure), Money::ZERO)
                    }
                    // Nothing else is ever put there.
                    _ => Ok(()),
                }
            }
            Internal::ReadClock(effect) => {
                let now = self.cursor.clock_read_by(&effect);
                let output = now.unwrap_or_else(|| instant(self.now.as_millis()));
                self.internal(Internal::Event(Event::EffectCompleted {
                    effect,
                    attempt: 1,
                    output,
                    cost: Money::ZERO,
                    child: None,
                }))
            }
            Internal::Deliver(effect, payload) => self.complete(effect, &payload, Money::ZERO, None),
        }
    }

    /// Writes a derived event, or compares it with the journal; gives whether the journal had it.
    fn record(&mut self, event: &Event) -> Result<bool, Box<ReplayError>> {
        self.entries += 1;
        match self.cursor.compare(event)? {
            Some(at) => {
                self.now = at;
                Ok(true)
            }
            None => {
                self.outbox.write(self.now, event);
                Ok(false)
            }
        }
    }

    fn request_all(&mut self, requests: Vec<Request>) -> Replayed {
        for request in requests {
            if self.finished.is_none() {
                self.request(request)?;
            }
        }
        Ok(())
    }

    fn request(&mut self, request: Request) -> Replayed {
        let Request { effect, command } = request;
        if self.effects.contains(&effect) {
            let message = format!("the effect id {effect} was used twice: name each effect of one scope differently");
            return self.finish(RunStatus::Failed, Err(Failure::new(codes::EFFECT_ID_INVALID, message)));
        }
        if let Err(failure) = RunLimits::check("journal entries", self.entries + 1, self.limits.entries) {
            return self.finish(RunStatus::Failed, Err(failure));
        }
        match self.admit(&effect, command) {
            Ok((requested, policy)) => self.begin_effect(effect, requested, policy),
            Err(failure) => {
                self.internal.push_back(Internal::Event(Event::EffectFailed { effect, attempt: 0, failure }));
                Ok(())
            }
        }
    }

    /// Checks a request against plan, limits and budget, and reserves what it may cost.
    fn admit(&mut self, effect: &EffectId, command: Command) -> Result<(Requested, CallPolicy), Failure> {
        let in_flight = self.effects.pending_count() + 1;
        RunLimits::check("effects in flight", in_flight, self.limits.in_flight)?;
        let mut policy = CallPolicy::plain();
        let requested = match command {
            Command::Call { skill, input, retry, timeout } => {
                let pin = self.plan.pin(&skill)?;
                let retry = retry.or_else(|| pin.retry.clone()).unwrap_or_default();
                policy = CallPolicy {
                    crash: pin.crash,
                    // A `once` skill never runs twice, whatever anybody declares.
                    retry: if pin.crash == CrashClass::Once { RetryPolicy::never() } else { retry },
                    timeout_ms: timeout.map(millis).or(pin.timeout_ms),
                    estimate: pin.estimate,
                    volatile: pin.volatile.clone(),
                };
                Requested::Call { skill, input }
            }
            Command::Child { workflow, input } => {
                if !self.plan.children.contains_key(&workflow.to_string()) {
                    let message = format!("{effect} asks for the workflow {workflow}, which the plan does not pin");
                    return Err(Failure::new(codes::WORKFLOW_NOT_FOUND, message));
                }
                Requested::Child { workflow, input }
            }
            Command::Sleep(duration) => Requested::Sleep { duration_ms: millis(duration) },
            Command::Signal { name, timeout } => {
                policy.timeout_ms = timeout.map(millis);
                Requested::Signal { name }
            }
            Command::Now => Requested::Now,
            Command::Random => Requested::Random,
            Command::Patched { name } => Requested::Patched { name },
            Command::Fail(failure) => return Err(failure),
        };
        if let Requested::Call { input, .. } | Requested::Child { input, .. } = &requested {
            RunLimits::check("bytes in one input", input.len() as u64, self.limits.payload_bytes).map_err(
                |mut failure| {
                    failure.code = codes::PAYLOAD_TOO_LARGE;
                    failure
                },
            )?;
        }
        self.budget.reserve(policy.estimate)?;
        Ok((requested, policy))
    }

    fn begin_effect(&mut self, effect: EffectId, request: Requested, policy: CallPolicy) -> Replayed {
        let event = Event::EffectRequested { effect, request };
        let durable = self.record(&event)?;
        // Taken apart again: copies of a request would be a tenth of the step.
        let Event::EffectRequested { effect, request } = event else { return Ok(()) };
        let instant_event = |output: Payload| {
            let effect = effect.clone();
            Internal::Event(Event::EffectCompleted { effect, attempt: 1, output, cost: Money::ZERO, child: None })
        };
        let mut starts = false;
        let mut timer = None;
        match &request {
            Requested::Call { .. } | Requested::Child { .. } => starts = true,
            Requested::Sleep { duration_ms } => {
                let deadline = self.now.saturating_add(Duration::from_millis(*duration_ms));
                timer = Some(self.timers.set(deadline, effect.clone(), Timer::Sleep));
            }
            Requested::Signal { name } => match self.mailbox.unread.get_mut(name).and_then(|queue| queue.pop_front()) {
                Some(payload) => self.internal.push_back(Internal::Deliver(effect.clone(), payload)),
                None => {
                    self.mailbox.waiting.entry(name.clone()).or_default().push_back(effect.clone());
                    timer = policy.timeout_ms.map(|ms| {
                        let deadline = self.now.saturating_add(Duration::from_millis(ms));
                        self.timers.set(deadline, effect.clone(), Timer::Timeout)
                    });
                }
            },
            Requested::Now => self.internal.push_back(Internal::ReadClock(effect.clone())),
            Requested::Random => {
                let number = Rng::new(self.started.seed, &format!("random {effect}")).below(1 << 53);
                self.internal.push_back(instant_event(instant(number)));
            }
            // The program knows the answer already; the entry is for replays.
            Requested::Patched { .. } => self.internal.push_back(Internal::Deliver(effect.clone(), Payload::null())),
        }
        let pending = Pending {
            request,
            attempt: 1,
            in_flight: false,
            durable,
            place: self.effects.requested(),
            timer,
            deadline: None,
            policy,
            failed: Vec::new(),
            spent: Money::ZERO,
        };
        self.effects.begin(effect.clone(), pending);
        if starts {
            self.start_attempt(&effect);
        }
        Ok(())
    }

    /// Hands the current attempt of a call or child to the host, with its timeout running.
    fn start_attempt(&mut self, effect: &EffectId) {
        let Some(pending) = self.effects.pending(effect) else { return };
        pending.in_flight = true;
        if let Some(timer) = pending.timer.take() {
            self.timers.clear(timer);
        }
        pending.deadline = pending.policy.timeout_ms.map(|ms| self.now.saturating_add(Duration::from_millis(ms)));
        pending.timer = pending.deadline.map(|at| self.timers.set(at, effect.clone(), Timer::Timeout));
        if self.rebuilding {
            return;
        }
        let host_effect = match &pending.request {
            Requested::Call { skill, input } => HostEffect::Call(CallEffect {
                effect: effect.clone(),
                attempt: pending.attempt,
                skill: skill.clone(),
                crash: pending.policy.crash,
                input: input.clone(),
                run: self.started.run.clone(),
                run_seed: self.started.seed,
                deadline: pending.deadline,
            }),
            Requested::Child { workflow, input } => {
                let Some(plan) = self.plan.children.get(&workflow.to_string()) else { return };
                let Ok(run) = RunId::new(effect.key_in(&self.started.run)) else { return };
                HostEffect::Child(ChildEffect {
                    effect: effect.clone(),
                    attempt: pending.attempt,
                    run,
                    plan: std::sync::Arc::clone(plan),
                    input: input.clone(),
                    seed: self.started.seed.derive(effect.as_str()),
                    budget: self.budget.left(),
                })
            }
            _ => return,
        };
        self.outbox.effect(host_effect);
    }

    /// After a crash: hands out again what was in flight, and gives up what must not run twice.
    pub(super) fn recover(&mut self) {
        if self.finished.is_some() {
            return;
        }
        let in_flight: Vec<_> = self
            .effects
            .in_request_order()
            .into_iter()
            .filter(|(_, pending)| pending.in_flight)
            .map(|(effect, pending)| (effect, pending.attempt, pending.policy.crash, pending.durable))
            .collect();
        for (effect, attempt, crash, durable) in in_flight {
            if crash == CrashClass::Once && durable {
                let message = format!(
                    "{effect} was begun, and a crash left no result: find out whether it took effect, then decide"
                );
                let failure = Failure::new(codes::OUTCOME_UNKNOWN, message);
                // A live engine never disagrees with its journal.
                let _no_drift =
                    self.write_fact(Event::EffectFailed { effect, attempt, failure }).and_then(|()| self.settle());
            } else {
                self.start_attempt(&effect);
            }
        }
    }

    /// What the journal has for an effect already ends it, so that the content hash follows from the entries alone.
    fn deliver_rest(&mut self) {
        while let Some(next) = self.internal.pop_front() {
            if let Internal::Deliver(effect, payload) = next
                && let Some(pending) = self.take(&effect)
            {
                self.effects.end(&effect, Leaf::completed(*pending, &payload, None));
            }
        }
    }

    fn finish(&mut self, status: RunStatus, outcome: EffectResult) -> Replayed {
        self.deliver_rest();
        let left: Vec<_> =
            self.effects.in_request_order().into_iter().map(|(effect, pending)| (effect, pending.in_flight)).collect();
        for (effect, in_flight) in left {
            if in_flight && !self.rebuilding {
                self.outbox.effect(HostEffect::Abort { effect: effect.clone() });
            }
            if let Some(pending) = self.take(&effect) {
                self.effects.end(&effect, Leaf::failed(*pending, codes::CANCELLED));
            }
        }
        self.timers.clear_all();
        let outcome = outcome.and_then(|output| {
            RunLimits::check("bytes of output", output.len() as u64, self.limits.payload_bytes)?;
            Ok(output)
        });
        let (status, hash) = match &outcome {
            Ok(output) => (status, output.hash()),
            Err(failure) => {
                (if status == RunStatus::Succeeded { RunStatus::Failed } else { status }, code_hash(&failure.code))
            }
        };
        let finished = RunFinished {
            status,
            cost: self.budget.spent(),
            content_hash: content::of_run(&self.started, &self.effects, status, hash),
            output: outcome.as_ref().ok().cloned(),
            failure: outcome.err(),
        };
        self.finished = Some(finished.clone());
        self.record(&Event::RunFinished(finished)).map(drop)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(Timestamp::MAX.as_millis())
}

/// A number below 2^53 as a payload.
fn instant(number: u64) -> Payload {
    Payload::new(number.into()).unwrap_or_default()
}

fn code_hash(code: &Code) -> Hash {
    Hash::of(crate::canonical::write(&code.as_str().into()))
}
