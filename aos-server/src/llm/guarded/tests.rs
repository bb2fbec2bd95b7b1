//! What a call has to pass, and what is left behind by calls that end otherwise than well.

use std::sync::atomic::{AtomicU64, Ordering};

use aos_core::error::Code;
use aos_core::id::TenantId;
use aos_core::ledger::{CallState, LedgerStore, Period, Scope};
use aos_core::limiter::RateLimits;
use aos_core::llm::{Adapters, BreakerSettings, LlmRequest, PriceBook, StubAdapter};
use aos_core::memory::{MemoryLedger, MemoryLimiter};
use aos_core::money::Money;
use aos_core::random::Seed;
use tokio::sync::Semaphore;

use super::*;
use crate::clock::SystemClock;
use crate::telemetry::Metrics;

/// A model with a price.
const MODEL: &str = "claude-haiku-4-5";

/// Answers like the stub once it may, or fails with a code.
struct Provider {
    calls: AtomicU64,
    may: Semaphore,
    fails: Mutex<Option<(Code, Sent)>>,
}

impl LlmAdapter for Provider {
    fn name(&self) -> &str {
        "provider"
    }

    fn is_live(&self) -> bool {
        true
    }

    fn invoke(&self, call: LlmCall) -> BoxFuture<'_, Result> {
        Box::pin(async move {
            self.calls.fetch_add(1, Ordering::Relaxed);
            self.may.acquire().await.unwrap().forget();
            let fails = self.fails.lock().unwrap().clone();
            if let Some((code, sent)) = fails {
                return Err(LlmFailure::new(sent, Failure::new(code, "it fails")));
            }
            let answer = StubAdapter.invoke(call).await?;
            Ok(LlmAnswer { cost: None, ..answer })
        })
    }
}

struct Bench {
    provider: Arc<Provider>,
    ledger: Arc<MemoryLedger>,
    switches: Arc<Switches>,
    tasks: TaskTracker,
    guarded: GuardedAdapter,
}

