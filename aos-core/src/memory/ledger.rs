//! The account of model calls in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::lock;
use crate::BoxFuture;
use crate::id::{CallId, RunId, TenantId};
use crate::ledger::{
    BudgetUse, CallRecord, CallState, CostBy, CostLine, CostQuery, LedgerStore, MOST, NewCall, Period, Reserved, Scope,
    Settlement,
};
use crate::money::Money;
use crate::runs::StoreError;
use crate::time::{Clock, Timestamp};

/// Keeps every call as long as it lives.
pub struct MemoryLedger {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The store's clock, which never goes back.
    now: Timestamp,
    /// In the order in which they were reserved.
    calls: Vec<CallRecord>,
    places: BTreeMap<(TenantId, CallId), usize>,
    limits: BTreeMap<(TenantId, Scope, Period), Money>,
}

impl MemoryLedger {
    /// A ledger without calls or budgets.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// The state as of now.
    fn state(&self) -> MutexGuard<'_, State> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        state.now = state.now.max(now);
        state
    }
}

impl State {
    /// The budgets of a tenant, by scope and period as text.
    fn budgets(&self, tenant: &TenantId) -> Vec<BudgetUse> {
        let mine = self.limits.iter().filter(|((owner, ..), _)| owner == tenant);
        let mut budgets: Vec<_> =
            mine.map(|((_, scope, period), limit)| self.budget(tenant, scope, *period, *limit)).collect();
        budgets.sort_by_key(|budget| (budget.scope.to_string(), budget.period));
        budgets
    }

    fn budget(&self, tenant: &TenantId, scope: &Scope, period: Period, limit: Money) -> BudgetUse {
        let counts = |call: &&CallRecord| {
            call.new.tenant == *tenant
                && Scope::of(&call.new).contains(scope)
                && (period == Period::Total || call.at.day() == self.now.day())
        };
        let (mut spent, mut reserved) = (Money::ZERO, Money::ZERO);
        for call in self.calls.iter().filter(counts) {
            let sum = if call.state == CallState::Open { &mut reserved } else { &mut spent };
            *sum = sum.saturating_add(call.counts()).min(MOST);
        }
        BudgetUse { scope: scope.clone(), period, limit, spent, reserved, resets_at: period.resets_at(self.now) }
    }
}

impl LedgerStore for MemoryLedger {
    fn reserve<'a>(&'a self, call: &'a NewCall) -> BoxFuture<'a, Result<Reserved, StoreError>> {
        Box::pin(async move {
            let mut state = self.state();
            let name = (call.tenant.clone(), call.call.clone());
            if state.places.contains_key(&name) {
                return Ok(Reserved::Booked);
            }
            let record = CallRecord::open(call, state.now);
            if !call.cached {
                let scopes = Scope::of(call);
                let mut mine = state.budgets(&call.tenant).into_iter().filter(|budget| scopes.contains(&budget.scope));
                if let Some(budget) = mine.find(|budget| budget.refuses(record.new.bound)) {
                    return Ok(Reserved::Refused(Box::new(budget)));
                }
            }
            let place = state.calls.len();
            state.places.insert(name, place);
            state.calls.push(record);
            Ok(Reserved::Booked)
        })
    }

