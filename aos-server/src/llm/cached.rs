//! Answers that are kept, and given again to who asks for the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use aos_core::BoxFuture;
use aos_core::cache::Cache;
use aos_core::canonical::Hash;
use aos_core::llm::{LlmAdapter, LlmAnswer, LlmCall, LlmFailure, LlmResponse};
use aos_core::money::Money;
use tokio::sync::OnceCell;

use super::account::Account;
use crate::telemetry::Metrics;

/// Gives kept answers of the adapter within to calls that allow it. Equal calls at one time share one of it: the first
/// makes it, the others wait for its answer, and pay nothing.
pub struct CachedAdapter {
    inner: Arc<dyn LlmAdapter>,
    cache: Arc<dyn Cache>,
    flights: Mutex<HashMap<Hash, Weak<Flight>>>,
    account: Account,
    metrics: Metrics,
}

/// A call under way, and its answer to those who wait for it. One that fails leaves it to the next to make it.
type Flight = OnceCell<LlmResponse>;

impl CachedAdapter {
    /// Keeps answers of `inner` in `cache`; `account` learns of those that are given again.
    pub fn new(inner: Arc<dyn LlmAdapter>, cache: Arc<dyn Cache>, account: Account, metrics: Metrics) -> Self {
        Self { inner, cache, flights: Mutex::default(), account, metrics }
    }

    async fn cached(&self, call: LlmCall, key: Hash) -> Result<LlmAnswer, LlmFailure> {
        let flight = self.flight(&key);
        let mut made = None;
        // Whoever comes first makes the call for all. Should its caller go away, the next one makes its own.
        let make = async || {
            if let Some(kept) = self.kept(&call, &key).await {
                return Ok(kept);
            }
            let answer = self.inner.invoke(call.clone()).await?;
            self.keep(&call, &key, &answer.response).await;
            let response = answer.response.clone();
            made = Some(answer);
            Ok::<_, LlmFailure>(response)
        };
        let result = flight.get_or_try_init(make).await.cloned();
        drop(flight);
        self.flights().retain(|_, flight| flight.strong_count() > 0);
        let (name, model) = (self.name(), &call.request.model);
        match (made, result?) {
            (Some(answer), _) => {
                self.metrics.llm_cache(name, model, false);
                Ok(answer)
            }
            (None, response) => {
                self.metrics.llm_cache(name, model, true);
                self.account.cached(name, &call).await;
                Ok(LlmAnswer { cached: true, ..LlmAnswer::new(response, Some(Money::ZERO)) })
            }
        }
    }

    fn flight(&self, key: &Hash) -> Arc<Flight> {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(key).and_then(Weak::upgrade) {
            return flight;
        }
        let flight = Arc::default();
        flights.insert(*key, Arc::downgrade(&flight));
        flight
    }

    async fn kept(&self, call: &LlmCall, key: &Hash) -> Option<LlmResponse> {
        let bytes = self.cache.get(&call.tenant, &key.to_string()).await?;
        // What an older release has kept in another form is a miss.
        serde_json::from_slice(&bytes).ok()
    }

    async fn keep(&self, call: &LlmCall, key: &Hash, response: &LlmResponse) {
        let (Some(cache), Ok(bytes)) = (&call.cache, serde_json::to_vec(response)) else { return };
        self.cache.put(&call.tenant, &key.to_string(), bytes.into(), cache.ttl).await;
    }

    /// Every change is one call, so that the map is whole whoever panics.
    fn flights(&self) -> MutexGuard<'_, HashMap<Hash, Weak<Flight>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LlmAdapter for CachedAdapter {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn is_live(&self) -> bool {
        self.inner.is_live()
    }

    fn invoke(&self, call: LlmCall) -> BoxFuture<'_, Result<LlmAnswer, LlmFailure>> {
        let Some(cache) = &call.cache else { return self.inner.invoke(call) };
        let key = call
            .request
            .hash()
            .map(|request| Hash::of(format!("{}\n{}\n{}\n{request}", call.tenant, self.name(), cache.scope)));
        Box::pin(async move { self.cached(call, key?).await })
    }
}

#[cfg(test)]
mod tests;
