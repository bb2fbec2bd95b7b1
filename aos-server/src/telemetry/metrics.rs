//! The metrics of the process, on a Prometheus page.
//!
//! Names follow the exporter's rules: `_total` and the unit are appended by it, so a counter is called `aos_runs`
//! here and `aos_runs_total` on the page. No run, request or tenant id is ever a label, and what comes from outside is one
//! up to a number of values (see [`Bounded`]), so that a page stays under 2,000 series.

use std::sync::Arc;
use std::time::Duration;

use aos_core::money::Money;
use aos_core::runs::RunState;
use aos_core::{Failure, codes};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, MeterProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

use super::bounded::{Bounded, OTHER};

/// Bounds in seconds of one write to the state of record.
const WRITE: &[f64] = &[0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Bounds in seconds of an answer. There is one histogram for every route: few, therefore.
const ANSWER: &[f64] = &[0.005, 0.025, 0.1, 0.5, 2.5, 30.0];
/// Bounds in seconds of an attempt of a skill.
const SKILL: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 100.0];
/// Bounds in seconds of a call of a model, and of the wait for its turn.
const LLM: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];
/// Bounds in seconds of a run, in which a person may take part.
const RUN: &[f64] = &[0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0];
/// Bounds in pieces of work.
const BATCH: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Workflows with series of their own; as many versions of skills.
const WORKFLOWS: usize = 20;
const SKILLS: usize = 20;
/// Models with series of their own.
const MODELS: usize = 8;
/// Codes of skills, and of models, with series of their own.
const SKILL_CODES: usize = 40;
const LLM_CODES: usize = 32;

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
    batch: Histogram<u64>,
    rate_limiter_degraded: Gauge<u64>,
    rate_limit_waits: Histogram<f64>,
    named: Named,
}

