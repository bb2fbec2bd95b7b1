//! The metrics of the process, on a Prometheus page.
//!
//! Names follow the exporter's rules: `_total` and the unit are appended by it, so a counter is called `aos_runs`
//! here and `aos_runs_total` on the page. No run, request or tenant id is ever a label.

use std::sync::Arc;
use std::time::Duration;

use aos_core::money::Money;
use aos_core::runs::RunState;
use aos_core::{Failure, codes};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, MeterProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

/// Bounds in seconds for what should take milliseconds.
const FAST: &[f64] = &[0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Bounds in seconds for what a model, a page or a person takes part in.
const SLOW: &[f64] =
    &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 3600.0];

/// Everything AOS counts. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    // Dropping the provider would empty the page.
    _provider: SdkMeterProvider,
    http_requests: Counter<u64>,
    http_duration: Histogram<f64>,
    runs: Counter<u64>,
    run_duration: Histogram<f64>,
    run_cost: Counter<f64>,
    replays: Counter<u64>,
    drift: Gauge<u64>,
    skill_duration: Histogram<f64>,
    skill_errors: Counter<u64>,
    llm_calls: Counter<u64>,
    llm_errors: Counter<u64>,
    llm_latency: Histogram<f64>,
    llm_tokens: Counter<u64>,
    llm_cost: Counter<f64>,
    llm_cache: Counter<u64>,
    llm_unpriced: Counter<u64>,
    registry_operations: Counter<u64>,
    registry_size: Gauge<u64>,
    queue_depth: Gauge<u64>,
    queue_oldest: Gauge<f64>,
    workers: Gauge<u64>,
    slots: Gauge<u64>,
    rescued: Counter<u64>,
    fenced: Counter<u64>,
    append: Histogram<f64>,
    rate_limiter_degraded: Gauge<u64>,
    rate_limit_waits: Histogram<f64>,
}