impl Bench {
    /// A provider that may answer so often, behind guards that let through so many requests a minute.
    fn new(answers: usize, requests: u64) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metrics = Metrics::new().unwrap();
        let provider =
            Arc::new(Provider { calls: AtomicU64::new(0), may: Semaphore::new(answers), fails: Mutex::default() });
        let ledger = Arc::new(MemoryLedger::new(Arc::clone(&clock)));
        let book = Arc::new(PriceBook::builtin().unwrap());
        let account = Account::new(ledger.clone(), book, Arc::clone(&clock));
        let limits = RateLimits { requests, tokens: u64::MAX, input_tokens: None, output_tokens: None };
        let limiter = Arc::new(MemoryLimiter::new(Arc::clone(&clock)));
        let pace = Pace::new("provider", limits, limiter, Arc::clone(&clock), metrics);
        let (switches, tasks) = (Arc::<Switches>::default(), TaskTracker::new());
        let guarded = GuardedAdapter::new(Parts {
            inner: provider.clone(),
            switches: Arc::clone(&switches),
            pace,
            breaker: Mutex::new(Breaker::new(BreakerSettings::default())),
            account,
            clock,
            tasks: tasks.clone(),
        });
        Self { provider, ledger, switches, tasks, guarded }
    }

    fn call() -> LlmCall {
        LlmCall::new(LlmRequest::new(MODEL, "hi"), Seed::new(1))
    }

    async fn invoke(&self) -> Result {
        self.guarded.invoke(Self::call()).await
    }

    /// The states of all attempts, once nothing is under way: the newest first.
    async fn states(&self) -> Vec<CallState> {
        self.tasks.close();
        self.tasks.wait().await;
        let calls = self.ledger.calls(&TenantId::default(), None, 100).await.unwrap();
        calls.into_iter().map(|call| call.state).collect()
    }

    fn calls(&self) -> u64 {
        self.provider.calls.load(Ordering::Relaxed)
    }

    async fn called(&self, times: u64) {
        while self.calls() < times {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn an_answer_has_its_price_and_its_row() {
    let bench = Bench::new(1, 10);
    let answer = bench.invoke().await.unwrap();
    assert!(answer.cost > Some(Money::ZERO) && answer.price.is_some(), "{answer:?}");
    assert_eq!(bench.states().await, [CallState::Settled]);
    let calls = bench.ledger.calls(&TenantId::default(), None, 1).await.unwrap();
    assert_eq!((Some(calls[0].cost_min), calls[0].cost_max), (answer.cost, answer.cost));
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_make_the_cost_nothing() {
    let bench = Bench::new(0, 10);
    let guarded = bench.guarded.clone();
    let waiting = tokio::spawn(async move { guarded.invoke(Bench::call()).await });
    bench.called(1).await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    bench.provider.may.add_permits(1);
    assert_eq!(bench.states().await, [CallState::Settled]);
}

#[tokio::test]
async fn how_far_a_call_got_decides_what_it_counts() {
    for (code, sent, state) in [
        (codes::LLM_UNREACHABLE, Sent::No, CallState::NotSent),
        (codes::LLM_OVERLOADED, Sent::Refused, CallState::Refused),
        (codes::LLM_INTERRUPTED, Sent::Unknown, CallState::Unknown),
    ] {
        let bench = Bench::new(1, 10);
        *bench.provider.fails.lock().unwrap() = Some((code, sent));
        let failure = bench.invoke().await.unwrap_err();
        assert_eq!(failure.failure.cost.is_zero(), sent != Sent::Unknown, "{failure}");
        assert_eq!(bench.states().await, [state]);
    }
}

#[tokio::test]
async fn what_would_pass_a_budget_is_not_sent() {
    let bench = Bench::new(9, 10);
    let limit = Some(Money::from_picodollars(1));
    bench.ledger.set_budget(&TenantId::default(), &Scope::Tenant, Period::Day, limit).await.unwrap();
    let failure = bench.invoke().await.unwrap_err();
    assert_eq!((failure.code(), failure.sent), (&codes::BUDGET_EXCEEDED, Sent::No));
    assert_eq!(bench.calls(), 0);
    assert!(bench.states().await.is_empty());
}

#[tokio::test]
async fn a_switch_that_is_turned_meanwhile_is_obeyed() {
    let bench = Bench::new(9, 10);
    bench.switches.set_force_stub_adapter(true);
    let failure = bench.invoke().await.unwrap_err();
    assert_eq!((failure.code(), failure.sent), (&codes::LLM_ADAPTER_DISABLED, Sent::No));
    // Nobody who asks the set of adapters notices: the stub answers.
    let adapters =
        Adapters::new(Arc::clone(&bench.switches)).with(Arc::new(StubAdapter)).with(Arc::new(bench.guarded.clone()));
    let answer = adapters.invoke(Some("provider"), Bench::call()).await.unwrap();
    assert_eq!(answer.response.adapter, "stub");
    assert_eq!((bench.calls(), bench.states().await), (0, vec![CallState::NotSent]));
}

#[tokio::test]
async fn a_call_that_was_not_sent_leaves_its_turn_to_others() {
    let bench = Bench::new(1, 1);
    bench.switches.set_disable_live_adapters(true);
    bench.invoke().await.unwrap_err();
    bench.switches.set_disable_live_adapters(false);
    bench.invoke().await.unwrap();
    let mut late = Bench::call();
    late.deadline = Some(bench.guarded.0.clock.now().saturating_add(Duration::from_millis(10)));
    let failure = bench.guarded.invoke(late).await.unwrap_err();
    assert_eq!((failure.code(), failure.sent), (&codes::LLM_RATE_LIMIT, Sent::No));
    assert!(failure.failure.retry_after_ms > Some(50_000), "{failure:?}");
}

#[tokio::test]
async fn a_provider_that_was_not_reached_costs_no_turn() {
    let bench = Bench::new(2, 1);
    *bench.provider.fails.lock().unwrap() = Some((codes::LLM_UNREACHABLE, Sent::No));
    bench.invoke().await.unwrap_err();
    *bench.provider.fails.lock().unwrap() = None;
    let mut soon = Bench::call();
    soon.deadline = Some(bench.guarded.0.clock.now().saturating_add(Duration::from_secs(20)));
    bench.guarded.invoke(soon).await.unwrap();
}

#[tokio::test]
async fn a_provider_that_is_not_well_is_left_alone() {
    let bench = Bench::new(99, 99);
    *bench.provider.fails.lock().unwrap() = Some((codes::LLM_OVERLOADED, Sent::Refused));
    for _ in 0..BreakerSettings::default().failures {
        assert_eq!(*bench.invoke().await.unwrap_err().code(), codes::LLM_OVERLOADED);
    }
    let calls = bench.calls();
    let failure = bench.invoke().await.unwrap_err();
    assert_eq!((failure.code(), failure.sent, bench.calls()), (&codes::LLM_CIRCUIT_OPEN, Sent::No, calls));
    assert!(failure.failure.retryable && failure.failure.retry_after_ms.is_some());
}
