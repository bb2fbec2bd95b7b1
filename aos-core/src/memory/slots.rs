//! Slots of skills with a limit, in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::lock;
use crate::BoxFuture;
use crate::id::{SkillId, TenantId, WorkerId};
use crate::runs::StoreError;
use crate::slots::{Admission, SkillLimit, Slot, SlotStore};
use crate::time::{Clock, Timestamp};

/// Hands out slots to the tasks of one process.
pub struct MemorySlots {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The store's clock, which never goes back.
    now: Timestamp,
    tickets: u64,
    limits: BTreeMap<(TenantId, SkillId), u32>,
    /// The deadlines of slots that are live.
    live: BTreeMap<Slot, Timestamp>,
}

impl MemorySlots {
    /// A store without any limit.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// The state as of now.
    fn state(&self) -> MutexGuard<'_, State> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let now = state.now.max(now);
        state.now = now;
        state.live.retain(|_, deadline| *deadline > now);
        state
    }
}

impl SlotStore for MemorySlots {
    fn limit<'a>(
        &'a self,
        tenant: &'a TenantId,
        skill: &'a SkillId,
        max: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let key = (tenant.clone(), skill.clone());
            let limits = &mut self.state().limits;
            match max {
                Some(max) => limits.insert(key, max),
                None => limits.remove(&key),
            };
            Ok(())
        })
    }

    fn limits<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<SkillLimit>, StoreError>> {
        Box::pin(async move {
            let state = self.state();
            let mine = state.limits.iter().filter(|((owner, _), _)| owner == tenant);
            Ok(mine.map(|((_, skill), max)| SkillLimit { skill: skill.clone(), max: *max }).collect())
        })
    }

    fn acquire<'a>(
        &'a self,
        tenant: &'a TenantId,
        skill: &'a SkillId,
        _holder: &'a WorkerId,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Admission, StoreError>> {
        Box::pin(async move {
            let mut state = self.state();
            let Some(max) = state.limits.get(&(tenant.clone(), skill.clone())).copied() else {
                return Ok(Admission::Unlimited);
            };
            let first = Slot { tenant: tenant.clone(), skill: skill.clone(), ticket: 0 };
            let of_skill = |slot: &Slot| slot.tenant == first.tenant && slot.skill == first.skill;
            if state.live.range(&first..).take_while(|(slot, _)| of_skill(slot)).count() as u64 >= u64::from(max) {
                return Ok(Admission::Full);
            }
            state.tickets += 1;
            let slot = Slot { ticket: state.tickets, ..first };
            let deadline = state.now.saturating_add(lease);
            state.live.insert(slot.clone(), deadline);
            Ok(Admission::Granted(slot))
        })
    }

    fn renew<'a>(&'a self, slots: &'a [Slot], lease: Duration) -> BoxFuture<'a, Result<Vec<Slot>, StoreError>> {
        Box::pin(async move {
            let mut state = self.state();
            let deadline = state.now.saturating_add(lease);
            let mut renew = |slot: &&Slot| state.live.get_mut(slot).map(|current| *current = deadline).is_none();
            Ok(slots.iter().filter(|slot| renew(slot)).cloned().collect())
        })
    }

    fn release<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.state().live.remove(slot);
            Ok(())
        })
    }
}
