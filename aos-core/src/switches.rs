//! The contract of a store that keeps operators' switches: what every process obeys without a restart.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::BoxFuture;
use crate::runs::StoreError;
use crate::time::Timestamp;

/// A control of the whole installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// Live model adapters are not there.
    DisableLiveAdapters,
    /// Every model call goes to the stub.
    ForceStubAdapter,
    /// No worker claims runs; those in hand go on.
    PauseClaims,
    /// Every process logs what it otherwise keeps to itself.
    DebugLogging,
}

impl Switch {
    /// Every switch.
    pub const ALL: [Self; 4] =
        [Self::DisableLiveAdapters, Self::ForceStubAdapter, Self::PauseClaims, Self::DebugLogging];

    /// The switch as wire text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DisableLiveAdapters => "disable_live_adapters",
            Self::ForceStubAdapter => "force_stub_adapter",
            Self::PauseClaims => "pause_claims",
            Self::DebugLogging => "debug_logging",
        }
    }

    /// The switch of a wire text.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|switch| switch.as_str() == text)
    }
}

/// One turn of a switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchChange {
    /// Which.
    pub switch: Switch,
    /// Whether it is on from then on.
    pub on: bool,
    /// Who turned it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, by the store's clock.
    pub at: Timestamp,
    /// When it goes off by itself, by the same clock.
    pub until: Option<Timestamp>,
}

impl SwitchChange {
    /// Whether the switch is on at `now` of the store's clock, if nothing was changed since.
    pub fn is_on(&self, now: Timestamp) -> bool {
        self.on && self.until.is_none_or(|until| now < until)
    }
}

/// Keeps switches, and who turned them.
///
/// # Contract
/// - A switch that was never turned is off.
/// - `turn` is durable, and seen by every later `load`, when it resolves with `Ok`; it gives the change with its time, and
///   with the time at which it goes off again: `lasts` after that.
/// - `load` gives the last change of every switch that was ever turned, in the order of [`Switch::ALL`].
/// - `history` gives changes of every switch, newest first.
/// - Texts come back as they were given, but U+0000 in one may come back as U+FFFD.
pub trait SwitchStore: Send + Sync {
    /// The switches that were ever turned, as they stand.
    fn load(&self) -> BoxFuture<'_, Result<Vec<SwitchChange>, StoreError>>;

    /// Turns a switch.
    fn turn<'a>(
        &'a self,
        switch: Switch,
        on: bool,
        by: &'a str,
        reason: &'a str,
        lasts: Option<Duration>,
    ) -> BoxFuture<'a, Result<SwitchChange, StoreError>>;

    /// The last `limit` changes.
    fn history(&self, limit: usize) -> BoxFuture<'_, Result<Vec<SwitchChange>, StoreError>>;
}
