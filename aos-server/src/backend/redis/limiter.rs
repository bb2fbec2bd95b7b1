//! The shared rate limiter: one sliding window for all replicas, kept by a script in Redis, on Redis's own clock.
//!
//! No minute may have more than the limit, whatever becomes of Redis and of the replicas' way to it. So nothing rests on
//! what Redis remembers:
//!
//! - **Every replica keeps its own log** of what it was granted within the last minute, and tells all of it with every
//!   step. What Redis has is the sum of what it was told. A lost answer, a settlement, a grant made without Redis: all of it
//!   is right again after the next step.
//! - **Steps of a replica come one after the other**, and a step that arrives after a later one changes nothing: a Redis
//!   that was stopped for a while finds old steps in its sockets.
//! - **With every answer comes a promise**: what the replica may grant itself, should this be the last answer it gets.
//!   Redis grants that to nobody else. The promise takes a part of what is left and shrinks with it, so it costs little.
//!   It is used without asking Redis as long as it lasts, so that what is far from the limit costs no round trip. What is
//!   granted so is told with the next step; what is granted while a step is under way counts against its answer's promise.
//!   Only while a step asks for more it is not used, since Redis takes it for unused then.
//! - **Of a replica that is silent its fair share is kept back**, the limit divided by the number of live replicas. So a
//!   replica without Redis may use, beside its promise, its part of what ends to count from then on, and after a minute
//!   its whole share.
//! - **A replica that starts without Redis** was promised nothing, and grants nothing until it is sure that nothing counts
//!   any more that it doesn't know of. Even one that is alone can't know what the one before it was granted.
//! - **An epoch begins when everything is lost** (`FLUSHDB`, a restart, an eviction): then nothing is granted until every
//!   live replica has told its log, which takes about a second, or until a minute has passed.

mod alone;
mod step;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aos_core::BoxFuture;
use aos_core::canonical::Hash;
use aos_core::limiter::{Amount, LimitRequest, Limiter, Verdict, WINDOW, Window};
use aos_core::time::{Clock, Timestamp};
use redis::Script;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::connection::Link;
use super::jitter::Jitter;
use super::trouble::Trouble;
use crate::clock::MonotonicClock;
use alone::{Alone, UNHEARD};
use step::{Answer, Ask, Status, Told};

/// Grants within this time stop to count together: that bounds what a step has to tell.
const SLOT: Duration = Duration::from_secs(1);

/// How often a replica tells Redis that it is there. It counts as silent after two and a half of these.
const REPORT: Duration = Duration::from_secs(1);

/// Who wants a grant tells everything first when that was longer ago than this.
const OVERDUE: Duration = Duration::from_secs(2);

/// How long to wait for one's turn; steps of one limit come one after the other.
const PATIENCE: Duration = Duration::from_millis(200);

/// When to ask again after that.
const RETRY: Duration = Duration::from_millis(100);

/// Without Redis nobody is told to wait longer than this: it may be back.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A limit that nobody has asked for this long is forgotten.
const UNUSED: Duration = Duration::from_secs(600);

/// How many processes there are.
type Live = Box<dyn Fn() -> usize + Send + Sync>;

/// A rate limiter that all processes share, and each obeys without Redis too.
pub struct RedisLimiter {
    link: Link,
    script: Script,
    live: Live,
    me: String,
    clock: Arc<dyn Clock>,
    /// Whether Redis goes by that clock as well.
    clock_for_all: bool,
    limits: Mutex<BTreeMap<String, Arc<Limit>>>,
    known: Mutex<Known>,
    /// Whoever tells everything holds this.
    telling: tokio::sync::Mutex<()>,
    complained: AtomicBool,
}

/// One limit of one tenant.
struct Limit {
    name: String,
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

struct State {
    /// What a minute may have, as whoever asked last has said.
    most: Amount,
    window: Window,
    alone: Alone,
    sequence: u64,
    used_at: Timestamp,
    /// Whether a step that asks for more is under way.
    asking: bool,
}

/// While it is there, a step asks for more.
struct Asking<'a>(&'a Limit);