impl Metrics {
    /// All metrics, those without labels at zero.
    ///
    /// # Errors
    /// [`codes::INTERNAL`] when the exporter refuses its set-up.
    pub fn new() -> Result<Self, Failure> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .build()
            .map_err(|e| Failure::new(codes::INTERNAL, format!("the metrics exporter could not be built: {e}")))?;
        let provider = SdkMeterProvider::builder().with_reader(exporter).build();
        let metrics = Self(Arc::new(Inner::new(registry, provider)));
        metrics.start_at_zero();
        Ok(metrics)
    }

    /// The page, in Prometheus' text format.
    ///
    /// # Errors
    /// [`codes::INTERNAL`] when a metric can't be encoded.
    pub fn page(&self) -> Result<String, Failure> {
        TextEncoder::new()
            .encode_to_string(&self.0.registry.gather())
            .map_err(|e| Failure::new(codes::INTERNAL, format!("the metrics could not be encoded: {e}")))
    }

    /// An HTTP request was answered. `route` is the route's pattern, never the path itself.
    pub fn http(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let labels = [
            KeyValue::new("method", method),
            KeyValue::new("route", route.to_string()),
            KeyValue::new("status", i64::from(status)),
        ];
        self.0.http_requests.add(1, &labels);
        self.0.http_duration.record(took.as_secs_f64(), &labels[..2]);
    }

    /// A run has ended.
    pub fn run(&self, workflow: &str, status: &'static str, took: Duration, cost: Money) {
        let labels = [KeyValue::new("workflow", workflow.to_string()), KeyValue::new("status", status)];
        self.0.runs.add(1, &labels);
        self.0.run_duration.record(took.as_secs_f64(), &labels);
        if !cost.is_zero() {
            self.0.run_cost.add(cost.cents(), &labels[..1]);
        }
    }

    /// A finished run was replayed: `match`, `drift`, `failed` (the journal could not be read or is damaged), or
    /// `skipped` (the queue was full).
    pub fn replay(&self, result: &'static str) {
        self.0.replays.add(1, &[KeyValue::new("result", result)]);
    }

    /// How many finished runs have drifted since the start.
    pub fn drift(&self, runs: u64) {
        self.0.drift.record(runs, &[]);
    }

    /// An attempt of a skill has ended; `code` is its error.
    pub fn skill(&self, skill: &str, version: &str, took: Duration, code: Option<&str>) {
        let skill = KeyValue::new("skill", skill.to_string());
        let version = KeyValue::new("version", version.to_string());
        self.0.skill_duration.record(took.as_secs_f64(), &[skill.clone(), version.clone()]);
        if let Some(code) = code {
            self.0.skill_errors.add(1, &[skill, version, KeyValue::new("code", code.to_string())]);
        }
    }

    /// A call of a model has ended; `code` is its error.
    pub fn llm(&self, adapter: &str, model: &str, took: Duration, cost: Money, code: Option<&str>) {
        let labels = [KeyValue::new("adapter", adapter.to_string()), KeyValue::new("model", model.to_string())];
        self.0.llm_calls.add(1, &labels);
        self.0.llm_latency.record(took.as_secs_f64(), &labels);
        if !cost.is_zero() {
            self.0.llm_cost.add(cost.cents(), &labels);
        }
        if let Some(code) = code {
            let [adapter, model] = labels;
            self.0.llm_errors.add(1, &[adapter, model, KeyValue::new("code", code.to_string())]);
        }
    }

    /// Counts an answer whose cost is not known.
    pub fn llm_unpriced(&self, adapter: &str, model: &str) {
        let labels = [KeyValue::new("adapter", adapter.to_owned()), KeyValue::new("model", model.to_owned())];
        self.0.llm_unpriced.add(1, &labels);
    }

    /// Tokens that a model call used. `kind` is `input`, `output`, `cache_read` or `cache_write`.
    pub fn llm_tokens(&self, adapter: &str, model: &str, kind: &'static str, tokens: u64) {
        self.0.llm_tokens.add(
            tokens,
            &[
                KeyValue::new("adapter", adapter.to_string()),
                KeyValue::new("model", model.to_string()),
                KeyValue::new("kind", kind),
            ],
        );
    }

    /// A call that may use a cache was answered: from there, or not.
    pub fn llm_cache(&self, adapter: &str, model: &str, hit: bool) {
        let labels = [
            KeyValue::new("adapter", adapter.to_string()),
            KeyValue::new("model", model.to_string()),
            KeyValue::new("result", if hit { "hit" } else { "miss" }),
        ];
        self.0.llm_cache.add(1, &labels);
    }

    /// The registry was asked for something: `register`, `enable`, `disable`, `import`, `rollback`, …
    pub fn registry_operation(&self, operation: &'static str, ok: bool) {
        let result = if ok { "ok" } else { "error" };
        self.0.registry_operations.add(1, &[KeyValue::new("operation", operation), KeyValue::new("result", result)]);
    }

    /// How many versions the registry holds. `kind` is `skill` or `workflow`.
    pub fn registry_size(&self, kind: &'static str, versions: usize) {
        self.0.registry_size.record(versions as u64, &[KeyValue::new("kind", kind)]);
    }

    /// How many runs are in a state.
    pub fn queue_depth(&self, state: RunState, runs: u64) {
        self.0.queue_depth.record(runs, &[KeyValue::new("state", state.as_str())]);
    }

    /// For how long the oldest claimable run has waited.
    pub fn queue_oldest(&self, waited: Duration) {
        self.0.queue_oldest.record(waited.as_secs_f64(), &[]);
    }

    /// How many workers this process runs, and how many runs they advance right now.
    pub fn workers(&self, workers: u64, busy: u64) {
        self.0.workers.record(workers, &[]);
        self.0.slots.record(busy, &[]);
    }

    /// A run of a dead worker was taken over.
    pub fn rescued(&self) {
        self.0.rescued.add(1, &[]);
    }

    /// A write came too late and was refused.
    pub fn fenced(&self) {
        self.0.fenced.add(1, &[]);
    }

    /// An append to a journal was made durable.
    pub fn append(&self, took: Duration) {
        self.0.append.record(took.as_secs_f64(), &[]);
    }

    /// Whether the rate limiter keeps to this process's share, because Redis is away.
    pub fn rate_limiter_degraded(&self, degraded: bool) {
        self.0.rate_limiter_degraded.record(u64::from(degraded), &[]);
    }

    /// A call of a model had to wait for its turn, whether it got one or gave up.
    pub fn rate_limit_wait(&self, adapter: &str, waited: Duration) {
        self.0.rate_limit_waits.record(waited.as_secs_f64(), &[KeyValue::new("adapter", adapter.to_string())]);
    }

    /// A counter that never moved would be absent from the page, and an alert on it would never see a change.
    fn start_at_zero(&self) {
        let inner = &self.0;
        for status in ["succeeded", "failed", "cancelled"] {
            inner.runs.add(0, &[KeyValue::new("status", status)]);
        }
        for result in ["match", "drift", "failed", "skipped"] {
            inner.replays.add(0, &[KeyValue::new("result", result)]);
        }
        for operation in ["register", "enable", "disable", "import", "rollback", "resolve"] {
            inner.registry_operations.add(0, &[KeyValue::new("operation", operation), KeyValue::new("result", "ok")]);
        }
        for state in [RunState::Queued, RunState::Running, RunState::Parked, RunState::Paused, RunState::Dead] {
            self.queue_depth(state, 0);
        }
        for kind in ["skill", "workflow"] {
            self.registry_size(kind, 0);
        }
        for counter in
            [&inner.llm_calls, &inner.llm_errors, &inner.llm_tokens, &inner.llm_unpriced, &inner.skill_errors]
        {
            counter.add(0, &[]);
        }
        for counter in [&inner.rescued, &inner.fenced, &inner.http_requests] {
            counter.add(0, &[]);
        }
        inner.llm_cost.add(0.0, &[]);
        inner.run_cost.add(0.0, &[]);
        self.drift(0);
        self.queue_oldest(Duration::ZERO);
        self.workers(0, 0);
        self.rate_limiter_degraded(false);
    }
}

