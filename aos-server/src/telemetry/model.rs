//! An adapter whose calls are counted and traced.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aos_core::BoxFuture;
use aos_core::llm::{LlmAdapter, LlmAnswer, LlmCall, LlmFailure, LlmRequest};
use opentelemetry::trace::SpanKind;
use opentelemetry::{Array, StringValue, Value};

use crate::telemetry::{Metrics, Span, Tracer, below};

/// Counts calls, errors, tokens, cost and latency of the adapter within, and makes a span of each call.
pub struct CountedAdapter {
    inner: Arc<dyn LlmAdapter>,
    metrics: Metrics,
    tracer: Tracer,
}

impl CountedAdapter {
    /// Wraps an adapter.
    pub fn new(inner: Arc<dyn LlmAdapter>, metrics: Metrics, tracer: Tracer) -> Self {
        Self { inner, metrics, tracer }
    }

    fn count(&self, model: &str, took: Duration, result: &Result<LlmAnswer, LlmFailure>) {
        let adapter = self.name();
        match result {
            Ok(answer) => {
                self.metrics.llm(adapter, model, took, answer.cost.unwrap_or_default(), None);
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
                    self.metrics.llm_tokens(adapter, model, kind, tokens);
                }
            }
            Err(failure) => {
                self.metrics.llm(adapter, model, took, failure.failure.cost, Some(failure.code().as_str()));
            }
        }
    }

    /// By the [semantic conventions](https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/) of OpenTelemetry, as
    /// of November 2026. What was asked and answered is in the journal, not here.
    fn span(&self, request: &LlmRequest, took: Duration, result: &Result<LlmAnswer, LlmFailure>) -> Span {
        let provider = match self.name() {
            "claude" => "anthropic",
            other => other,
        };
        let span = Span::ended(format!("chat {}", request.model), None, took)
            .kind(SpanKind::Client)
            .with("gen_ai.operation.name", "chat")
            .with("gen_ai.provider.name", provider.to_owned())
            .with("gen_ai.request.model", request.model.clone())
            .with("gen_ai.request.max_tokens", i64::from(request.max_tokens));
        match result {
            Ok(LlmAnswer { response, cost, request_id, .. }) => {
                let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
                let reason = StringValue::from(response.stop_reason.as_str().to_owned());
                span.with("gen_ai.response.model", response.model.clone())
                    .with("gen_ai.response.finish_reasons", Value::Array(Array::String(vec![reason])))
                    .with("gen_ai.usage.input_tokens", count(response.usage.input_tokens))
                    .with("gen_ai.usage.output_tokens", count(response.usage.output_tokens))
                    .with("gen_ai.usage.cache_read.input_tokens", count(response.usage.cache_read_tokens))
                    .with("gen_ai.usage.cache_creation.input_tokens", count(response.usage.cache_write_tokens))
                    .with_some("aos.cost_cents", cost.map(|cost| cost.cents_rounded()))
                    .with_some("aos.provider_request_id", request_id.clone())
            }
            Err(failure) => span.failed(Some(failure.code())),
        }
    }
}

impl LlmAdapter for CountedAdapter {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn is_live(&self) -> bool {
        self.inner.is_live()
    }

    fn invoke(&self, mut call: LlmCall) -> BoxFuture<'_, Result<LlmAnswer, LlmFailure>> {
        Box::pin(async move {
            let (request, parent) = (Arc::clone(&call.request), call.trace);
            call.trace = parent.map(below);
            let (started, trace) = (Instant::now(), call.trace);
            let result = self.inner.invoke(call).await;
            let took = started.elapsed();
            if let Some(trace) = trace {
                self.tracer.emit(trace, || Span { parent, ..self.span(&request, took, &result) });
            }
            self.count(&request.model, took, &result);
            result
        })
    }
}
