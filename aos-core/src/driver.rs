//! The only async loop: between an engine and the contracts of a host, under any runtime.
//!
//! [`drive`] advances one claimed run until it has ended, is parked, or belongs to somebody else. [`create`] makes a run
//! that the host is to drive at once, and has its first entries made durable with it. Both spawn nothing and know no
//! runtime: they work under tokio, smol and a plain `block_on` alike. Prolonging leases is the caller's.

mod attempt;
mod begin;
mod child;
mod host;
mod pause;

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::poll_fn;

pub use begin::{Begun, create};
pub use host::{Attempt, Host, NoObserver, Observer, RunReport, Stores};

use attempt::InFlight;

use crate::BoxFuture;
use crate::engine::{Batch, Engine, RunOptions, Step};
use crate::error::{Failure, codes};
use crate::event::{Fact, HostEffect, RunFinished};
use crate::journal::{Append, Line, Transition};
use crate::runs::{Claim, Lease, Message, NewRun, StoreError};
use crate::skill::CrashClass;
use crate::time::Timestamp;
use crate::workflow::Plan;

/// What became of a driven run.
#[derive(Clone, Debug, PartialEq)]
pub enum Driven {
    /// It has ended, durably.
    Finished(RunFinished),
    /// It waits for a timer or its inbox, or was asked to pause, and has given its lease back.
    Parked,
    /// Another worker holds it: nothing more was written.
    LeaseLost,
}

/// How many journal lines are read at once when a run is resumed.
const READ_LINES: usize = 10_000;

/// The epoch of a run's first lease.
const FIRST_EPOCH: u64 = 1;

/// Advances a claimed run until it has ended, is parked, or is lost to another worker.
///
/// Dropping the future abandons the run where it is, as a crash would.
///
/// # Errors
/// A store that fails, a journal that is damaged, or a program that drifts from it. The lease is still held then:
/// the caller decides whether to release it.
pub async fn drive(host: &Host, claim: Claim) -> Result<Driven, Failure> {
    told(host, &claim, drive_claimed(host, &claim)).await
}

/// Tells the observer how driving a claim ends.
async fn told(
    host: &Host,
    claim: &Claim,
    driving: impl Future<Output = Result<Driven, Failure>>,
) -> Result<Driven, Failure> {
    let begun = host.clock.monotonic();
    let driven = driving.await;
    host.observer.driven(claim, host.clock.monotonic().saturating_sub(begun), &driven);
    driven
}

async fn drive_claimed(host: &Host, claim: &Claim) -> Result<Driven, Failure> {
    // Under the first lease of a run there is nothing to read, unless its creation wrote something or this is not the
    // first time that it is driven under it: then its first append is refused, before anything but pure skills was
    // executed.
    if claim.lease.epoch == FIRST_EPOCH && claim.record.new.forked_from.is_none() {
        let plan = host.plan(&claim.record.new.plan).await?;
        match advance(host, claim, start(host, &claim.record.new, plan)?).await {
            Err(failure) if failure.code == codes::FENCED => {}
            driven => return driven,
        }
    }
    advance(host, claim, load(host, claim).await?).await
}

async fn advance(host: &Host, claim: &Claim, engine: Engine) -> Result<Driven, Failure> {
    let mut run = Run::new(host, claim, engine);
    // Before anything is begun: it may be a request to stop.
    let seen = run.engine.inbox_seen();
    if claim.record.inbox_last > seen {
        run.read_inbox(seen).await?;
    }
    if claim.record.pausing {
        return run.pause().await;
    }
    let step = run.engine.poll();
    run.go_on(step).await
}

/// Starts the run's engine, or resumes it from its journal.
async fn load(host: &Host, Claim { lease, record }: &Claim) -> Result<Engine, Failure> {
    let plan = host.plan(&record.new.plan).await?;
    let lines = read_all(host, lease).await?;
    if !lines.is_empty() {
        let blobs = host.blobs_of(&lines).await?;
        return Ok(Engine::resume(plan, &host.flows, &lines, &|hash| blobs.get(hash).cloned(), host.clock.now())?);
    }
    // From the start it would do anew what the original has done.
    if record.new.forked_from.is_some() {
        let message = format!("the past of the fork {} was never written: fork the original again", lease.run);
        return Err(Failure::new(codes::CONFLICT, message));
    }
    start(host, &record.new, plan)
}

