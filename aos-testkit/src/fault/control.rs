//! Faults around what an installation is steered by: workers, slots, schedules, switches, the ledger.

// A method with a default body would pass the fault by if a wrapper forgot it.
#![deny(clippy::missing_trait_methods)]

use std::time::Duration;

use aos_core::BoxFuture;
use aos_core::id::{CallId, RunId, ScheduleId, SkillId, TenantId, WorkerId};
use aos_core::ledger::{
    BudgetUse, CallRecord, CostLine, CostQuery, LedgerStore, NewCall, Period, Reserved, Scope, Settlement,
};
use aos_core::money::Money;
use aos_core::runs::StoreError;
use aos_core::schedules::{Firing, Schedule, ScheduleStore};
use aos_core::slots::{Admission, SkillLimit, Slot, SlotStore};
use aos_core::switches::{Switch, SwitchChange, SwitchStore};
use aos_core::time::Timestamp;
use aos_core::workers::{WorkerRecord, WorkerReport, WorkerStore};

use super::Faulty;
use super::stores::unavailable;

impl<T: WorkerStore + ?Sized> WorkerStore for Faulty<T> {
    fn report<'a>(&'a self, report: &'a WorkerReport, ttl: Duration) -> BoxFuture<'a, Result<(), StoreError>> {
        let call = move || self.inner.report(report, ttl);
        Box::pin(self.faults.around("workers.report", call, unavailable("keep a worker's report")))
    }

    fn leave<'a>(&'a self, worker: &'a WorkerId) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.faults.around("workers.leave", move || self.inner.leave(worker), unavailable("forget a worker")))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<WorkerRecord>, StoreError>> {
        Box::pin(self.faults.around("workers.list", move || self.inner.list(), unavailable("list workers")))
    }
}

impl<T: SlotStore + ?Sized> SlotStore for Faulty<T> {
    fn limit<'a>(
        &'a self,
        tenant: &'a TenantId,
        skill: &'a SkillId,
        max: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let call = move || self.inner.limit(tenant, skill, max);
        Box::pin(self.faults.around("slots.limit", call, unavailable("limit a skill")))
    }

    fn limits<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<SkillLimit>, StoreError>> {
        let call = move || self.inner.limits(tenant);
        Box::pin(self.faults.around("slots.limits", call, unavailable("read the limits of skills")))
    }

    fn acquire<'a>(
        &'a self,
        tenant: &'a TenantId,
        skill: &'a SkillId,
        holder: &'a WorkerId,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Admission, StoreError>> {
        let call = move || self.inner.acquire(tenant, skill, holder, lease);
        Box::pin(self.faults.around("slots.acquire", call, unavailable("take a slot")))
    }

    fn renew<'a>(&'a self, slots: &'a [Slot], lease: Duration) -> BoxFuture<'a, Result<Vec<Slot>, StoreError>> {
        let call = move || self.inner.renew(slots, lease);
        Box::pin(self.faults.around("slots.renew", call, unavailable("prolong slots")))
    }

    fn release<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<(), StoreError>> {
        let call = move || self.inner.release(slot);
        Box::pin(self.faults.around("slots.release", call, unavailable("give a slot back")))
    }
}

impl<T: ScheduleStore + ?Sized> ScheduleStore for Faulty<T> {
    fn put<'a>(&'a self, schedule: &'a Schedule) -> BoxFuture<'a, Result<(), StoreError>> {
        let call = move || self.inner.put(schedule);
        Box::pin(self.faults.around("schedules.put", call, unavailable("keep a schedule")))
    }

