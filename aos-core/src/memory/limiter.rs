//! A rate limiter in memory: a log of the last minute's grants.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lock;
use crate::BoxFuture;
use crate::id::TenantId;
use crate::limiter::{LimitRequest, Limiter, Verdict};
use crate::time::{Clock, Timestamp};

const WINDOW: Duration = Duration::from_secs(60);

/// How much is allowed in any minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests per minute.
    pub requests: u64,
    /// Tokens per minute.
    pub tokens: u64,
}

/// The same limits for every tenant and name, each with a window of its own.
///
/// The window slides: a grant counts for exactly the minute after it, so that no minute, wherever it begins, sees
/// more than the limit.
pub struct MemoryLimiter {
    clock: Arc<dyn Clock>,
    limits: RateLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tickets: u64,
    windows: BTreeMap<(TenantId, String), Window>,
}

#[derive(Default)]
struct Window {
    grants: VecDeque<Grant>,
    tokens: u64,
}

struct Grant {
    at: Timestamp,
    ticket: u64,
    tokens: u64,
}

impl MemoryLimiter {
    /// A limiter that has granted nothing yet.
    pub fn new(clock: Arc<dyn Clock>, limits: RateLimits) -> Self {
        Self { clock, limits, state: Mutex::default() }
    }

    fn try_acquire(&self, request: &LimitRequest) -> Verdict {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let ticket = state.tickets + 1;
        let window = state.windows.entry((request.tenant.clone(), request.name.clone())).or_default();
        window.forget(now);
        if let Some(free_at) = window.free_at(request.tokens, self.limits) {
            return Verdict::Wait(free_at.since(now).max(Duration::from_millis(1)));
        }
        window.tokens = window.tokens.saturating_add(request.tokens);
        window.grants.push_back(Grant { at: now, ticket, tokens: request.tokens });
        state.tickets = ticket;
        Verdict::Granted(ticket)
    }
}

impl Limiter for MemoryLimiter {
    fn acquire<'a>(&'a self, request: &'a LimitRequest) -> BoxFuture<'a, Verdict> {
        Box::pin(async move { self.try_acquire(request) })
    }

    fn settle<'a>(&'a self, request: &'a LimitRequest, ticket: u64, used: u64) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut state = lock(&self.state);
            if let Some(window) = state.windows.get_mut(&(request.tenant.clone(), request.name.clone())) {
                window.settle(ticket, used);
            }
        })
    }
}

impl Window {
    /// Drops the grants that no longer count.
    fn forget(&mut self, now: Timestamp) {
        while let Some(grant) = self.grants.front().filter(|grant| grant.at.saturating_add(WINDOW) <= now) {
            self.tokens = self.tokens.saturating_sub(grant.tokens);
            self.grants.pop_front();
        }
    }

    /// When a request of `tokens` will fit; `None` when it does now.
    fn free_at(&self, tokens: u64, limits: RateLimits) -> Option<Timestamp> {
        let mut requests = self.grants.len() as u64;
        let mut sum = self.tokens;
        let mut grants = self.grants.iter();
        let mut free_at = None;
        while requests >= limits.requests || sum.saturating_add(tokens) > limits.tokens {
            // An empty window holds any request: that is how one larger than the limit gets through, alone.
            let Some(oldest) = grants.next() else { break };
            requests -= 1;
            sum = sum.saturating_sub(oldest.tokens);
            free_at = Some(oldest.at.saturating_add(WINDOW));
        }
        free_at
    }

    fn settle(&mut self, ticket: u64, used: u64) {
        // Tickets rise, so the log is sorted by them. A grant that is gone has stopped counting.
        if let Ok(index) = self.grants.binary_search_by_key(&ticket, |grant| grant.ticket) {
            let before = std::mem::replace(&mut self.grants[index].tokens, used);
            self.tokens = self.tokens.saturating_sub(before).saturating_add(used);
        }
    }
}
