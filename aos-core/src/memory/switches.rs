//! Operators' switches in memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lock;
use crate::BoxFuture;
use crate::runs::StoreError;
use crate::switches::{Switch, SwitchChange, SwitchStore};
use crate::time::Clock;

/// Keeps every turn of a switch as long as it lives.
pub struct MemorySwitches {
    clock: Arc<dyn Clock>,
    /// Oldest first.
    changes: Mutex<Vec<SwitchChange>>,
}

impl MemorySwitches {
    /// A store whose switches were never turned.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, changes: Mutex::default() }
    }
}

impl SwitchStore for MemorySwitches {
    fn load(&self) -> BoxFuture<'_, Result<Vec<SwitchChange>, StoreError>> {
        Box::pin(async move {
            let changes = lock(&self.changes);
            let last = |switch| changes.iter().rev().find(|change| change.switch == switch).cloned();
            Ok(Switch::ALL.into_iter().filter_map(last).collect())
        })
    }

    fn turn<'a>(
        &'a self,
        switch: Switch,
        on: bool,
        by: &'a str,
        reason: &'a str,
        lasts: Option<Duration>,
    ) -> BoxFuture<'a, Result<SwitchChange, StoreError>> {
        Box::pin(async move {
            let at = self.clock.now();
            let until = lasts.map(|lasts| at.saturating_add(lasts));
            let change = SwitchChange { switch, on, by: by.into(), reason: reason.into(), at, until };
            lock(&self.changes).push(change.clone());
            Ok(change)
        })
    }

    fn history(&self, limit: usize) -> BoxFuture<'_, Result<Vec<SwitchChange>, StoreError>> {
        Box::pin(async move { Ok(lock(&self.changes).iter().rev().take(limit).cloned().collect()) })
    }
}
