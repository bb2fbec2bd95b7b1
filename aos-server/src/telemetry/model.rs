//! An adapter whose calls are counted.

use std::sync::Arc;
use std::time::Instant;

use aos_core::BoxFuture;
use aos_core::llm::{LlmAdapter, LlmAnswer, LlmCall, LlmFailure};

use crate::telemetry::Metrics;

/// Counts calls, errors, tokens, cost and latency of the adapter within.
pub struct CountedAdapter {
    inner: Arc<dyn LlmAdapter>,
    metrics: Metrics,
}

impl CountedAdapter {
    /// Wraps an adapter.
    pub fn new(inner: Arc<dyn LlmAdapter>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }
}

impl LlmAdapter for CountedAdapter {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn is_live(&self) -> bool {
        self.inner.is_live()
    }

    fn invoke(&self, call: LlmCall) -> BoxFuture<'_, Result<LlmAnswer, LlmFailure>> {
        Box::pin(async move {
            let (adapter, model) = (self.name(), call.request.model.clone());
            let started = Instant::now();
            let result = self.inner.invoke(call).await;
            let took = started.elapsed();
            match &result {
                Ok(answer) => {
                    self.metrics.llm(adapter, &model, took, answer.cost.unwrap_or_default(), None);
                    if answer.cost.is_none() {
                        self.metrics.llm_unpriced(adapter, &answer.response.model);
                    }
                    let usage = &answer.response.usage;
                    for (kind, tokens) in [
                        ("input", usage.input_tokens),
                        ("output", usage.output_tokens),
                        ("cache_read", usage.cache_read_tokens),
                        ("cache_write", usage.cache_write_tokens),
                    ] {
                        self.metrics.llm_tokens(adapter, &model, kind, tokens);
                    }
                }
                Err(failure) => {
                    self.metrics.llm(adapter, &model, took, failure.failure.cost, Some(failure.code().as_str()))
                }
            }
            result
        })
    }
}