fn start(host: &Host, new: &NewRun, plan: Arc<Plan>) -> Result<Engine, Failure> {
    let options = RunOptions {
        run: new.run.clone(),
        tenant: new.tenant.clone(),
        seed: new.seed,
        budget: new.budget,
        forked_from: new.forked_from.clone(),
    };
    Engine::start(plan, &host.flows, new.input.clone(), options, host.clock.now())
}

async fn read_all(host: &Host, lease: &Lease) -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    loop {
        let page = host.stores.journal.read(&lease.tenant, &lease.run, lines.len() as u64, READ_LINES).await?;
        if page.is_empty() {
            return Ok(lines);
        }
        lines.extend(page);
    }
}

struct Run<'a> {
    host: &'a Host,
    lease: Lease,
    engine: Engine,
    in_flight: InFlight<'a>,
    /// Entries that only pure effects depend on so far: they are made durable with the next append.
    unsaved: Batch,
}

impl<'a> Run<'a> {
    fn new(host: &'a Host, claim: &Claim, engine: Engine) -> Self {
        let (unsaved, in_flight) = (engine.nothing(), InFlight::new(claim));
        Self { host, lease: claim.lease.clone(), engine, in_flight, unsaved }
    }

    /// Takes a step of the engine, and those after it.
    async fn go_on(mut self, mut step: Step) -> Result<Driven, Failure> {
        loop {
            match step {
                Step::Do { append, effects } => {
                    self.unsaved.extend(append);
                    if !effects.iter().all(is_pure) && !self.save(Transition::Continue).await? {
                        return Ok(Driven::LeaseLost);
                    }
                    for effect in effects {
                        self.in_flight.begin(self.host, &self.lease, effect);
                    }
                }
                Step::Wait { wake_at } => match self.wait(wake_at).await? {
                    Waited::GoOn => {}
                    Waited::Pause => return self.pause().await,
                    Waited::Over(driven) => return Ok(driven),
                },
                Step::Done { append, finished, .. } => {
                    self.unsaved.extend(append);
                    let saved = self.save(Transition::Finish(finished.clone())).await?;
                    return Ok(if saved { Driven::Finished(finished) } else { Driven::LeaseLost });
                }
            }
            step = self.engine.poll();
        }
    }