/// What this process knows about all limits.
struct Known {
    /// The epoch in which Redis was told everything.
    epoch: String,
    /// When, last.
    told_at: Option<Timestamp>,
    /// The last answer, by Redis's clock and by this process's.
    heard: (u64, Timestamp),
    /// How many replicas Redis had heard of then.
    present: u64,
    /// How many replicas there were, from which time on, as far as it still matters.
    replicas: VecDeque<(Timestamp, u64)>,
}

impl RedisLimiter {
    /// A limiter that tells Redis every second what it was granted, for as long as it lives. `live` says how
    /// many processes share the limits, this one included; 0 means that nobody knows, and then those count that Redis has
    /// heard of.
    ///
    /// Needs a tokio runtime, and that runtime's timer.
    pub fn start(link: Link, live: impl Fn() -> usize + Send + Sync + 'static) -> Arc<Self> {
        let limiter = Arc::new(Self::new(link, Box::new(live), Arc::new(MonotonicClock::new()), false));
        let weak = Arc::downgrade(&limiter);
        tokio::spawn(async move {
            let mut jitter = Jitter::new();
            while let Some(limiter) = weak.upgrade() {
                // Who wants a grant meets the same trouble, and the connection has said so.
                let _ = limiter.report().await;
                let link = limiter.link.clone();
                drop(limiter);
                let pause = REPORT * 2 / 3 + jitter.up_to(REPORT / 2);
                if link.is_up() {
                    sleep(pause).await;
                } else {
                    let _ = timeout(pause, link.up()).await;
                }
            }
        });
        limiter
    }

    /// A limiter for which time passes on `clock`, in Redis too, and that tells what it was granted when it is asked for
    /// something, or by [`RedisLimiter::report`]: for tests.
    pub fn on_clock(link: Link, live: impl Fn() -> usize + Send + Sync + 'static, clock: Arc<dyn Clock>) -> Self {
        Self::new(link, Box::new(live), clock, true)
    }

    fn new(link: Link, live: Live, clock: Arc<dyn Clock>, clock_for_all: bool) -> Self {
        let known = Known {
            epoch: String::new(),
            told_at: None,
            heard: (0, clock.now()),
            present: 0,
            replicas: VecDeque::new(),
        };
        Self {
            link,
            script: step::script(),
            live,
            me: Uuid::new_v4().simple().to_string(),
            clock,
            clock_for_all,
            limits: Mutex::default(),
            known: Mutex::new(known),
            telling: tokio::sync::Mutex::default(),
            complained: AtomicBool::new(false),
        }
    }

    /// Tells Redis everything that this process was granted within the last minute.
    ///
    /// # Errors
    /// What is wrong with Redis.
    pub async fn report(&self) -> Result<(), Trouble> {
        let _one = self.telling.lock().await;
        self.tell_all().await
    }

    /// Tells everything unless that was done lately; nothing when it can't be done in time.
    async fn up_to_date(&self) -> Option<()> {
        if self.is_up_to_date() {
            return Some(());
        }
        if !self.link.is_up() {
            return None;
        }
        let _one = timeout(PATIENCE, self.telling.lock()).await.ok()?;
        // Perhaps by whoever was first.
        if self.is_up_to_date() { Some(()) } else { self.tell_all().await.ok() }
    }

    /// Whether it is worth while to ask for something: Redis does not go by that, but by what it was told itself.
    fn is_up_to_date(&self) -> bool {
        let told_at = self.known().told_at;
        told_at.is_some_and(|at| self.clock.now().since(at) <= OVERDUE)
    }

    async fn tell_all(&self) -> Result<(), Trouble> {
        // The first try may find out which epoch it is, and the second one that a new one has begun meanwhile.
        for _ in 0..3 {
            let mut epochs = Vec::new();
            for limit in self.limits_in_use().await {
                let _turn = limit.turn.lock().await;
                let before = limit.state().alone.promise;
                let mut answer = self.step(Some(&limit), None).await?;
                if answer.status == Status::Open && !before.fits(answer.promise) {
                    // Only who tells that it knows of its smaller promise makes room for others.
                    answer = self.step(Some(&limit), None).await?;
                }
                epochs.push(answer.epoch);
            }
            let epoch = epochs.pop().unwrap_or_else(|| self.known().epoch.clone());
            if epochs.iter().all(|other| *other == epoch) {
                self.known().epoch = epoch;
                let answer = self.step(None, None).await?;
                if answer.status == Status::Open {
                    self.known().told_at = Some(self.clock.now());
                    return Ok(());
                }
                self.known().epoch = answer.epoch;
            }
        }
        Ok(())
    }

