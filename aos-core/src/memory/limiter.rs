//! A rate limiter in memory: for one process, or for several that each keep to an equal share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lock;
use crate::BoxFuture;
use crate::id::TenantId;
use crate::limiter::{Amount, LimitRequest, Limiter, Verdict, Window};
use crate::time::Clock;

/// Grants within this time stop to count together.
const SLOT: Duration = Duration::from_millis(100);

/// How many processes there are.
type Live = Box<dyn Fn() -> u64 + Send + Sync>;

/// One window for every tenant and name.
pub struct MemoryLimiter {
    clock: Arc<dyn Clock>,
    live: Live,
    windows: Mutex<BTreeMap<(TenantId, String), Window>>,
}

impl MemoryLimiter {
    /// A limiter that has granted nothing yet, of a process that has the limits for itself.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::among(clock, || 1)
    }

    /// A limiter of one of several processes that know nothing of each other's grants: each keeps to its share. `live`
    /// says how many they are, this one included.
    pub fn among(clock: Arc<dyn Clock>, live: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { clock, live: Box::new(live), windows: Mutex::default() }
    }

    fn try_acquire(&self, request: &LimitRequest) -> Verdict {
        let share = Amount::from(request.limits).part((self.live)());
        let mut windows = lock(&self.windows);
        let now = self.clock.now();
        let key = (request.tenant.clone(), request.name.clone());
        let window = windows.entry(key).or_insert_with(|| Window::new(SLOT));
        window.forget(now);
        match window.free_at(request.amount(), share) {
            Some(free_at) => Verdict::Wait(free_at.since(now).max(Duration::from_millis(1))),
            None => Verdict::Granted(window.grant(now, request.amount())),
        }
    }
}

impl Limiter for MemoryLimiter {
    fn acquire<'a>(&'a self, request: &'a LimitRequest) -> BoxFuture<'a, Verdict> {
        Box::pin(async move { self.try_acquire(request) })
    }

    fn settle<'a>(&'a self, request: &'a LimitRequest, ticket: u64, used: Amount) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some(window) = lock(&self.windows).get_mut(&(request.tenant.clone(), request.name.clone())) {
                window.settle(ticket, request.amount(), used);
            }
        })
    }
}
