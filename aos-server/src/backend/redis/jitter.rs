//! Waiting times that differ from process to process, so that a fleet doesn't do everything at the same moment.

use std::time::Duration;

use aos_core::random::{Rng, Seed};
use uuid::Uuid;

/// Draws waiting times.
pub(super) struct Jitter(Rng);

impl Jitter {
    pub(super) fn new() -> Self {
        Self(Rng::new(Seed::new(Uuid::new_v4().as_u64_pair().1), "redis"))
    }

    /// A time from half of `most` to `most`.
    pub(super) fn up_to(&mut self, most: Duration) -> Duration {
        most / 2 + self.below(most / 2)
    }

    /// A time below `most`.
    pub(super) fn below(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.0.below(u64::try_from(most.as_micros()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_differ_within_their_bounds() {
        let mut jitter = Jitter::new();
        let most = Duration::from_millis(100);
        let times: Vec<_> = (0..100).map(|_| jitter.up_to(most)).collect();
        assert!(times.iter().all(|time| *time >= most / 2 && *time < most), "{times:?}");
        assert!(times.iter().any(|time| *time != times[0]));
        assert_ne!(times, (0..100).map(|_| Jitter::new().up_to(most)).collect::<Vec<_>>());
    }
}
