//! The pace at which calls reach a provider: within the limits set here, and with what the provider itself has left.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aos_core::id::TenantId;
use aos_core::limiter::{Amount, LimitRequest, Limiter, RateLimits, Verdict};
use aos_core::llm::Room;
use aos_core::time::{Clock, Timestamp};
use aos_core::{Failure, codes};
use tokio::sync::{Notify, watch};

use crate::telemetry::Metrics;

/// Who waits asks again at least this often: a call elsewhere may have used less than it reserved.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The pace of one adapter's calls.
///
/// The calls of a tenant get their turns in the order in which they came.
pub struct Pace {
    name: String,
    limits: RateLimits,
    limiter: Arc<dyn Limiter>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    provider: Mutex<Provider>,
    lanes: Mutex<BTreeMap<TenantId, Arc<Lane>>>,
}

/// The calls of one tenant.
struct Lane {
    /// Held by the call whose turn is next.
    turn: tokio::sync::Mutex<()>,
    /// When that is, as far as it is known.
    next: watch::Sender<Timestamp>,
    /// A call has used less than it reserved.
    freed: Notify,
}

/// What the provider has said.
struct Provider {
    /// It wants no call before that.
    closed_until: Timestamp,
    room: Room,
    heard_at: Timestamp,
    /// What was granted since.
    granted: Amount,
}

/// A granted turn. Dropped without a word, what was reserved counts for a minute: the call may have been made.
#[must_use = "say what the call used, or that it was not sent"]
pub struct Ticket {
    limiter: Arc<dyn Limiter>,
    lane: Arc<Lane>,
    request: LimitRequest,
    number: u64,
}

impl Pace {
    /// The pace of the adapter `name`, for which `limiter` keeps `limits`.
    pub fn new(
        name: impl Into<String>,
        limits: RateLimits,
        limiter: Arc<dyn Limiter>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let provider = Provider {
            closed_until: Timestamp::EPOCH,
            room: Room::default(),
            heard_at: Timestamp::EPOCH,
            granted: Amount::NONE,
        };
        let (provider, lanes) = (Mutex::new(provider), Mutex::default());
        Self { name: name.into(), limits, limiter, clock, metrics, provider, lanes }
    }

    /// Waits for the turn of a call that is thought to read and write so many tokens, but not beyond `deadline`, nor for
    /// longer than `patience`.
    ///
    /// # Errors
    /// [`codes::LLM_RATE_LIMIT`] with the time to wait, as soon as it is known that there is no turn in time. Nothing is
    /// counted then.
    pub async fn turn(
        &self,
        tenant: &TenantId,
        input_tokens: u64,
        output_tokens: u64,
        deadline: Option<Timestamp>,
        patience: Duration,
    ) -> Result<Ticket, Failure> {
        let (name, limits) = (self.name.clone(), self.limits);
        let request = LimitRequest { tenant: tenant.clone(), name, limits, input_tokens, output_tokens };
        let came_at = self.clock.now();
        let until = came_at.saturating_add(patience).min(deadline.unwrap_or(Timestamp::MAX));
        let lane = self.lane(tenant);
        let mut waited = false;
        let granted = self.wait(&lane, &request, until, &mut waited).await;
        let now = self.clock.now();
        if waited {
            self.metrics.rate_limit_wait(&self.name, now.since(came_at));
        }
        match granted {
            Ok(number) => Ok(Ticket { limiter: Arc::clone(&self.limiter), lane, request, number }),
            Err(next) => Err(self.no_turn(&request, next.since(now).max(Duration::from_millis(1)))),
        }
    }

    /// Learns what the provider said with an answer or a refusal: what it has left, and how long to leave it alone.
    pub fn heard(&self, room: Option<&Room>, retry_after: Option<Duration>) {
        let now = self.clock.now();
        let mut provider = self.provider();
        if let Some(room) = room.filter(|room| !room.is_unknown()) {
            (provider.room, provider.heard_at, provider.granted) = (*room, now, Amount::NONE);
        }
        if let Some(retry_after) = retry_after {
            provider.closed_until = provider.closed_until.max(now.saturating_add(retry_after));
        }
    }

    /// Waits for a grant; gives its number, or when there may be one, if that is too late.
    async fn wait(
        &self,
        lane: &Lane,
        request: &LimitRequest,
        until: Timestamp,
        waited: &mut bool,
    ) -> Result<u64, Timestamp> {
        let _turn = match lane.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => {
                *waited = true;
                let mut next = lane.next.subscribe();
                tokio::select! {
                    turn = lane.turn.lock() => turn,
                    Ok(next) = next.wait_for(|next| *next > until) => return Err(*next),
                    () = self.clock.sleep_until(until) => return Err(until.saturating_add(ASK_AGAIN)),
                }
            }
        };
        loop {
            // From here on, so that nothing is missed that happens while the limiter is asked.
            let freed = lane.freed.notified();
            let now = self.clock.now();
            let ready_at = self.provider().ready_at(request.amount());
            let next = if ready_at > now {
                ready_at
            } else {
                match self.limiter.acquire(request).await {
                    Verdict::Granted(number) => {
                        self.provider().grant(request.amount());
                        return Ok(number);
                    }
                    Verdict::Wait(wait) => now.saturating_add(wait),
                }
            };
            if next > until {
                // Who comes next may want less.
                return Err(next);
            }
            *waited = true;
            lane.next.send_replace(next);
            tokio::select! {
                () = self.clock.sleep_until(next.min(now.saturating_add(ASK_AGAIN))) => {}
                () = freed => {}
            }
        }
    }

    fn no_turn(&self, request: &LimitRequest, wait: Duration) -> Failure {
        let Self { name, limits, .. } = self;
        let message = format!(
            "{name} has no turn in time for a call of {} tokens: set here are {} requests and {} tokens per minute, and \
             the next turn is in {} ms at the earliest",
            request.amount().tokens(),
            limits.requests,
            limits.tokens,
            wait.as_millis()
        );
        Failure::new(codes::LLM_RATE_LIMIT, message).retry_after(wait)
    }

    fn lane(&self, tenant: &TenantId) -> Arc<Lane> {
        let mut lanes = lock(&self.lanes);
        if let Some(lane) = lanes.get(tenant) {
            return Arc::clone(lane);
        }
        let (turn, next) = (tokio::sync::Mutex::default(), watch::Sender::new(Timestamp::EPOCH));
        let lane = Arc::new(Lane { turn, next, freed: Notify::new() });
        lanes.insert(tenant.clone(), Arc::clone(&lane));
        lane
    }

    fn provider(&self) -> MutexGuard<'_, Provider> {
        lock(&self.provider)
    }
}

impl Provider {
    /// When it has room for `more`.
    fn ready_at(&self, more: Amount) -> Timestamp {
        self.room.ready_at(self.heard_at, self.granted.plus(more)).max(self.closed_until)
    }

    fn grant(&mut self, amount: Amount) {
        self.granted = self.granted.plus(amount);
    }
}

impl Ticket {
    /// The call was sent, and has read and written so many tokens.
    pub async fn settle(self, input_tokens: u64, output_tokens: u64) {
        self.used(Amount::call(input_tokens, output_tokens)).await;
    }

    /// The call was not sent: it does not count.
    pub async fn not_sent(self) {
        self.used(Amount::NONE).await;
    }

    async fn used(self, used: Amount) {
        self.limiter.settle(&self.request, self.number, used).await;
        if used != self.request.amount() {
            self.lane.freed.notify_waiters();
        }
    }
}

/// Every change is complete before anything that could panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
