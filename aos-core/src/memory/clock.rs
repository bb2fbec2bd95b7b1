//! Clocks: one whose time passes when told, and the system's under tokio.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::lock;
use crate::BoxFuture;
use crate::time::{Clock, Timestamp};

/// A clock whose time passes only when somebody says so; for tests and simulations.
///
/// Clones show the same time. In [automatic](VirtualClock::auto) mode nobody has to say so: when nothing has
/// asked this clock for anything between two polls of a sleeper, the host is taken to be idle and time jumps to the
/// earliest deadline. A sleeper stays busy for that, so the mode is for hosts that run in one thread, and whose work
/// waits for nothing but this clock.
#[derive(Clone)]
pub struct VirtualClock(Arc<Mutex<State>>);

struct State {
    now: Timestamp,
    auto: bool,
    /// Rises whenever somebody uses the clock, polls of sleepers aside.
    activity: u64,
    next_sleeper: u64,
    sleepers: BTreeMap<(Timestamp, u64), Waker>,
}

impl VirtualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self::with_mode(now, false)
    }

    /// A clock that starts at `now` and jumps to the earliest sleeper's deadline when the host is idle.
    pub fn auto(now: Timestamp) -> Self {
        Self::with_mode(now, true)
    }

    fn with_mode(now: Timestamp, auto: bool) -> Self {
        Self(Arc::new(Mutex::new(State { now, auto, activity: 0, next_sleeper: 0, sleepers: BTreeMap::new() })))
    }

    /// Lets `duration` pass and wakes the sleepers whose deadline comes with it.
    pub fn advance(&self, duration: Duration) {
        let mut state = lock(&self.0);
        let now = state.now.saturating_add(duration);
        let woken = state.set(now);
        drop(state);
        wake(woken);
    }

    /// Sets the time, forwards or backwards, and wakes the sleepers whose deadline has come.
    pub fn set(&self, now: Timestamp) {
        let woken = lock(&self.0).set(now);
        wake(woken);
    }

    /// Lets time pass until the earliest sleeper's deadline; gives that time, or `None` when nobody sleeps.
    pub fn advance_to_next(&self) -> Option<Timestamp> {
        let mut state = lock(&self.0);
        let deadline = state.earliest()?;
        let woken = state.set(deadline);
        drop(state);
        wake(woken);
        Some(deadline)
    }

    /// How many sleepers wait for a later time.
    pub fn sleepers(&self) -> usize {
        lock(&self.0).sleepers.len()
    }
}

/// Stands at the Unix epoch until told otherwise.
impl Default for VirtualClock {
    fn default() -> Self {
        Self::new(Timestamp::EPOCH)
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let mut state = lock(&self.0);
        state.activity += 1;
        state.now
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(Sleep { clock: self.clone(), deadline, key: None, seen: 0 })
    }
}

impl State {
    fn set(&mut self, now: Timestamp) -> Vec<Waker> {
        self.now = now;
        self.activity += 1;
        let later = self.sleepers.split_off(&(now, u64::MAX));
        std::mem::replace(&mut self.sleepers, later).into_values().collect()
    }

    fn earliest(&self) -> Option<Timestamp> {
        self.sleepers.keys().next().map(|(deadline, _)| *deadline)
    }
}

fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

struct Sleep {
    clock: VirtualClock,
    deadline: Timestamp,
    key: Option<(Timestamp, u64)>,
    /// The clock's activity at the last poll.
    seen: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut state = lock(&this.clock.0);
        if state.now >= this.deadline {
            if let Some(key) = this.key.take() {
                state.sleepers.remove(&key);
            }
            return Poll::Ready(());
        }
        let first = this.key.is_none();
        let key = *this.key.get_or_insert_with(|| {
            state.next_sleeper += 1;
            state.activity += 1;
            (this.deadline, state.next_sleeper)
        });
        state.sleepers.insert(key, cx.waker().clone());
        if !state.auto {
            return Poll::Pending;
        }
        let mut woken = vec![cx.waker().clone()];
        if !first && state.activity == this.seen {
            let deadline = state.earliest().unwrap_or(this.deadline);
            woken.extend(state.set(deadline));
        }
        this.seen = state.activity;
        drop(state);
        wake(woken);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            lock(&self.clock.0).sleepers.remove(&key);
        }
    }
}

/// The system's clock, with the timer of the tokio runtime that polls it.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioClock;

#[cfg(feature = "tokio")]
impl Clock for TokioClock {
    #[allow(clippy::disallowed_methods, reason = "this is the host's clock, on behalf of embedders that ask for it")]
    fn now(&self) -> Timestamp {
        // A clock before 1970 is as wrong as one at 1970.
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH.saturating_add(since_epoch)
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        /// The system's clock may be set while we sleep: look again at least this often.
        const STRETCH: Duration = Duration::from_secs(30);

        let clock = *self;
        Box::pin(async move {
            loop {
                let now = clock.now();
                if now >= deadline {
                    return;
                }
                tokio::time::sleep(deadline.since(now).min(STRETCH)).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join3;

    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn sleepers_wake_when_their_time_comes() {
        let clock = VirtualClock::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut sleep = clock.sleep_until(at(1_000));
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        clock.advance(Duration::from_millis(999));
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        assert_eq!(clock.advance_to_next(), Some(at(1_000)));
        assert!(sleep.as_mut().poll(&mut context).is_ready());
        assert_eq!((clock.sleepers(), clock.advance_to_next()), (0, None));
    }

    #[test]
    fn a_dropped_sleeper_is_forgotten() {
        let clock = VirtualClock::default();
        let mut sleep = clock.sleep_until(at(5));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(clock.sleepers(), 1);
        drop(sleep);
        assert_eq!(clock.sleepers(), 0);
    }

    #[test]
    fn automatic_time_visits_deadlines_in_order() {
        let clock = VirtualClock::auto(Timestamp::EPOCH);
        let order = Mutex::new(Vec::new());
        let task = |first: u64, second: u64| {
            let (clock, order) = (&clock, &order);
            async move {
                for ms in [first, second] {
                    clock.sleep_until(at(ms)).await;
                    lock(order).push((ms, clock.now().as_millis()));
                }
            }
        };
        pollster::block_on(join3(task(500, 1_000), task(100, 86_400_000), task(200, 700)));
        let expected: Vec<_> = [100, 200, 500, 700, 1_000, 86_400_000].map(|ms| (ms, ms)).into();
        assert_eq!(*lock(&order), expected);
    }
}