    /// The limits to tell of; those that nobody uses are forgotten, here and there.
    async fn limits_in_use(&self) -> Vec<Arc<Limit>> {
        let now = self.clock.now();
        let unused = |limit: &Limit| {
            let mut state = limit.state();
            state.window.forget(now);
            state.window.is_empty() && now.since(state.used_at) > UNUSED
        };
        let (unused, used): (Vec<_>, Vec<_>) = self.limits().values().cloned().partition(|limit| unused(limit));
        for limit in unused {
            self.limits().remove(&limit.name);
            let mut forget = redis::cmd("HDEL");
            forget.arg(step::KEY).arg(format!("{}/{}", limit.name, self.me));
            // What is left there is not counted for long.
            let _ = self.link.call(|mut connection| async move { forget.exec_async(&mut connection).await }).await;
        }
        used
    }

    /// One step with Redis; whoever takes one of a limit has its turn.
    async fn step(&self, limit: Option<&Limit>, want: Option<Amount>) -> Result<Answer, Trouble> {
        let now = self.clock.now();
        let live = (self.live)() as u64;
        let (told_in, heard, replicas) = {
            let mut known = self.known();
            (known.epoch.clone(), known.heard.0, known.replicas(now, live))
        };
        let told = limit.map(|limit| {
            let mut state = limit.state();
            state.sequence += 1;
            state.window.forget(now);
            let ages = state.window.log().map(|(from, amount)| (ms(now.since(from)), amount));
            let told = Told {
                limit: &limit.name,
                sequence: state.sequence,
                most: state.most,
                want,
                alone: state.alone.at_most(now.saturating_add(UNHEARD), &state.window, state.most, replicas),
                log: ages.collect(),
            };
            (told, state.alone.granted)
        });
        let (told, granted) = told.unzip();
        let time = self.clock_for_all.then(|| now.as_millis());
        // Whom Redis has heard of lately is better than nothing, above all when it has just lost everything.
        let live = if live == 0 { replicas } else { live };
        let ask = Ask { now: time, me: &self.me, live, told_in: &told_in, heard, limit: told };
        let step = ask.of(&self.script);
        let call = |mut connection| async move { Answer::read(step.invoke_async(&mut connection).await?) };
        let answer = self.link.call(call).await.inspect_err(|trouble| self.complain(trouble))?;
        let now = self.clock.now();
        self.known().hear(now, &answer);
        if let (Some(limit), Some(told), Status::Open | Status::Granted) = (limit, granted, answer.status) {
            limit.state().alone.hear(now, told, &answer);
        }
        Ok(answer)
    }

    /// Grants what was promised, or asks Redis; nothing when there is no answer to go by.
    async fn shared(&self, limit: &Limit, more: Amount) -> Option<Verdict> {
        for _ in 0..2 {
            self.up_to_date().await?;
            if let Some(ticket) = self.promised(limit, more) {
                return Some(Verdict::Granted(ticket));
            }
            let Ok(turn) = timeout(PATIENCE, limit.turn.lock()).await else { return Some(Verdict::Wait(RETRY)) };
            // Whoever had the turn has brought a new promise along.
            if let Some(ticket) = self.promised(limit, more) {
                return Some(Verdict::Granted(ticket));
            }
            let asking = limit.ask();
            let answer = self.step(Some(limit), Some(more)).await.ok()?;
            match answer.status {
                Status::Granted => return Some(Verdict::Granted(limit.state().window.grant(self.clock.now(), more))),
                Status::Open => return Some(Verdict::Wait(Duration::from_millis(answer.wait_ms.max(1)))),
                Status::Closed => return None,
                Status::Report | Status::Stale => {}
            }
            // In this order: whoever has the turn next may ask as well.
            drop(asking);
            drop(turn);
            self.known().told_at = None;
        }
        None
    }

