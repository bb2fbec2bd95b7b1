//! Randomness as a function of a seed and a label.
//!
//! A run's random numbers must be the same on every machine and in every later release, so the generator is part
//! of the journal format and is fixed here instead of coming from a crate that may change it: the state is the
//! first eight bytes of SHA-256 over seed and label, the stream is SplitMix64.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The seed of a run: 53 bits, so that it survives as a JSON number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct Seed(u64);

impl Seed {
    /// Takes the low 53 bits of `value`.
    pub const fn new(value: u64) -> Self {
        Self(value & ((1 << 53) - 1))
    }

    /// The seed as a number below 2^53.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The seed of a sub-program called `label`, independent of this seed's own streams.
    pub fn derive(self, label: &str) -> Self {
        Self::new(Rng::new(self, label).next_u64())
    }
}

impl From<u64> for Seed {
    fn from(value: u64) -> Self {
        Self::new(value)
    }
}

impl From<Seed> for u64 {
    fn from(seed: Seed) -> Self {
        seed.0
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stream of random numbers for one `label` of one [`Seed`].
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The stream called `label`: streams of different labels are independent of each other.
    pub fn new(seed: Seed, label: &str) -> Self {
        let digest = Sha256::new().chain_update(seed.0.to_be_bytes()).chain_update(label).finalize();
        let mut state = [0; 8];
        state.copy_from_slice(&digest[..8]);
        Self(u64::from_be_bytes(state))
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; 0 when `bound` is 0. The bias is below `bound` / 2^64.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of a 128-bit product maps 64 bits onto the range without a division.
        let product = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_fixed_for_ever() {
        let mut rng = Rng::new(Seed::new(42), "fetch");
        assert_eq!([rng.next_u64(), rng.next_u64()], [FIRST, SECOND]);
    }

    #[test]
    fn below_stays_below() {
        let mut rng = Rng::new(Seed::new(1), "x");
        assert!((0..10_000).all(|_| rng.below(7) < 7));
        assert_eq!(rng.below(0), 0);
    }

    // SHA-256(0x000000000000002a || "fetch") starts the state; any change here breaks every journal that used jitter.
    const FIRST: u64 = 0xBFC5CEAE1365AC6E;
    const SECOND: u64 = 0xF05CE1F37C5E2D3A;
}