    fn settle<'a>(
        &'a self,
        tenant: &'a TenantId,
        call: &'a CallId,
        settlement: &'a Settlement,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut state = self.state();
            let now = state.now;
            let place = state.places.get(&(tenant.clone(), call.clone())).copied();
            let Some(record) = place.and_then(|place| state.calls.get_mut(place)) else { return Ok(()) };
            if record.state.can_be_settled() {
                let Settlement { sent, model, request_id, usage, .. } = settlement.clone();
                record.state = sent.into();
                record.settled_at = Some(now);
                (record.model, record.request_id, record.usage) = (model, request_id, usage);
                (record.cost_min, record.cost_max) = settlement.range(record.new.bound);
            }
            Ok(())
        })
    }

    fn sweep(&self, max: usize) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let mut state = self.state();
            let now = state.now;
            let is_lost = |call: &&mut CallRecord| {
                call.state == CallState::Open && call.at.saturating_add(call.new.patience) <= now
            };
            let mut judged = 0;
            for call in state.calls.iter_mut().filter(is_lost).take(max) {
                call.state = CallState::Unknown;
                call.settled_at = Some(now);
                judged += 1;
            }
            Ok(judged)
        })
    }

    fn set_budget<'a>(
        &'a self,
        tenant: &'a TenantId,
        scope: &'a Scope,
        period: Period,
        limit: Option<Money>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let name = (tenant.clone(), scope.clone(), period);
            let limits = &mut self.state().limits;
            let before = match limit {
                Some(limit) => limits.insert(name, limit.min(MOST)),
                None => limits.remove(&name),
            };
            Ok(before.is_some())
        })
    }

    fn budgets<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<BudgetUse>, StoreError>> {
        Box::pin(async move { Ok(self.state().budgets(tenant)) })
    }

    fn costs<'a>(&'a self, query: &'a CostQuery) -> BoxFuture<'a, Result<Vec<CostLine>, StoreError>> {
        Box::pin(async move {
            let state = self.state();
            let mut lines: BTreeMap<Option<String>, CostLine> = BTreeMap::new();
            for call in state.calls.iter().filter(|call| is_asked_for(query, call)) {
                let key = key(query.by, call);
                let line = lines.entry(key.clone()).or_insert_with(|| CostLine { key, ..CostLine::default() });
                add(line, call);
            }
            let mut lines: Vec<CostLine> = lines.into_values().collect();
            if query.by != CostBy::Day {
                // Stable: those that cost the same stay in the order of their keys.
                lines.sort_by_key(|line| std::cmp::Reverse(line.cost_max));
            }
            lines.truncate(query.limit);
            Ok(lines)
        })
    }

    fn calls<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: Option<&'a RunId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<CallRecord>, StoreError>> {
        Box::pin(async move {
            let is_wanted =
                |call: &&CallRecord| call.new.tenant == *tenant && (run.is_none() || call.new.run.as_ref() == run);
            Ok(self.state().calls.iter().rev().filter(is_wanted).take(limit).cloned().collect())
        })
    }
}

fn is_asked_for(query: &CostQuery, call: &CallRecord) -> bool {
    call.new.tenant == query.tenant
        && query.since.is_none_or(|since| call.at >= since)
        && query.until.is_none_or(|until| call.at < until)
        && (query.run.is_none() || call.new.run == query.run)
        && (query.workflow.is_none() || call.new.workflow == query.workflow)
}

fn key(by: CostBy, call: &CallRecord) -> Option<String> {
    let new = &call.new;
    match by {
        CostBy::Model => Some(call.model.clone().unwrap_or_else(|| new.model.clone())),
        CostBy::Workflow => new.workflow.as_ref().map(ToString::to_string),
        CostBy::Day => Some(call.at.day().to_string()),
        CostBy::Run => new.run.as_ref().map(ToString::to_string),
        CostBy::Effect => new.effect.as_ref().map(ToString::to_string),
        CostBy::Attempt => new.effect.as_ref().map(|effect| format!("{effect}#{}", new.attempt)),
        CostBy::Adapter => Some(new.adapter.clone()),
        CostBy::Key => new.api_key.as_ref().map(ToString::to_string),
    }
}

fn add(line: &mut CostLine, call: &CallRecord) {
    line.calls += 1;
    line.uncertain += u64::from(call.state.can_be_settled());
    line.unpriced += u64::from(call.cost_max.is_none());
    if let Some(used) = call.usage {
        let sum = &mut line.usage;
        for (sum, tokens) in [
            (&mut sum.input_tokens, used.input_tokens),
            (&mut sum.output_tokens, used.output_tokens),
            (&mut sum.cache_read_tokens, used.cache_read_tokens),
            (&mut sum.cache_write_tokens, used.cache_write_tokens),
            (&mut sum.cache_write_1h_tokens, used.cache_write_1h_tokens),
        ] {
            *sum = sum.saturating_add(tokens);
        }
    }
    if let Some(most) = call.cost_max {
        line.cost_min = line.cost_min.saturating_add(call.cost_min).min(MOST);
        line.cost_max = line.cost_max.saturating_add(most).min(MOST);
    }
}