    fn get<'a>(
        &'a self,
        tenant: &'a TenantId,
        id: &'a ScheduleId,
    ) -> BoxFuture<'a, Result<Option<Schedule>, StoreError>> {
        let call = move || self.inner.get(tenant, id);
        Box::pin(self.faults.around("schedules.get", call, unavailable("read a schedule")))
    }

    fn list<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<Schedule>, StoreError>> {
        let call = move || self.inner.list(tenant);
        Box::pin(self.faults.around("schedules.list", call, unavailable("list schedules")))
    }

    fn remove<'a>(&'a self, tenant: &'a TenantId, id: &'a ScheduleId) -> BoxFuture<'a, Result<bool, StoreError>> {
        let call = move || self.inner.remove(tenant, id);
        Box::pin(self.faults.around("schedules.remove", call, unavailable("forget a schedule")))
    }

    fn now(&self) -> BoxFuture<'_, Result<Timestamp, StoreError>> {
        let call = move || self.inner.now();
        Box::pin(self.faults.around("schedules.now", call, unavailable("read the store's clock")))
    }

    fn due(&self, max: usize, hold: Duration) -> BoxFuture<'_, Result<Vec<Schedule>, StoreError>> {
        let call = move || self.inner.due(max, hold);
        Box::pin(self.faults.around("schedules.due", call, unavailable("take due schedules in hand")))
    }

    fn advance<'a>(
        &'a self,
        schedule: &'a Schedule,
        firing: &'a Firing,
        next_at: Option<Timestamp>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let call = move || self.inner.advance(schedule, firing, next_at);
        Box::pin(self.faults.around("schedules.advance", call, unavailable("advance a schedule")))
    }
}

impl<T: SwitchStore + ?Sized> SwitchStore for Faulty<T> {
    fn load(&self) -> BoxFuture<'_, Result<Vec<SwitchChange>, StoreError>> {
        Box::pin(self.faults.around("switches.load", move || self.inner.load(), unavailable("read the switches")))
    }

    fn turn<'a>(
        &'a self,
        switch: Switch,
        on: bool,
        by: &'a str,
        reason: &'a str,
        lasts: Option<Duration>,
    ) -> BoxFuture<'a, Result<SwitchChange, StoreError>> {
        let call = move || self.inner.turn(switch, on, by, reason, lasts);
        Box::pin(self.faults.around("switches.turn", call, unavailable("turn a switch")))
    }

    fn history(&self, limit: usize) -> BoxFuture<'_, Result<Vec<SwitchChange>, StoreError>> {
        let call = move || self.inner.history(limit);
        Box::pin(self.faults.around("switches.history", call, unavailable("read the history of switches")))
    }
}

impl<T: LedgerStore + ?Sized> LedgerStore for Faulty<T> {
    fn reserve<'a>(&'a self, call: &'a NewCall) -> BoxFuture<'a, Result<Reserved, StoreError>> {
        Box::pin(self.faults.around("ledger.reserve", move || self.inner.reserve(call), unavailable("reserve a call")))
    }

    fn settle<'a>(
        &'a self,
        tenant: &'a TenantId,
        call: &'a CallId,
        settlement: &'a Settlement,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let settle = move || self.inner.settle(tenant, call, settlement);
        Box::pin(self.faults.around("ledger.settle", settle, unavailable("settle a call")))
    }

    fn sweep(&self, max: usize) -> BoxFuture<'_, Result<u64, StoreError>> {
        let call = move || self.inner.sweep(max);
        Box::pin(self.faults.around("ledger.sweep", call, unavailable("judge open calls")))
    }

    fn set_budget<'a>(
        &'a self,
        tenant: &'a TenantId,
        scope: &'a Scope,
        period: Period,
        limit: Option<Money>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let call = move || self.inner.set_budget(tenant, scope, period, limit);
        Box::pin(self.faults.around("ledger.set_budget", call, unavailable("set a budget")))
    }

    fn budgets<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<BudgetUse>, StoreError>> {
        let call = move || self.inner.budgets(tenant);
        Box::pin(self.faults.around("ledger.budgets", call, unavailable("read the budgets")))
    }

    fn costs<'a>(&'a self, query: &'a CostQuery) -> BoxFuture<'a, Result<Vec<CostLine>, StoreError>> {
        let call = move || self.inner.costs(query);
        Box::pin(self.faults.around("ledger.costs", call, unavailable("sum up costs")))
    }

    fn calls<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: Option<&'a RunId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<CallRecord>, StoreError>> {
        let call = move || self.inner.calls(tenant, run, limit);
        Box::pin(self.faults.around("ledger.calls", call, unavailable("list calls")))
    }
}
