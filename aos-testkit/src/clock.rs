//! A clock that stands still until a test moves it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use aos_core::BoxFuture;
use aos_core::time::{Clock, Timestamp};

/// Virtual time: it moves only when a test, or the [harness](crate::harness), moves it. Clones share it.
///
/// ```
/// use std::time::Duration;
/// use aos_core::time::Clock;
/// use aos_testkit::clock::VirtualClock;
///
/// let clock = VirtualClock::default();
/// let start = clock.now();
/// clock.advance(Duration::from_secs(3_600));
/// assert_eq!(clock.now().since(start), Duration::from_secs(3_600));
/// ```
#[derive(Clone)]
pub struct VirtualClock(Arc<Mutex<State>>);

struct State {
    now: Timestamp,
    next_timer: u64,
    timers: BTreeMap<(Timestamp, u64), Option<Waker>>,
}

/// A timer in the clock's list; it leaves the list when the future that waits for it is dropped.
struct Timer {
    clock: VirtualClock,
    deadline: Timestamp,
    key: Option<(Timestamp, u64)>,
}

impl Default for VirtualClock {
    /// Starts at 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::at(Timestamp::from_millis(1_767_225_600_000))
    }
}

impl VirtualClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(State { now, next_timer: 0, timers: BTreeMap::new() })))
    }

    /// Moves the clock forward and wakes whoever waited for a time up to then.
    pub fn advance(&self, by: Duration) {
        let to = self.lock().now.saturating_add(by);
        self.advance_to(to);
    }

    /// Moves the clock to `to` (never back) and wakes whoever waited for a time up to then.
    pub fn advance_to(&self, to: Timestamp) {
        let mut state = self.lock();
        state.now = state.now.max(to);
        let due = (state.now, u64::MAX);
        let wakers: Vec<_> = state.timers.range_mut(..=due).filter_map(|(_, waker)| waker.take()).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The earliest time that somebody waits for.
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.lock().timers.keys().next().map(|(deadline, _)| *deadline)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        let mut timer = Timer { clock: self.clone(), deadline, key: None };
        Box::pin(poll_fn(move |context| timer.poll(context.waker())))
    }
}

impl Timer {
    fn poll(&mut self, waker: &Waker) -> Poll<()> {
        let mut state = self.clock.lock();
        if state.now >= self.deadline {
            if let Some(key) = self.key.take() {
                state.timers.remove(&key);
            }
            return Poll::Ready(());
        }
        let key = *self.key.get_or_insert_with(|| {
            state.next_timer += 1;
            (self.deadline, state.next_timer)
        });
        state.timers.insert(key, Some(waker.clone()));
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.clock.lock().timers.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Context;

    use super::*;

    #[test]
    fn timers_fire_when_their_time_has_come_and_leave_when_dropped() {
        let clock = VirtualClock::default();
        let start = clock.now();
        let at = |s| start.saturating_add(Duration::from_secs(s));
        let (mut early, mut late) = (clock.sleep_until(at(1)), clock.sleep_until(at(5)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(early.as_mut().poll(&mut context).is_pending());
        assert!(late.as_mut().poll(&mut context).is_pending());
        assert_eq!(clock.next_timer(), Some(at(1)));
        clock.advance_to(at(2));
        assert!(early.as_mut().poll(&mut context).is_ready());
        assert!(late.as_mut().poll(&mut context).is_pending());
        assert_eq!(clock.next_timer(), Some(at(5)));
        drop(late);
        assert_eq!(clock.next_timer(), None);
        clock.advance_to(start);
        assert_eq!(clock.now(), at(2), "the clock went back");
    }
}