impl Inner {
    fn new(registry: Registry, provider: SdkMeterProvider) -> Self {
        let meter = provider.meter("aos");
        Self {
            http_requests: counter(&meter, "aos_http_requests", "HTTP requests answered"),
            http_duration: histogram(&meter, "aos_http_request_duration", FAST, "Time to answer an HTTP request"),
            runs: counter(&meter, "aos_runs", "Runs ended"),
            run_duration: histogram(&meter, "aos_run_duration", SLOW, "Time from a run's creation to its end"),
            run_cost: money(&meter, "aos_run_cost_cents", "What ended runs have cost, in US cents"),
            replays: counter(&meter, "aos_replays", "Ended runs that were replayed in the background"),
            drift: gauge(&meter, "aos_determinism_drift", "Ended runs whose replay disagreed with their journal"),
            skill_duration: histogram(&meter, "aos_skill_duration", SLOW, "Time of one attempt of a skill"),
            skill_errors: counter(&meter, "aos_skill_errors", "Attempts of skills that failed"),
            llm_calls: counter(&meter, "aos_llm_calls", "Calls of language models"),
            llm_errors: counter(&meter, "aos_llm_errors", "Calls of language models that failed"),
            llm_latency: histogram(&meter, "aos_llm_latency", SLOW, "Time of one call of a language model"),
            llm_tokens: counter(&meter, "aos_llm_tokens", "Tokens that calls of language models used"),
            llm_cost: money(&meter, "aos_llm_cost_cents", "What calls of language models have cost, in US cents"),
            llm_cache: counter(&meter, "aos_llm_cache_lookups", "Calls of language models that may use a cache"),
            llm_unpriced: counter(
                &meter,
                "aos_llm_unpriced_calls",
                "Answers of language models whose cost is not known, because there is no price for the model",
            ),
            registry_operations: counter(&meter, "aos_registry_operations", "Operations on the registry"),
            registry_size: gauge(&meter, "aos_registry_size", "Versions that the registry holds"),
            queue_depth: gauge(&meter, "aos_queue_depth", "Runs that have not ended, by state"),
            queue_oldest: meter
                .f64_gauge("aos_queue_oldest")
                .with_unit("s")
                .with_description("For how long the oldest claimable run has waited")
                .build(),
            workers: gauge(&meter, "aos_workers", "Workers of this process"),
            slots: gauge(&meter, "aos_worker_runs", "Runs that this process advances right now"),
            rescued: counter(&meter, "aos_leases_rescued", "Runs taken over from a worker that died"),
            fenced: counter(&meter, "aos_fenced_writes", "Writes refused because the lease was lost"),
            append: histogram(&meter, "aos_journal_append", FAST, "Time to make an append durable"),
            rate_limiter_degraded: gauge(
                &meter,
                "aos_rate_limiter_degraded",
                "Whether the rate limiter keeps to this process's share, because Redis is away",
            ),
            rate_limit_waits: histogram(
                &meter,
                "aos_rate_limit_waits",
                SLOW,
                "For how long calls of language models waited for their turn, of those that had to",
            ),
            registry,
            _provider: provider,
        }
    }
}

