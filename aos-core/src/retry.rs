//! Retries as pure values: facts in, verdict out.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::random::Rng;

/// When and how often a failed attempt is made again.
///
/// The pause before attempt n+1 is `initial_ms * factor^(n-1)`, at most `max_ms`, less a random share of at most
/// `jitter_percent`; a failure's own `retry_after_ms` is a lower bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; 1 means no retry.
    pub max_attempts: u32,
    /// Pause before the second attempt, in milliseconds.
    pub initial_ms: u64,
    /// What each further pause is multiplied by.
    pub factor: u32,
    /// The longest pause, in milliseconds.
    pub max_ms: u64,
    /// The largest share of a pause, in percent, that chance takes off.
    pub jitter_percent: u8,
    /// Retry only failures with these codes; empty means every failure that says it is retryable.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
}

impl Default for RetryPolicy {
    /// Three attempts, half a second, doubling to at most 30 s, up to a quarter taken off.
    fn default() -> Self {
        Self { max_attempts: 3, initial_ms: 500, factor: 2, max_ms: 30_000, jitter_percent: 25, on: Vec::new() }
    }
}

impl RetryPolicy {
    /// One attempt only.
    pub const fn never() -> Self {
        Self { max_attempts: 1, initial_ms: 0, factor: 1, max_ms: 0, jitter_percent: 0, on: Vec::new() }
    }

    /// How long to wait before another attempt; `None` when there is none.
    ///
    /// `attempt` is the one that failed, from 1; `rng` is the effect's own stream for this attempt.
    pub fn pause(&self, attempt: u32, failure: &Failure, rng: &mut Rng) -> Option<Duration> {
        let wanted =
            if self.on.is_empty() { failure.retryable } else { self.on.iter().any(|code| failure.code == **code) };
        if !wanted || attempt >= self.max_attempts {
            return None;
        }
        let growth = u64::from(self.factor).saturating_pow(attempt.saturating_sub(1));
        let pause = self.initial_ms.saturating_mul(growth).min(self.max_ms);
        let spread = u128::from(pause) * u128::from(self.jitter_percent.min(100)) / 100;
        let pause = pause - rng.below(u64::try_from(spread).unwrap_or(0).saturating_add(1));
        Some(Duration::from_millis(pause.max(failure.retry_after_ms.unwrap_or(0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::codes;
    use crate::random::Seed;

    fn pause(policy: &RetryPolicy, attempt: u32, failure: &Failure) -> Option<u64> {
        let mut rng = Rng::new(Seed::new(1), "x");
        policy.pause(attempt, failure, &mut rng).map(|d| u64::try_from(d.as_millis()).unwrap())
    }

    #[test]
    fn backs_off_to_the_maximum_and_stops() {
        let policy = RetryPolicy { max_attempts: 5, max_ms: 1_500, jitter_percent: 0, ..RetryPolicy::default() };
        let failure = Failure::new(codes::TIMEOUT, "late");
        let pauses: Vec<_> = (1..=5).map(|n| pause(&policy, n, &failure)).collect();
        assert_eq!(pauses, [Some(500), Some(1_000), Some(1_500), Some(1_500), None]);
    }

    #[test]
    fn obeys_the_failure() {
        let policy = RetryPolicy { jitter_percent: 0, ..RetryPolicy::default() };
        let wait = Failure::new(codes::LLM_RATE_LIMITED, "").retry_after(Duration::from_secs(7));
        assert_eq!(pause(&policy, 1, &wait), Some(7_000));
        assert_eq!(pause(&policy, 1, &Failure::new(codes::LLM_AUTH_FAILED, "")), None);
        let only = RetryPolicy { on: vec!["ERR_LLM_AUTH_FAILED".into()], ..policy };
        assert_eq!(pause(&only, 1, &Failure::new(codes::LLM_AUTH_FAILED, "")), Some(500));
        assert_eq!(pause(&only, 1, &wait), None);
    }

    #[test]
    fn jitter_takes_off_at_most_its_share() {
        let policy = RetryPolicy { initial_ms: 1_000, ..RetryPolicy::default() };
        let failure = Failure::new(codes::TIMEOUT, "");
        for seed in 0..500 {
            let mut rng = Rng::new(Seed::new(seed), "fetch/1");
            let ms = policy.pause(1, &failure, &mut rng).unwrap().as_millis();
            assert!((750..=1_000).contains(&ms), "{ms}");
        }
    }

    #[test]
    fn absurd_policies_do_not_overflow() {
        let policy = RetryPolicy {
            max_attempts: u32::MAX,
            initial_ms: u64::MAX,
            factor: u32::MAX,
            max_ms: u64::MAX,
            jitter_percent: 255,
            on: vec![],
        };
        assert!(pause(&policy, u32::MAX - 1, &Failure::new(codes::TIMEOUT, "")).is_some());
    }
}
