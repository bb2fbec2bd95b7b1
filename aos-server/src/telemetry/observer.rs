//! What the driver tells: attempts become metrics, log lines and spans, and runs spans; leases of child runs are kept
//! like the others.

use std::time::Duration;

use aos_core::Failure;
use aos_core::driver::{Attempt, Driven, Observer};
use aos_core::event::CallEffect;
use aos_core::runs::{Claim, Lease};
use aos_core::skill::SkillResult;
use opentelemetry::trace::SpanKind;

use crate::clock;
use crate::telemetry::{Metrics, Span, Tracer};
use crate::worker::Leases;

/// The server's ear at the driver.
pub struct Observed {
    metrics: Metrics,
    tracer: Tracer,
    leases: Leases,
    /// Whether inputs and outputs are logged, which may put personal data and secrets into the log.
    log_params: bool,
}

impl Observed {
    /// An ear that counts into `metrics` and keeps leases in `leases`.
    pub fn new(metrics: Metrics, tracer: Tracer, leases: Leases, log_params: bool) -> Self {
        Self { metrics, tracer, leases, log_params }
    }

    fn log(&self, call: &CallEffect, took: Duration, result: &SkillResult) {
        let (effect, skill, attempt) = (&call.effect, &call.skill, call.attempt);
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        match result {
            Ok(output) if output.cost.is_zero() => tracing::debug!(%effect, %skill, attempt, ms, "attempt succeeded"),
            // An operator looks for what was expensive.
            Ok(output) => {
                let cost_cents = output.cost.cents_rounded();
                tracing::info!(%effect, %skill, attempt, ms, cost_cents, "attempt succeeded");
            }
            Err(failure) => {
                let cost_cents = failure.cost.cents_rounded();
                let (code, error) = (&failure.code, &failure.message);
                tracing::warn!(%effect, %skill, attempt, ms, cost_cents, %code, error, "attempt failed");
            }
        }
        if self.log_params {
            let output = result.as_ref().map(|output| output.output.as_str()).unwrap_or_default();
            tracing::debug!(%effect, %skill, attempt, input = call.input.as_str(), output, "parameters of the attempt");
        }
    }
}

impl Observer for Observed {
    fn attempt_ended(&self, attempt: &Attempt<'_>, took: Duration, result: &SkillResult) {
        // First: it ends now.
        self.tracer.emit(attempt.trace, || attempt_span(attempt, took, result));
        let call = attempt.call;
        let code = result.as_ref().err().map(|failure| failure.code.as_str());
        self.metrics.skill(call.skill.id.as_str(), &call.skill.version.to_string(), took, code);
        self.log(call, took, result);
    }

    fn driven(&self, claim: &Claim, took: Duration, result: &Result<Driven, Failure>) {
        if claim.lease.epoch == 1 {
            let place = claim.record.new.trace().child(&format!("{}/queue", claim.lease.run));
            self.tracer.emit(place, || queue_span(claim, took));
        }
        self.tracer.emit(claim.trace(), || run_span(claim, took, result));
    }

    fn lease_taken(&self, lease: &Lease) {
        // Losing it needs no token: the child's next write is refused, and its parent learns from the store.
        self.leases.take(lease);
    }

    fn lease_ended(&self, lease: &Lease) {
        self.leases.forget(lease);
    }
}

/// The time from when the run could have begun, until it did.
fn queue_span(claim: &Claim, took: Duration) -> Span {
    let new = &claim.record.new;
    let due = new.start_at.map_or(claim.record.created_at, |at| at.max(claim.record.created_at));
    let waited = clock::now().since(due).saturating_sub(took);
    let span = Span::ended("queue", Some(new.trace()), waited).with("aos.run", claim.lease.run.to_string());
    Span { began: span.began.checked_sub(took).unwrap_or(span.began), ..span }
}

/// What one worker did with a run under one lease.
fn run_span(claim: &Claim, took: Duration, result: &Result<Driven, Failure>) -> Span {
    let (lease, new) = (&claim.lease, &claim.record.new);
    let (outcome, code) = match result {
        Ok(Driven::Finished(finished)) => {
            (finished.status.as_str(), finished.failure.as_ref().map(|failure| &failure.code))
        }
        Ok(Driven::Parked) => ("parked", None),
        Ok(Driven::LeaseLost) => ("lease_lost", None),
        Err(failure) => ("error", Some(&failure.code)),
    };
    Span::ended(format!("run {}", new.workflow.id), Some(new.trace()), took)
        .kind(SpanKind::Consumer)
        .with("aos.run", lease.run.to_string())
        .with("aos.workflow", new.workflow.to_string())
        .with("aos.worker", lease.worker.to_string())
        .with("aos.epoch", i64::try_from(lease.epoch).unwrap_or(i64::MAX))
        .with("aos.outcome", outcome)
        .with_some("aos.request_id", new.request_id.clone())
        .failed(code)
}

fn attempt_span(attempt: &Attempt<'_>, took: Duration, result: &SkillResult) -> Span {
    let Attempt { lease, call, run, .. } = attempt;
    let cost = match result {
        Ok(output) => output.cost,
        Err(failure) => failure.cost,
    };
    Span::ended(format!("skill {}", call.skill.id), Some(*run), took)
        .with("aos.run", lease.run.to_string())
        .with("aos.skill", call.skill.to_string())
        .with("aos.effect", call.effect.to_string())
        .with("aos.attempt", i64::from(call.attempt))
        .with_some("aos.cost_cents", (!cost.is_zero()).then(|| cost.cents_rounded()))
        .failed(result.as_ref().err().map(|failure| &failure.code))
}