    /// Grants what the last answer promised, if that is enough and nobody asks for more than that.
    fn promised(&self, limit: &Limit, more: Amount) -> Option<u64> {
        let now = self.clock.now();
        let replicas = self.known().replicas(now, (self.live)() as u64);
        let mut state = limit.state();
        state.window.forget(now);
        let promised = !state.asking && state.alone.is_promised(more, &state.window, state.most, replicas);
        promised.then(|| state.grant_alone(now, more))
    }

    /// Grants from this process's own share.
    async fn alone(&self, limit: &Limit, more: Amount) -> Verdict {
        let Ok(_turn) = timeout(PATIENCE, limit.turn.lock()).await else { return Verdict::Wait(RETRY) };
        let now = self.clock.now();
        let replicas = self.known().replicas(now, (self.live)() as u64);
        let mut state = limit.state();
        state.window.forget(now);
        match state.alone.judge(now, more, &state.window, state.most, replicas) {
            Ok(()) => Verdict::Granted(state.grant_alone(now, more)),
            Err(at) => Verdict::Wait(at.since(now).clamp(Duration::from_millis(1), LONGEST_WAIT)),
        }
    }

    fn limit(&self, request: &LimitRequest) -> Arc<Limit> {
        let name = Hash::of(format!("{}\n{}", request.tenant, request.name)).to_hex().as_str()[..32].to_owned();
        let (now, heard_at) = (self.clock.now(), self.known().heard.1);
        let mut limits = self.limits();
        let limit = limits.entry(name.clone()).or_insert_with(|| {
            let state = State {
                most: request.limits.into(),
                window: Window::new(SLOT),
                alone: Alone::new(heard_at),
                sequence: 0,
                used_at: now,
                asking: false,
            };
            Arc::new(Limit { name, turn: tokio::sync::Mutex::default(), state: Mutex::new(state) })
        });
        let mut state = limit.state();
        (state.most, state.used_at) = (request.limits.into(), now);
        drop(state);
        Arc::clone(limit)
    }

    /// What concerns all commands is said by the connection; a script that fails by itself is said here, once.
    fn complain(&self, trouble: &Trouble) {
        if !trouble.kind.concerns_all() && !self.complained.swap(true, Ordering::Relaxed) {
            tracing::error!(
                error = trouble.what,
                "the rate limiter's script fails in Redis: going on with this process's share; {}",
                trouble.kind.advice()
            );
        }
    }

    fn limits(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Limit>>> {
        lock(&self.limits)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

impl Limiter for RedisLimiter {
    fn acquire<'a>(&'a self, request: &'a LimitRequest) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let limit = self.limit(request);
            match self.shared(&limit, request.amount()).await {
                Some(verdict) => verdict,
                None => self.alone(&limit, request.amount()).await,
            }
        })
    }

    fn settle<'a>(&'a self, request: &'a LimitRequest, ticket: u64, used: Amount) -> BoxFuture<'a, ()> {
        // Redis learns of it with the next step.
        self.limit(request).state().window.settle(ticket, request.amount(), used);
        Box::pin(std::future::ready(()))
    }
}

impl Limit {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn ask(&self) -> Asking<'_> {
        self.state().asking = true;
        Asking(self)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.state().asking = false;
    }
}

impl State {
    fn grant_alone(&mut self, now: Timestamp, more: Amount) -> u64 {
        self.alone.granted = self.alone.granted.plus(more);
        self.window.grant(now, more)
    }
}

impl Known {
    fn hear(&mut self, now: Timestamp, answer: &Answer) {
        self.heard = (answer.now, now);
        self.present = answer.present;
    }

    /// How many replicas there may be, of which `live` are known to somebody who knows, or 0. Those that are no longer
    /// there count as long as their grants do.
    fn replicas(&mut self, now: Timestamp, live: u64) -> u64 {
        let heard_lately = now < self.heard.1.saturating_add(WINDOW + UNHEARD);
        let count = if live == 0 || heard_lately { live.max(self.present) } else { live };
        if self.replicas.back().is_none_or(|(_, last)| *last != count) {
            self.replicas.push_back((now, count));
        }
        while self.replicas.get(1).is_some_and(|(from, _)| from.saturating_add(WINDOW + UNHEARD) <= now) {
            self.replicas.pop_front();
        }
        self.replicas.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1)
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Every change is complete before anything that could panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
