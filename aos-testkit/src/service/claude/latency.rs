//! How long the mock thinks about an answer.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use aos_core::random::Seed;

use super::request::Request;
use super::rule::{draw, hash};
use super::server::lock;

/// The time before the headers of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Latency {
    /// None.
    #[default]
    None,
    /// Always the same.
    Fixed(Duration),
    /// Anything between the two, as a function of the seed, the request's body and how often that has come.
    Uniform {
        /// The least.
        least: Duration,
        /// The most.
        most: Duration,
        /// Where the randomness comes from.
        seed: u64,
    },
}

impl Latency {
    pub(super) fn of(self, request: &Request, repeats: &Mutex<HashMap<u64, u64>>) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Fixed(time) => time,
            Self::Uniform { least, most, seed } => {
                let repeat = {
                    let mut repeats = lock(repeats);
                    let repeat = repeats.entry(hash(request.bytes())).or_default();
                    *repeat += 1;
                    *repeat
                };
                let range = u64::try_from(most.saturating_sub(least).as_micros()).unwrap_or(u64::MAX);
                let drawn = draw(Seed::new(seed), request.bytes(), repeat, range.saturating_add(1));
                least + Duration::from_micros(drawn)
            }
        }
    }
}