fn counter(meter: &Meter, name: &'static str, what: &'static str) -> Counter<u64> {
    meter.u64_counter(name).with_description(what).build()
}

fn money(meter: &Meter, name: &'static str, what: &'static str) -> Counter<f64> {
    meter.f64_counter(name).with_description(what).build()
}

fn gauge(meter: &Meter, name: &'static str, what: &'static str) -> Gauge<u64> {
    meter.u64_gauge(name).with_description(what).build()
}

fn histogram(meter: &Meter, name: &'static str, bounds: &[f64], what: &'static str) -> Histogram<f64> {
    meter.f64_histogram(name).with_unit("s").with_boundaries(bounds.to_vec()).with_description(what).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_page_are_those_of_the_dashboards_from_the_start() {
        let metrics = Metrics::new().unwrap();
        let at_start = metrics.page().unwrap();
        for name in [
            "aos_runs_total",
            "aos_replays_total",
            "aos_determinism_drift",
            "aos_llm_calls_total",
            "aos_llm_errors_total",
            "aos_llm_tokens_total",
            "aos_llm_cost_cents_total",
            "aos_llm_unpriced_calls_total",
            "aos_skill_errors_total",
            "aos_registry_operations_total",
            "aos_registry_size",
            "aos_queue_depth",
            "aos_queue_oldest_seconds",
            "aos_workers",
            "aos_leases_rescued_total",
            "aos_fenced_writes_total",
            "aos_rate_limiter_degraded",
        ] {
            assert!(has(&at_start, name), "{name} is not on the page:\n{at_start}");
        }
        metrics.run("w", "succeeded", Duration::from_millis(3), Money::from_cents(2));
        metrics.skill("s", "1.0.0", Duration::from_millis(3), Some("ERR_X"));
        metrics.llm("stub", "m", Duration::from_millis(3), Money::ZERO, None);
        metrics.append(Duration::from_millis(1));
        metrics.rate_limit_wait("claude", Duration::from_millis(1));
        let page = metrics.page().unwrap();
        for name in [
            "aos_run_duration_seconds_bucket",
            "aos_skill_duration_seconds_bucket",
            "aos_llm_latency_seconds_bucket",
            "aos_journal_append_seconds_bucket",
            "aos_rate_limit_waits_seconds_bucket",
        ] {
            assert!(has(&page, name), "{name} is not on the page:\n{page}");
        }
        assert!(page.contains(r#"aos_runs_total{status="succeeded",workflow="w"} 1"#), "{page}");
        assert!(!page.contains("otel_scope"), "{page}");
    }

    fn has(page: &str, name: &str) -> bool {
        page.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])))
    }
}
