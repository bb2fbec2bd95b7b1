//! Schedules in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

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

type Schedules = BTreeMap<(TenantId, ScheduleId), Kept>;

struct Kept {
    schedule: Schedule,
    /// Until when somebody has it in hand.
    held_until: Timestamp,
}

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
                new.last = old.schedule.last.take();
            }
            schedules.insert(key, Kept { schedule: new, held_until: Timestamp::EPOCH });
            Ok(())
        })
    }

    fn get<'a>(
        &'a self,
        tenant: &'a TenantId,
        id: &'a ScheduleId,
    ) -> BoxFuture<'a, Result<Option<Schedule>, StoreError>> {
        Box::pin(
            async move { Ok(self.schedules().get(&(tenant.clone(), id.clone())).map(|kept| kept.schedule.clone())) },
        )
    }

    fn list<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<Schedule>, StoreError>> {
        Box::pin(async move {
            let schedules = self.schedules();
            let all = schedules.values().map(|kept| &kept.schedule);
            Ok(all.filter(|schedule| schedule.tenant == *tenant).cloned().collect())
        })
    }

    fn remove<'a>(&'a self, tenant: &'a TenantId, id: &'a ScheduleId) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { Ok(self.schedules().remove(&(tenant.clone(), id.clone())).is_some()) })
    }

    fn now(&self) -> BoxFuture<'_, Result<Timestamp, StoreError>> {
        Box::pin(async move { Ok(self.clock.now()) })
    }

    fn due(&self, max: usize, hold: Duration) -> BoxFuture<'_, Result<Vec<Schedule>, StoreError>> {
        Box::pin(async move {
            let now = self.clock.now();
            let is_due = |kept: &&mut Kept| {
                !kept.schedule.paused && kept.schedule.next_at.is_some_and(|at| at <= now) && kept.held_until <= now
            };
            let mut schedules = self.schedules();
            let mut due: Vec<&mut Kept> = schedules.values_mut().filter(is_due).collect();
            due.sort_by_key(|kept| kept.schedule.next_at);
            due.truncate(max);
            let take = |kept: &mut Kept| {
                kept.held_until = now.saturating_add(hold);
                kept.schedule.clone()
            };
            Ok(due.into_iter().map(take).collect())
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
            let times = |schedule: &Schedule| (schedule.next_at, schedule.cron.clone(), schedule.time_zone.clone());
            let kept = schedules.get_mut(&(schedule.tenant.clone(), schedule.id.clone()));
            let Some(kept) = kept.filter(|kept| times(&kept.schedule) == times(schedule)) else { return Ok(false) };
            kept.held_until = Timestamp::EPOCH;
            kept.schedule.next_at = next_at;
            kept.schedule.last = Some(firing.clone());
            Ok(true)
        })
    }
}
