//! Seeded faults around every contract: errors, delays, and effects whose acknowledgement is lost.
//!
//! What happens to the n-th call of an operation is a function of the seed, the operation's name and n, so that a
//! seed reproduces the faults of an operation whatever else runs at the same time. Print the [`Faults`] when a test
//! fails: its `Debug` form has the seed and what was injected.

mod control;
mod llm;
mod stores;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aos_core::random::{Rng, Seed};
use aos_core::time::Clock;

/// How often which fault happens, in percent of the calls; at most 100 together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// The call fails before it has had any effect.
    pub refused: u8,
    /// The call takes effect, and then fails as if its answer were lost.
    pub lost: u8,
    /// The call is late.
    pub delayed: u8,
    /// The most a late call is late.
    pub max_delay: Duration,
}

/// What happened to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It failed before it had any effect.
    Refused,
    /// It took effect and then failed.
    Lost,
    /// It was late by this much.
    Delayed(Duration),
}

/// A fault that was injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injected {
    /// The operation, `journal.append` say.
    pub operation: &'static str,
    /// Which call of it, from 1.
    pub call: u64,
    /// What happened to it.
    pub fault: Fault,
}

/// The source of faults, shared by all wrappers of one test.
pub struct Faults {
    seed: Seed,
    rates: Rates,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: BTreeMap<&'static str, u64>,
    injected: Vec<Injected>,
    stopped: bool,
}

/// The error of an injected fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fault injected by seed {seed}: call {call} of {operation} {}", if *.had_effect { "took effect, its answer is lost" } else { "was refused" })]
pub struct InjectedError {
    seed: Seed,
    operation: &'static str,
    call: u64,
    had_effect: bool,
}

impl Faults {
    /// Faults by `seed`; delays are of `clock`'s time.
    pub fn new(seed: Seed, rates: Rates, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { seed, rates, clock, state: Mutex::default() })
    }

    /// The seed.
    pub const fn seed(&self) -> Seed {
        self.seed
    }

    /// No more faults from now on: what was begun must come to an end.
    pub fn stop(&self) {
        self.lock().stopped = true;
    }

    /// What was injected so far, in order.
    pub fn injected(&self) -> Vec<Injected> {
        self.lock().injected.clone()
    }

    /// Makes one call of `operation`, with the fault that the seed has for it. What is refused is not even called:
    /// an implementation may act before its future is polled.
    async fn around<T, E, F: Future<Output = Result<T, E>>>(
        &self,
        operation: &'static str,
        call: impl FnOnce() -> F,
        error: impl FnOnce(InjectedError) -> E,
    ) -> Result<T, E> {
        let (number, fault) = self.next(operation);
        let failed = |had_effect| error(InjectedError { seed: self.seed, operation, call: number, had_effect });
        match fault {
            None => call().await,
            Some(Fault::Refused) => Err(failed(false)),
            Some(Fault::Lost) => {
                call().await?;
                Err(failed(true))
            }
            Some(Fault::Delayed(by)) => {
                self.clock.sleep_until(self.clock.now().saturating_add(by)).await;
                call().await
            }
        }
    }

    /// As [`around`](Self::around), for an operation that can't fail: `None` stands for a fault.
    async fn sure<T, F: Future<Output = T>>(&self, operation: &'static str, call: impl FnOnce() -> F) -> Option<T> {
        self.around(operation, || async { Ok(call().await) }, drop).await.ok()
    }

    fn next(&self, operation: &'static str) -> (u64, Option<Fault>) {
        let mut state = self.lock();
        let call = state.calls.entry(operation).or_default();
        *call += 1;
        let call = *call;
        let fault = if state.stopped { None } else { self.decide(operation, call) };
        if let Some(fault) = fault {
            state.injected.push(Injected { operation, call, fault });
        }
        (call, fault)
    }

    fn decide(&self, operation: &str, call: u64) -> Option<Fault> {
        let mut rng = Rng::new(self.seed, &format!("fault/{operation}/{call}"));
        let drawn = rng.below(100);
        let [refused, lost, delayed] = [self.rates.refused, self.rates.lost, self.rates.delayed].map(u64::from);
        if drawn < refused {
            return Some(Fault::Refused);
        }
        if drawn < refused + lost {
            return Some(Fault::Lost);
        }
        let max = u64::try_from(self.rates.max_delay.as_millis()).unwrap_or(u64::MAX);
        (drawn < refused + lost + delayed)
            .then(|| Fault::Delayed(Duration::from_millis(rng.below(max.saturating_add(1)))))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Faults");
        shown.field("seed", &self.seed).field("rates", &self.rates).field("injected", &self.injected()).finish()
    }
}

/// A contract's implementation with faults around it: `Faulty<dyn JournalStore>` is a `JournalStore`, and so on for
/// every contract of the core.
pub struct Faulty<T: ?Sized> {
    inner: Arc<T>,
    faults: Arc<Faults>,
}

impl<T: ?Sized> Faulty<T> {
    /// Puts the faults of `faults` around `inner`.
    pub fn new(inner: Arc<T>, faults: &Arc<Faults>) -> Self {
        Self { inner, faults: Arc::clone(faults) }
    }
}

#[cfg(test)]
mod tests;
