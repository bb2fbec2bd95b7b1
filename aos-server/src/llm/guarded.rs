//! What stands between a call and a provider: its turn, its money, the operator's switches, and the provider's health.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aos_core::error::codes;
use aos_core::llm::{Breaker, Health, LlmAdapter, LlmAnswer, LlmCall, LlmFailure, Sent, Switches, Usage};
use aos_core::time::Clock;
use aos_core::{BoxFuture, Failure};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::account::{Account, Open};
use super::estimate::Estimate;
use super::pace::{Pace, Ticket};

/// For how long a call goes on whose caller has gone: what it uses is paid for either way, and is to be known.
const DRAIN: Duration = Duration::from_secs(30);

/// A live adapter that is called only in turn, within budgets, while switches allow it and the provider is well; each of
/// its attempts has a row in the ledger.
///
/// Every attempt is a task of its own: whoever waits for it may go away, and what it has used is booked all the same.
#[derive(Clone)]
pub struct GuardedAdapter(Arc<Parts>);

/// What a [`GuardedAdapter`] is made of.
pub struct Parts {
    /// The adapter itself.
    pub inner: Arc<dyn LlmAdapter>,
    /// What an operator may switch off.
    pub switches: Arc<Switches>,
    /// Whose turn it is.
    pub pace: Pace,
    /// Whether the provider is well.
    pub breaker: Mutex<Breaker>,
    /// What attempts cost.
    pub account: Account,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Attempts under way.
    pub tasks: TaskTracker,
}

type Outcome = Result<LlmAnswer, LlmFailure>;

impl GuardedAdapter {
    /// Puts an adapter behind its guards.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Makes one attempt, and tells `caller` as soon as it is known how it ended.
    async fn attempt(self, call: LlmCall, mut caller: oneshot::Sender<Outcome>) {
        let outcome = tokio::select! {
            begun = self.begin(&call) => begun,
            // Nothing was sent, and nobody wants it any more.
            () = caller.closed() => return,
        };
        let (ticket, open) = match outcome {
            Ok(begun) => begun,
            // Nobody hears it if the caller has gone.
            Err(failure) => return drop(caller.send(Err(failure))),
        };
        let model = call.request.model.clone();
        let inner = self.0.inner.invoke(call);
        tokio::pin!(inner);
        let mut outcome = tokio::select! {
            outcome = &mut inner => outcome,
            () = caller.closed() => match tokio::time::timeout(DRAIN, inner).await {
                Ok(outcome) => outcome,
                Err(_) => Err(abandoned()),
            },
        };
        self.hear(&outcome);
        ticket.settle(used(&outcome));
        let settled = self.0.account.price(open, &model, &mut outcome);
        drop(caller.send(outcome));
        settled.book().await;
    }

    /// Everything that has to be right before a request is sent.
    async fn begin(&self, call: &LlmCall) -> Result<(Ticket, Open), LlmFailure> {
        let parts = &*self.0;
        self.breaker().admit(parts.clock.now())?;
        let estimate = Estimate::of(&call.request);
        let ticket = parts.pace.turn(&call.tenant, estimate, call.deadline).await;
        let ticket = ticket.inspect_err(|_| self.breaker().pass())?;
        let open = match parts.account.open(parts.inner.name(), call, estimate).await {
            Ok(open) => open,
            Err(failure) => {
                ticket.not_sent();
                self.breaker().pass();
                return Err(failure.into());
            }
        };
        // At the last moment: waiting may have taken its time.
        if !parts.switches.live_allowed() || parts.switches.force_stub_adapter() {
            ticket.not_sent();
            self.breaker().pass();
            open.not_sent().await;
            let why = "live adapters were switched off while the call waited for its turn";
            return Err(Failure::new(codes::LLM_ADAPTER_DISABLED, why).into());
        }
        Ok((ticket, open))
    }

    fn hear(&self, outcome: &Outcome) {
        let (room, retry_after) = match outcome {
            Ok(answer) => (&answer.room, None),
            Err(failure) => (&failure.room, retry_after(&failure.failure)),
        };
        self.0.pace.heard(room.as_deref(), retry_after);
        self.breaker().heard(Health::of(outcome.as_ref().map(|_| ())), self.0.clock.now());
    }

    /// Every change is one call.
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.0.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LlmAdapter for GuardedAdapter {
    fn name(&self) -> &str {
        self.0.inner.name()
    }

    fn is_live(&self) -> bool {
        true
    }

    fn invoke(&self, call: LlmCall) -> BoxFuture<'_, Outcome> {
        let (sender, outcome) = oneshot::channel();
        let attempt = self.clone().attempt(call, sender);
        self.0.tasks.spawn(attempt.in_current_span());
        Box::pin(async move {
            // The task answers unless it panics, or the process is ending.
            outcome.await.unwrap_or_else(|_| Err(abandoned()))
        })
    }
}

/// What the provider asks to wait for after a 429.
fn retry_after(failure: &Failure) -> Option<Duration> {
    (failure.code == codes::LLM_RATE_LIMITED).then_some(failure.retry_after_ms).flatten().map(Duration::from_millis)
}

/// What counts against the limits; `None` where nobody knows.
fn used(outcome: &Outcome) -> Option<Usage> {
    match outcome {
        Ok(answer) => Some(answer.response.usage),
        Err(failure) => match failure.sent {
            Sent::No | Sent::Refused => Some(Usage::default()),
            Sent::Answered | Sent::Unknown => failure.usage,
        },
    }
}

fn abandoned() -> LlmFailure {
    let why = "the call was given up before its answer came";
    LlmFailure::new(Sent::Unknown, Failure::new(codes::LLM_INTERRUPTED, why))
}
