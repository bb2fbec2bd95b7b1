//! The machine's clock, behind the core's contract.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aos_core::BoxFuture;
use aos_core::time::{Clock, Timestamp};

/// The current time. A clock that stands before 1970 reads as 1970.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.saturating_add(since_epoch)
}

/// How long ago the process first asked.
pub(crate) fn monotonic() -> Duration {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGAN.elapsed()
}

/// The machine's clock with tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        now()
    }

    fn monotonic(&self) -> Duration {
        monotonic()
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(sleep_until(now, deadline))
    }
}

/// Resolves when `deadline` has come by the clock that `now` reads.
pub(crate) async fn sleep_until(now: impl Fn() -> Timestamp, deadline: Timestamp) {
    // The timer counts monotonic time, the deadline is wall time: look again after a while, so that a clock that was
    // set forward is noticed.
    const LOOK_AGAIN: Duration = Duration::from_secs(60);
    loop {
        let left = deadline.since(now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK_AGAIN)).await;
    }
}

/// A clock that only goes forward, whatever somebody does to the machine's: for spans of time within this process.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    began: Instant,
    began_at: Timestamp,
}

impl MonotonicClock {
    /// A clock that agrees with the machine's for now.
    pub fn new() -> Self {
        Self { began: Instant::now(), began_at: now() }
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Timestamp {
        self.began_at.saturating_add(self.began.elapsed())
    }

    fn monotonic(&self) -> Duration {
        monotonic()
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(deadline.since(self.now())))
    }
}
