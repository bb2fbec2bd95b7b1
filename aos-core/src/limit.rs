//! Bounds of a run, each an error and never a hang.

use serde::{Deserialize, Serialize};

use crate::error::{Failure, codes};

/// The bounds of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunLimits {
    /// Journal entries.
    pub entries: u64,
    /// Effects that are requested and not finished at one time.
    pub in_flight: u64,
    /// Bytes of one payload's canonical text.
    pub payload_bytes: u64,
    /// Runs below runs.
    pub child_depth: u64,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self { entries: 100_000, in_flight: 10_000, payload_bytes: 10_000_000, child_depth: 16 }
    }
}

impl RunLimits {
    /// [`codes::LIMIT_EXCEEDED`] when `actual` passes `limit`.
    pub(crate) fn check(what: &str, actual: u64, limit: u64) -> Result<(), Failure> {
        if actual <= limit {
            return Ok(());
        }
        Err(Failure::new(codes::LIMIT_EXCEEDED, format!("the run has {actual} {what}, and its limit is {limit}")))
    }
}
