//! What the driver tells: attempts become metrics and log lines, leases of child runs are kept like the others.

use std::time::Duration;

use aos_core::driver::Observer;
use aos_core::event::CallEffect;
use aos_core::runs::Lease;
use aos_core::skill::SkillResult;

use crate::telemetry::Metrics;
use crate::worker::Leases;

/// The server's ear at the driver.
pub struct Attempts {
    metrics: Metrics,
    leases: Leases,
    /// Whether inputs and outputs are logged, which may put personal data and secrets into the log.
    log_params: bool,
}

impl Attempts {
    /// An ear that counts into `metrics` and keeps leases in `leases`.
    pub fn new(metrics: Metrics, leases: Leases, log_params: bool) -> Self {
        Self { metrics, leases, log_params }
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

impl Observer for Attempts {
    fn attempt_ended(&self, _lease: &Lease, call: &CallEffect, took: Duration, result: &SkillResult) {
        let code = result.as_ref().err().map(|failure| failure.code.as_str());
        self.metrics.skill(call.skill.id.as_str(), &call.skill.version.to_string(), took, code);
        self.log(call, took, result);
    }

    fn lease_taken(&self, lease: &Lease) {
        // Losing it needs no token: the child's next write is refused, and its parent learns from the store.
        self.leases.take(lease);
    }

    fn lease_ended(&self, lease: &Lease) {
        self.leases.forget(lease);
    }
}