/// What has series of its own.
struct Named {
    workflows: Bounded,
    skills: Bounded,
    skill_codes: Bounded,
    models: Bounded,
    llm_codes: Bounded,
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
        let workflow = self.0.named.workflows.name(workflow);
        let labels = [KeyValue::new("workflow", workflow.to_string()), KeyValue::new("status", status)];
        self.0.runs.add(1, &labels);
        self.0.run_duration.record(took.as_secs_f64(), &labels[..1]);
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
        let named = &self.0.named;
        let (skill, version) = if named.skills.admits(&[skill, version]) { (skill, version) } else { (OTHER, OTHER) };
        let labels = [KeyValue::new("skill", skill.to_string()), KeyValue::new("version", version.to_string())];
        self.0.skill_duration.record(took.as_secs_f64(), &labels);
        if let Some(code) = code {
            let code = if named.skill_codes.admits(&[skill, version, code]) { code } else { OTHER };
            let [skill, version] = labels;
            self.0.skill_errors.add(1, &[skill, version, KeyValue::new("code", code.to_string())]);
        }
    }

    /// A call of a model has ended; `code` is its error.
    pub fn llm(&self, adapter: &str, model: &str, took: Duration, cost: Money, code: Option<&str>) {
        let model = self.0.named.model(adapter, model);
        let labels = of_model(adapter, model);
        self.0.llm_calls.add(1, &labels);
        self.0.llm_latency.record(took.as_secs_f64(), &labels);
        if !cost.is_zero() {
            self.0.llm_cost.add(cost.cents(), &labels);
        }
        if let Some(code) = code {
            let code = if self.0.named.llm_codes.admits(&[adapter, model, code]) { code } else { OTHER };
            let [adapter, model] = labels;
            self.0.llm_errors.add(1, &[adapter, model, KeyValue::new("code", code.to_string())]);
        }
    }

    /// Counts an answer whose cost is not known.
    pub fn llm_unpriced(&self, adapter: &str, model: &str) {
        self.0.llm_unpriced.add(1, &of_model(adapter, self.0.named.model(adapter, model)));
    }

    /// Tokens that a model call used. `kind` is `input`, `output`, `cache_read` or `cache_write`.
    pub fn llm_tokens(&self, adapter: &str, model: &str, kind: &'static str, tokens: u64) {
        let [adapter, model] = of_model(adapter, self.0.named.model(adapter, model));
        self.0.llm_tokens.add(tokens, &[adapter, model, KeyValue::new("kind", kind)]);
    }

    /// A call that may use a cache was answered: from there, or not.
    pub fn llm_cache(&self, adapter: &str, model: &str, hit: bool) {
        let [adapter, model] = of_model(adapter, self.0.named.model(adapter, model));
        let result = KeyValue::new("result", if hit { "hit" } else { "miss" });
        self.0.llm_cache.add(1, &[adapter, model, result]);
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

    /// A worker came too late: its lease was lost, and what it would have written is refused.
    pub fn fenced(&self) {
        self.0.fenced.add(1, &[]);
    }

    /// An append to a journal was made durable.
    pub fn append(&self, took: Duration) {
        self.0.append.record(took.as_secs_f64(), &[]);
    }

    /// So many pieces of work were written to the state of record together.
    pub fn batch(&self, pieces: usize) {
        self.0.batch.record(pieces as u64, &[]);
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
            http_duration: histogram(&meter, "aos_http_request_duration", ANSWER, "Time to answer an HTTP request"),
            runs: counter(&meter, "aos_runs", "Runs ended"),
            run_duration: histogram(&meter, "aos_run_duration", RUN, "Time from a run's creation to its end"),
            run_cost: money(&meter, "aos_run_cost_cents", "What ended runs have cost, in US cents"),
            replays: counter(&meter, "aos_replays", "Ended runs that were replayed in the background"),
            drift: gauge(&meter, "aos_determinism_drift", "Ended runs whose replay disagreed with their journal"),
            skill_duration: histogram(&meter, "aos_skill_duration", SKILL, "Time of one attempt of a skill"),
            skill_errors: counter(&meter, "aos_skill_errors", "Attempts of skills that failed"),
            llm_calls: counter(&meter, "aos_llm_calls", "Calls of language models"),
            llm_errors: counter(&meter, "aos_llm_errors", "Calls of language models that failed"),
            llm_latency: histogram(&meter, "aos_llm_latency", LLM, "Time of one call of a language model"),
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
            fenced: counter(
                &meter,
                "aos_fenced_writes",
                "Leases found lost: what their worker had to write was refused",
            ),
            append: histogram(&meter, "aos_journal_append", WRITE, "Time to make an append durable"),
            batch: meter
                .u64_histogram("aos_journal_batch_size")
                .with_boundaries(BATCH.to_vec())
                .with_description("Pieces of work written to the state of record together")
                .build(),
            rate_limiter_degraded: gauge(
                &meter,
                "aos_rate_limiter_degraded",
                "Whether the rate limiter keeps to this process's share, because Redis is away",
            ),
            rate_limit_waits: histogram(
                &meter,
                "aos_rate_limit_waits",
                LLM,
                "For how long calls of language models waited for their turn, of those that had to",
            ),
            named: Named::new(),
            registry,
            _provider: provider,
        }
    }
}

impl Named {
    fn new() -> Self {
        Self {
            workflows: Bounded::new(WORKFLOWS),
            skills: Bounded::new(SKILLS),
            skill_codes: Bounded::new(SKILL_CODES),
            models: Bounded::new(MODELS),
            llm_codes: Bounded::new(LLM_CODES),
        }
    }

    fn model<'a>(&self, adapter: &str, model: &'a str) -> &'a str {
        if self.models.admits(&[adapter, model]) { model } else { OTHER }
    }
}

/// Adapters are few: settings name them. Models are named by whoever writes a workflow.
fn of_model(adapter: &str, model: &str) -> [KeyValue; 2] {
    [KeyValue::new("adapter", adapter.to_string()), KeyValue::new("model", model.to_string())]
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
mod tests;
