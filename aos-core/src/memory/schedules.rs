//! Schedules in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::lock;
use crate::BoxFuture;
use crate::id::{ScheduleId, TenantId};
use crate::runs::StoreError;
use crate::schedules::{Firing, Schedule, ScheduleStore};
use crate::time::{Clock, Timestamp};

/// Keeps schedules as long as it lives.
pub struct MemorySchedules {
    clock: Arc<dyn Clock>,
    schedules: Mutex<Schedules>,
}

type Schedules = BTreeMap<(TenantId, ScheduleId), Schedule>;

impl MemorySchedules {
    /// A store without any schedule.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, schedules: Mutex::default() }
    }

    fn schedules(&self) -> MutexGuard<'_, Schedules> {
        lock(&self.schedules)
    }
}

impl ScheduleStore for MemorySchedules {
    fn put<'a>(&'a self, schedule: &'a Schedule) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut new = schedule.clone();
            let mut schedules = self.schedules();
            let key = (schedule.tenant.clone(), schedule.id.clone());
            if let Some(old) = schedules.get_mut(&key) {
                new.last = old.last.take();
            }
            schedules.insert(key, new);
            Ok(())
        })
    }

    fn get<'a>(
        &'a self,
        tenant: &'a TenantId,
        id: &'a ScheduleId,
    ) -> BoxFuture<'a, Result<Option<Schedule>, StoreError>> {
        Box::pin(async move { Ok(self.schedules().get(&(tenant.clone(), id.clone())).cloned()) })
    }

    fn list<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<Schedule>, StoreError>> {
        Box::pin(async move {
            Ok(self.schedules().values().filter(|schedule| schedule.tenant == *tenant).cloned().collect())
        })
    }

    fn remove<'a>(&'a self, tenant: &'a TenantId, id: &'a ScheduleId) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { Ok(self.schedules().remove(&(tenant.clone(), id.clone())).is_some()) })
    }

    fn due(&self, max: usize) -> BoxFuture<'_, Result<Vec<Schedule>, StoreError>> {
        Box::pin(async move {
            let now = self.clock.now();
            let is_due = |schedule: &&Schedule| !schedule.paused && schedule.next_at.is_some_and(|at| at <= now);
            let mut due: Vec<Schedule> = self.schedules().values().filter(is_due).cloned().collect();
            due.sort_by_key(|schedule| schedule.next_at);
            due.truncate(max);
            Ok(due)
        })
    }

    fn advance<'a>(
        &'a self,
        schedule: &'a Schedule,
        firing: &'a Firing,
        next_at: Option<Timestamp>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let mut schedules = self.schedules();
            let kept = schedules.get_mut(&(schedule.tenant.clone(), schedule.id.clone())).filter(|kept| {
                kept.next_at == Some(firing.due) && kept.cron == schedule.cron && kept.time_zone == schedule.time_zone
            });
            let Some(kept) = kept else { return Ok(false) };
            kept.next_at = next_at;
            kept.last = Some(firing.clone());
            Ok(true)
        })
    }
}