    /// Makes what is unsaved durable; false when the lease is lost.
    async fn save(&mut self, transition: Transition) -> Result<bool, Failure> {
        if self.unsaved.lines.is_empty() && transition == Transition::Continue {
            return Ok(true);
        }
        let next =
            Batch { first_index: self.unsaved.first_index + self.unsaved.lines.len() as u64, ..Batch::default() };
        let batch = std::mem::replace(&mut self.unsaved, next);
        let append = Append {
            lease: self.lease.clone(),
            first_index: batch.first_index,
            lines: batch.lines,
            blobs: batch.blobs,
            transition,
        };
        let lines = append.lines.clone();
        match self.host.stores.journal.append(append).await {
            Ok(()) => {
                self.host.observer.appended(&self.lease, &lines);
                Ok(true)
            }
            Err(StoreError::Fenced { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until something happens.
    async fn wait(&mut self, wake_at: Option<Timestamp>) -> Result<Waited, Failure> {
        if self.in_flight.is_empty() && self.may_park(wake_at) {
            if self.read_inbox(self.engine.inbox_seen()).await? > 0 {
                return Ok(Waited::GoOn);
            }
            return Ok(Waited::Over(self.park(wake_at).await?));
        }
        // What only pure effects follow can wait for their results; anything else may take its time.
        if !self.in_flight.is_only_pure() && !self.save(Transition::Continue).await? {
            return Ok(Waited::Over(Driven::LeaseLost));
        }
        let (tenant, run, seen) = (&self.lease.tenant, &self.lease.run, self.engine.inbox_seen());
        let changed = self.host.stores.runs.changed(tenant, run, seen);
        let timer = self.timer(wake_at);
        match next(&mut self.in_flight, timer, changed).await {
            Happened::Effect(fact) => self.engine.apply(fact, self.host.clock.now()),
            Happened::Timer => self.engine.apply(Fact::Tick, self.host.clock.now()),
            Happened::Inbox => {
                if self.read_inbox(seen).await? == 0 {
                    return self.why_woken().await;
                }
            }
        }
        Ok(Waited::GoOn)
    }

    /// Gives the lease back until `wake_at`, or until something is in the inbox.
    async fn park(&mut self, wake_at: Option<Timestamp>) -> Result<Driven, Failure> {
        let parked = Transition::Park { wake_at, inbox_seen: self.engine.inbox_seen() };
        Ok(if self.save(parked).await? { Driven::Parked } else { Driven::LeaseLost })
    }

    /// What a change means that is not a message: the run's end, which only another worker can have brought about, or
    /// a request to pause.
    async fn why_woken(&mut self) -> Result<Waited, Failure> {
        let record = self.host.stores.runs.get(&self.lease.tenant, &self.lease.run).await?;
        let vanished = || {
            let message = format!("the run {} has vanished from the store", self.lease.run);
            Failure::new(codes::NOT_FOUND, message)
        };
        let record = record.ok_or_else(vanished)?;
        Ok(match (record.state.is_terminal(), record.pausing) {
            (true, _) => Waited::Over(Driven::LeaseLost),
            (false, true) => Waited::Pause,
            (false, false) => Waited::GoOn,
        })
    }

    fn timer(&self, wake_at: Option<Timestamp>) -> BoxFuture<'static, ()> {
        match wake_at {
            Some(at) => self.host.clock.sleep_until(at),
            None => Box::pin(std::future::pending()),
        }
    }

    fn may_park(&self, wake_at: Option<Timestamp>) -> bool {
        let Some(patience) = self.host.park_after else { return false };
        wake_at.is_none_or(|at| at.since(self.host.clock.now()) > patience)
    }

    async fn read_inbox(&mut self, after: u64) -> Result<usize, Failure> {
        let items = self.host.stores.runs.inbox(&self.lease.tenant, &self.lease.run, after).await?;
        let count = items.len();
        for item in items {
            let fact = match item.message {
                Message::Signal { name, payload } => Fact::Signal { seq: item.seq, name, payload },
                Message::Cancel { reason } => Fact::Cancel { seq: item.seq, reason },
            };
            self.engine.apply(fact, self.host.clock.now());
        }
        Ok(count)
    }
}

fn is_pure(effect: &HostEffect) -> bool {
    match effect {
        HostEffect::Call(call) => call.crash == CrashClass::Pure,
        HostEffect::Abort { .. } => true,
        HostEffect::Child(_) => false,
    }
}

/// What a wait came to.
enum Waited {
    GoOn,
    /// Somebody asked the run to pause.
    Pause,
    Over(Driven),
}

enum Happened {
    Effect(Fact),
    Timer,
    Inbox,
}

/// The first of an effect's end, the timer and the inbox, in this order when several are there.
async fn next(in_flight: &mut InFlight<'_>, timer: BoxFuture<'_, ()>, changed: BoxFuture<'_, ()>) -> Happened {
    let (mut timer, mut changed) = (timer, changed);
    poll_fn(|context: &mut Context<'_>| {
        if let Poll::Ready(fact) = in_flight.poll_next(context) {
            return Poll::Ready(Happened::Effect(fact));
        }
        if timer.as_mut().poll(context).is_ready() {
            return Poll::Ready(Happened::Timer);
        }
        changed.as_mut().poll(context).map(|()| Happened::Inbox)
    })
    .await
}
