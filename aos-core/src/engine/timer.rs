//! The engine's timers: a table of deadlines, in the order in which they fire.

use std::collections::BTreeMap;

use crate::id::EffectId;
use crate::time::Timestamp;

/// What happens when a timer fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// A sleep is over.
    Sleep,
    /// An attempt, or the wait for a signal, takes too long.
    Timeout,
    /// The next attempt starts.
    Retry,
}

#[derive(Default)]
pub(super) struct Timers {
    /// By deadline, then by the order in which they were set.
    table: BTreeMap<(Timestamp, u64), (EffectId, Timer)>,
    set: u64,
}

/// Names a timer, to clear it.
pub(super) type TimerKey = (Timestamp, u64);

impl Timers {
    pub(super) fn set(&mut self, deadline: Timestamp, effect: EffectId, timer: Timer) -> TimerKey {
        self.set += 1;
        let key = (deadline, self.set);
        self.table.insert(key, (effect, timer));
        key
    }

    pub(super) fn clear(&mut self, key: TimerKey) {
        self.table.remove(&key);
    }

    pub(super) fn clear_all(&mut self) {
        self.table.clear();
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.table.keys().next().map(|(deadline, _)| *deadline)
    }

    /// Takes the first timer that is due at `now`.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<(EffectId, Timer)> {
        let first = self.table.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}
