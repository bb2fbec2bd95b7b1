//! Which calls share answers, and what that costs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aos_core::Failure;
use aos_core::error::codes;
use aos_core::id::TenantId;
use aos_core::llm::{CacheUse, LlmRequest, PriceBook, StubAdapter};
use aos_core::memory::{MemoryCache, MemoryLedger};
use aos_core::random::Seed;
use aos_core::time::Clock;
use futures::future::join_all;
use tokio::sync::Semaphore;

use super::*;
use crate::clock::SystemClock;

/// A stub that costs a cent, counts its calls, and answers once it may.
struct Paid {
    calls: AtomicU64,
    may: Semaphore,
    fails: bool,
}

impl LlmAdapter for Paid {
    fn name(&self) -> &str {
        "paid"
    }

    fn is_live(&self) -> bool {
        true
    }

    fn invoke(&self, call: LlmCall) -> BoxFuture<'_, Result<LlmAnswer, LlmFailure>> {
        Box::pin(async move {
            self.calls.fetch_add(1, Ordering::Relaxed);
            self.may.acquire().await.unwrap().forget();
            if self.fails {
                return Err(Failure::new(codes::LLM_OVERLOADED, "busy").into());
            }
            let answer = StubAdapter.invoke(call).await?;
            Ok(LlmAnswer { cost: Some(Money::from_cents(1)), ..answer })
        })
    }
}

fn paid(fails: bool) -> (Arc<Paid>, Arc<CachedAdapter>) {
    let paid = Arc::new(Paid { calls: AtomicU64::new(0), may: Semaphore::new(0), fails });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cache = Arc::new(MemoryCache::new(Arc::clone(&clock), 1 << 20));
    let (ledger, metrics) = (Arc::new(MemoryLedger::new(Arc::clone(&clock))), Metrics::new().unwrap());
    let account = Account::new(ledger, Arc::new(PriceBook::builtin().unwrap()), clock);
    (Arc::clone(&paid), Arc::new(CachedAdapter::new(paid, cache, account, metrics)))
}

fn call(prompt: &str) -> LlmCall {
    let cache = CacheUse { ttl: Duration::from_secs(60), scope: "llm_invoke@1.0.0".into() };
    LlmCall { cache: Some(cache), ..LlmCall::new(LlmRequest::new("m", prompt), Seed::new(1)) }
}

#[tokio::test]
async fn the_same_is_paid_once() {
    let (paid, cached) = paid(false);
    paid.may.add_permits(100);
    let first = cached.invoke(call("a")).await.unwrap();
    assert_eq!((first.cached, first.cost), (false, Some(Money::from_cents(1))));
    let again = cached.invoke(call("a")).await.unwrap();
    assert_eq!((again.cached, again.cost, &again.response), (true, Some(Money::ZERO), &first.response));

    let mut other_tenant = call("a");
    other_tenant.tenant = TenantId::new("other").unwrap();
    let mut other_version = call("a");
    other_version.cache.as_mut().unwrap().scope = "llm_invoke@2.0.0".into();
    let without = LlmCall { cache: None, ..call("a") };
    for different in [call("b"), other_tenant, other_version, without] {
        assert!(!cached.invoke(different).await.unwrap().cached);
    }
    assert_eq!(paid.calls.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn equal_calls_at_one_time_are_one() {
    let (paid, cached) = paid(false);
    let calls = join_all((0..10).map(|_| cached.invoke(call("a"))));
    let (answers, ()) = tokio::join!(calls, async { paid.may.add_permits(1) });
    let cost: Money = answers.iter().map(|answer| answer.as_ref().unwrap().cost.unwrap()).sum();
    assert_eq!((paid.calls.load(Ordering::Relaxed), cost), (1, Money::from_cents(1)));
    assert!(cached.flights().is_empty());
}

#[tokio::test]
async fn a_call_that_was_given_up_is_made_by_the_next() {
    let (paid, cached) = paid(false);
    let first = tokio::spawn({
        let cached = Arc::clone(&cached);
        async move { cached.invoke(call("a")).await }
    });
    while paid.calls.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let second = cached.invoke(call("a"));
    let end = async {
        tokio::task::yield_now().await;
        first.abort();
        paid.may.add_permits(1);
    };
    let (second, ()) = tokio::join!(second, end);
    assert!(!second.unwrap().cached);
    assert_eq!(paid.calls.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn failures_are_not_kept() {
    let (paid, cached) = paid(true);
    paid.may.add_permits(2);
    for _ in 0..2 {
        assert_eq!(*cached.invoke(call("a")).await.unwrap_err().code(), codes::LLM_OVERLOADED);
    }
    assert_eq!(paid.calls.load(Ordering::Relaxed), 2);
}
