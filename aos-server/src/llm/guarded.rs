//! What stands between a call and a provider: its turn, its money, the operator's switches, and the provider's health.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aos_core::error::codes;
use aos_core::llm::{Breaker, LlmAdapter, LlmAnswer, LlmCall, LlmFailure, Outcome, Pass, Sent, Switches, Usage};
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

/// For how long a call waits for its turn, when it has no deadline before that: what has a deadline waits until that.
const PATIENCE: Duration = Duration::from_secs(300);

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

type Result = std::result::Result<LlmAnswer, LlmFailure>;

/// What a request may be sent with.
struct Begun {
    pass: Pass,
    ticket: Ticket,
    open: Open,
}

impl GuardedAdapter {
    /// Puts an adapter behind its guards.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Makes one attempt, and tells `caller` as soon as it is known how it ended.
    async fn attempt(self, mut call: LlmCall, mut caller: oneshot::Sender<Result>) {
        let begun = self.begin(&call, &mut caller).await;
        // Whoever waits gives up at the deadline by itself. The provider may be a little later: then it is known what that cost.
        call.deadline = call.deadline.map(|deadline| deadline.saturating_add(DRAIN));
        let Begun { pass, ticket, open } = match begun {
            Ok(begun) => begun,
            // Nobody hears it if the caller has gone.
            Err(failure) => return drop(caller.send(Err(failure))),
        };
        let inner = self.0.inner.invoke(call);
        tokio::pin!(inner);
        let mut result = tokio::select! {
            result = &mut inner => result,
            () = caller.closed() => match tokio::time::timeout(DRAIN, inner).await {
                Ok(result) => result,
                Err(_) => Err(abandoned()),
            },
        };
        self.hear(pass, &result);
        let settled = open.price(&mut result);
        let (was_sent, used) = (!matches!(&result, Err(failure) if failure.sent == Sent::No), used(&result));
        drop(caller.send(result));
        match used {
            _ if !was_sent => ticket.not_sent().await,
            Some(used) => ticket.settle(used.all_input(), used.output_tokens).await,
            // What was reserved counts.
            None => {}
        }
        settled.book().await;
    }

    /// Everything that has to be right before a request is sent.
    async fn begin(
        &self,
        call: &LlmCall,
        caller: &mut oneshot::Sender<Result>,
    ) -> std::result::Result<Begun, LlmFailure> {
        let Parts { inner, switches, pace, account, clock, .. } = &*self.0;
        let now = clock.now();
        let pass = self.breaker().pass(now).map_err(|until| Breaker::failure(inner.name(), until, now))?;
        // Whatever happens before the request is sent says nothing of the provider.
        let untold = || self.breaker().tell(pass, Outcome::Unknown, clock.now());
        let Estimate { input_tokens, output_tokens } = Estimate::of(&call.request);
        let turn = tokio::select! {
            turn = pace.turn(&call.tenant, input_tokens, output_tokens, call.deadline, PATIENCE) => turn,
            () = caller.closed() => Err(unwanted()),
        };
        let ticket = turn.inspect_err(|_| untold())?;
        let open = match account.open(inner.name(), call, input_tokens).await {
            Ok(open) => open,
            Err(failure) => {
                untold();
                ticket.not_sent().await;
                return Err(failure.into());
            }
        };
        // At the last moment: all of this may have taken its time.
        let refused = if !switches.live_allowed() || switches.force_stub_adapter() {
            let why = "live adapters were switched off while the call waited for its turn";
            Failure::new(codes::LLM_ADAPTER_DISABLED, why)
        } else if caller.is_closed() {
            unwanted()
        } else {
            return Ok(Begun { pass, ticket, open });
        };
        untold();
        ticket.not_sent().await;
        open.not_sent().await;
        Err(refused.into())
    }

    fn hear(&self, pass: Pass, result: &Result) {
        let (outcome, room, retry_after) = match result {
            Ok(answer) => (Outcome::Well, &answer.room, None),
            Err(failure) => (Outcome::of(failure), &failure.room, retry_after(&failure.failure)),
        };
        self.breaker().tell(pass, outcome, self.0.clock.now());
        self.0.pace.heard(room.as_deref(), retry_after);
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

    fn invoke(&self, call: LlmCall) -> BoxFuture<'_, Result> {
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
fn used(result: &Result) -> Option<Usage> {
    match result {
        // Some servers don't say.
        Ok(answer) => Some(answer.response.usage).filter(|usage| *usage != Usage::default()),
        Err(failure) => match failure.sent {
            Sent::No | Sent::Refused => Some(Usage::default()),
            Sent::Answered | Sent::Unknown => failure.usage,
        },
    }
}

fn unwanted() -> Failure {
    Failure::new(codes::CANCELLED, "the call was given up before it was sent")
}

fn abandoned() -> LlmFailure {
    let why = "the call was given up before its answer came";
    LlmFailure::new(Sent::Unknown, Failure::new(codes::LLM_INTERRUPTED, why))
}

#[cfg(test)]
mod tests;
