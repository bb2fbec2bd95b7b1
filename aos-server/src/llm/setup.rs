//! The adapters that settings describe, each behind what belongs before it.

use std::sync::{Arc, Mutex};

use aos_core::Failure;
use aos_core::cache::Cache;
use aos_core::ledger::LedgerStore;
use aos_core::limiter::{Limiter, RateLimits};
use aos_core::llm::{Adapters, Breaker, BreakerSettings, LlmAdapter, PriceBook, STUB, StubAdapter, Switches};
use aos_core::memory::{MemoryCache, MemoryLedger, MemoryLimiter};
use aos_core::time::Clock;
use tokio_util::task::TaskTracker;

use super::account::Account;
use super::cached::CachedAdapter;
use super::guarded::{GuardedAdapter, Parts};
use super::pace::Pace;
use crate::backend::Backend;
use crate::backend::claude::{self, ClaudeAdapter};
use crate::backend::openai::{self, OpenAiAdapter};
use crate::backend::redis::Redis;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::telemetry::{CountedAdapter, Metrics, Tracer};
use crate::worker::report::Live;

/// Bytes of answers that a process keeps which has no Redis.
const CACHE_BYTES: usize = 64 << 20;

/// Who serves models for itself limits itself.
const UNLIMITED: RateLimits =
    RateLimits { requests: u64::MAX, tokens: u64::MAX, input_tokens: None, output_tokens: None };

/// What adapters share with other processes, or have for themselves.
#[derive(Clone)]
pub struct Surroundings {
    /// Keeps calls within limits.
    pub limiter: Arc<dyn Limiter>,
    /// Keeps answers.
    pub cache: Arc<dyn Cache>,
    /// Keeps the account.
    pub ledger: Arc<dyn LedgerStore>,
    /// What calls cost.
    pub book: Arc<PriceBook>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
    /// Where spans go.
    pub tracer: Tracer,
    /// Attempts under way: to be waited for when the process ends.
    pub tasks: TaskTracker,
}

impl Surroundings {
    /// For a process of its own, that keeps nothing.
    pub fn alone(book: Arc<PriceBook>, metrics: &Metrics) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Self {
            limiter: Arc::new(MemoryLimiter::new(Arc::clone(&clock))),
            cache: Arc::new(MemoryCache::new(Arc::clone(&clock), CACHE_BYTES)),
            ledger: Arc::new(MemoryLedger::new(Arc::clone(&clock))),
            book,
            clock,
            metrics: metrics.clone(),
            tracer: Tracer::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// For one of the processes that share a state of record, and `redis` when there is one.
    pub fn shared(
        book: Arc<PriceBook>,
        backend: &Backend,
        redis: Option<&Redis>,
        live: &Live,
        metrics: &Metrics,
    ) -> Self {
        let clock = backend.clock();
        let (ledger, live) = (backend.control().ledger, live.clone());
        let live = move || live.count();
        let mut shared = Self { ledger, clock, ..Self::alone(book, metrics) };
        match redis {
            Some(redis) => (shared.limiter, shared.cache) = (redis.limiter(live), redis.cache()),
            // Each keeps to its share.
            None => shared.limiter = Arc::new(MemoryLimiter::among(Arc::clone(&shared.clock), move || live() as u64)),
        }
        shared
    }

    /// Puts a live adapter behind limits, account, switches and cache.
    pub fn guard(
        &self,
        inner: Arc<dyn LlmAdapter>,
        limits: RateLimits,
        switches: &Arc<Switches>,
    ) -> Arc<dyn LlmAdapter> {
        let Self { limiter, cache, ledger, book, clock, metrics, tracer, tasks } = self.clone();
        let account = Account::new(ledger, book, Arc::clone(&clock));
        let pace = Pace::new(inner.name(), limits, limiter, Arc::clone(&clock), metrics.clone());
        let breaker = Mutex::new(Breaker::new(BreakerSettings::default()));
        let parts =
            Parts { inner, switches: Arc::clone(switches), pace, breaker, account: account.clone(), clock, tasks };
        let guarded = Arc::new(GuardedAdapter::new(parts));
        let counted = Arc::new(CountedAdapter::new(guarded, metrics.clone(), tracer));
        Arc::new(CachedAdapter::new(counted, cache, account, metrics))
    }
}

/// The adapters that settings describe. None of them reaches for its provider before it is called.
///
/// # Errors
/// Keys that can't be read; TLS that can't be set up on this machine.
pub fn adapters(config: &Config, around: &Surroundings) -> Result<Adapters, Failure> {
    let switches = Arc::new(Switches::default());
    switches.set_disable_live_adapters(config.switches.disable_live);
    switches.set_force_stub_adapter(config.switches.force_stub);
    let stub = Arc::new(CountedAdapter::new(Arc::new(StubAdapter), around.metrics.clone(), around.tracer.clone()));
    let mut adapters = Adapters::new(Arc::clone(&switches)).with(stub);
    adapters = adapters.expect_live(claude::NAME).expect_live(openai::NAME).default_adapter(STUB);
    if let Some(adapter) = ClaudeAdapter::from_config(&config.claude)? {
        // Whoever gave a key for Claude wants answers from there; whoever runs another server beside it names it.
        adapters = adapters
            .with(around.guard(Arc::new(adapter), config.claude.limits(), &switches))
            .default_adapter(claude::NAME);
    }
    if let Some(adapter) = OpenAiAdapter::from_config(&config.openai)? {
        adapters = adapters.with(around.guard(Arc::new(adapter), UNLIMITED, &switches));
    }
    Ok(adapters)
}
