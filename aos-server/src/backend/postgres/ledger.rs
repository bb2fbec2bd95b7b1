//! The account of model calls, in Postgres: written in batches, by functions that also keep what budgets have used.

use std::collections::HashMap;
use std::sync::Arc;

use aos_core::BoxFuture;
use aos_core::id::{CallId, RunId, TenantId};
use aos_core::ledger::{
    BudgetUse, CallRecord, CallState, CostLine, CostQuery, LedgerStore, NewCall, Period, Reserved, Scope, Settlement,
};
use aos_core::llm::Usage;
use aos_core::money::Money;
use aos_core::runs::StoreError;
use aos_core::time::Timestamp;
use serde_json::{Value, json};
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

use super::batch::Batch;
use super::costs::{self, columns, damaged};
use super::error::Fault;
use super::row::{millis_of, readable, timestamp};
use super::session::Connection;
use super::{Postgres, Stop};
use crate::backend::costs::{money, picodollars, tokens};

impl LedgerStore for Postgres {
    fn reserve<'a>(&'a self, call: &'a NewCall) -> BoxFuture<'a, Result<Reserved, StoreError>> {
        Box::pin(self.ledger.write(Entry::Reservation(Box::new(call.clone()))))
    }

    fn settle<'a>(
        &'a self,
        tenant: &'a TenantId,
        call: &'a CallId,
        settlement: &'a Settlement,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let entry = Entry::Settlement(tenant.clone(), call.clone(), Box::new(settlement.clone()));
        Box::pin(async move { self.ledger.write(entry).await.map(drop) })
    }

    fn sweep(&self, max: usize) -> BoxFuture<'_, Result<u64, StoreError>> {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        Box::pin(self.run("judge open calls", async move |pool| {
            let sql = "SELECT aos_settle(coalesce(jsonb_agg(jsonb_build_object(
                           'tenant', tenant, 'call', call, 'state', 'unknown', 'cost_min', 0)), '[]'), '{open}')
                       FROM (SELECT tenant, call FROM ledger WHERE state = 'open' AND deadline <= aos_now()
                             ORDER BY deadline LIMIT $1) AS lost";
            let judged: i64 = sqlx::query_scalar(sql).bind(max).fetch_one(&pool).await?;
            Ok(judged as u64)
        }))
    }

    fn set_budget<'a>(
        &'a self,
        tenant: &'a TenantId,
        scope: &'a Scope,
        period: Period,
        limit: Option<Money>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let (tenant, scope) = (tenant.clone(), scope.to_string());
        // Adds up the calls of the period.
        Box::pin(self.run_long("set a budget", async move |pool| {
            let query = sqlx::query_scalar("SELECT aos_set_budget($1, $2, $3, $4)");
            let query = query.bind(tenant.as_str()).bind(scope).bind(period.as_str()).bind(limit.map(picodollars));
            Ok(query.fetch_one(&pool).await?)
        }))
    }

    fn budgets<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<BudgetUse>, StoreError>> {
        let tenant = tenant.clone();
        Box::pin(self.run("read the budgets", async move |pool| {
            let sql = "WITH now AS MATERIALIZED (SELECT aos_now() AS at)
                       SELECT budget.scope, budget.period, budget.max,
                              least(coalesce(used.spent, 0), 9223372036854775807)::bigint,
                              least(coalesce(used.reserved, 0), 9223372036854775807)::bigint, now.at
                       FROM now CROSS JOIN budget LEFT JOIN budget_use AS used
                           ON used.tenant = budget.tenant AND used.scope = budget.scope AND used.period = budget.period
                               AND used.day = CASE budget.period WHEN 'day' THEN now.at / 86400000 ELSE 0 END
                       WHERE budget.tenant = $1 ORDER BY budget.scope COLLATE \"C\", budget.period COLLATE \"C\"";
            let rows = sqlx::query(sql).bind(tenant.as_str()).fetch_all(&pool).await?;
            rows.iter().map(budget).collect()
        }))
    }

    fn costs<'a>(&'a self, query: &'a CostQuery) -> BoxFuture<'a, Result<Vec<CostLine>, StoreError>> {
        let query = query.clone();
        Box::pin(self.run_long("sum up costs", async move |pool| costs::sum(&pool, &query).await))
    }

    fn calls<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: Option<&'a RunId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<CallRecord>, StoreError>> {
        let (tenant, run) = (tenant.clone(), run.cloned());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Box::pin(self.run("list calls", async move |pool| {
            let query = match &run {
                None => {
                    let sql = concat!(
                        "SELECT ",
                        columns!(),
                        " FROM ledger WHERE tenant = $1 ORDER BY at DESC, id DESC LIMIT $2"
                    );
                    sqlx::query(sql).bind(tenant.as_str()).bind(limit)
                }
                Some(run) => {
                    let sql = concat!(
                        "SELECT ",
                        columns!(),
                        " FROM ledger WHERE tenant = $1 AND run = $3 ORDER BY id DESC LIMIT $2"
                    );
                    sqlx::query(sql).bind(tenant.as_str()).bind(limit).bind(run.as_str())
                }
            };
            query.fetch_all(&pool).await?.iter().map(costs::record).collect()
        }))
    }
}

/// Something to write into the ledger.
pub(super) enum Entry {
    /// A call that is about to be made.
    Reservation(Box<NewCall>),
    /// How one ended.
    Settlement(TenantId, CallId, Box<Settlement>),
}

/// How the ledger is written.
pub(super) struct Ledger {
    place: Arc<str>,
}

impl Ledger {
    pub(super) fn new(place: &Arc<str>) -> Self {
        Self { place: Arc::clone(place) }
    }
}

impl Batch for Ledger {
    type Item = Entry;
    type Answer = Reserved;
    type Key = (TenantId, CallId);

    const OPERATION: &'static str = "write the ledger";

    fn key(item: &Entry) -> Self::Key {
        match item {
            Entry::Reservation(call) => (call.tenant.clone(), call.call.clone()),
            Entry::Settlement(tenant, call, _) => (tenant.clone(), call.clone()),
        }
    }

    /// Both statements change nothing when they have been executed before.
    async fn write(
        &self,
        connection: &mut Connection,
        items: &[Entry],
        _again: bool,
    ) -> Result<Vec<Result<Reserved, StoreError>>, Fault> {
        let fault = |error| Fault::new(&self.place, error);
        let (mut reservations, mut settlements) = (Vec::new(), Vec::new());
        for item in items {
            match item {
                Entry::Reservation(call) => reservations.push(reservation(call)),
                Entry::Settlement(tenant, call, known) => settlements.push(settlement(tenant, call, known)),
            }
        }
        let mut refused = HashMap::new();
        if !reservations.is_empty() {
            let sql = "SELECT of_scope, of_period, of_max, least(of_spent, 9223372036854775807)::bigint,
                              least(of_reserved, 9223372036854775807)::bigint, refused_at, refused_tenant, refused_call
                       FROM aos_reserve($1)";
            let rows = sqlx::query(sql).bind(Json(reservations)).fetch_all(&mut *connection).await.map_err(fault)?;
            for row in rows {
                let name: (String, String) = (row.try_get(6).map_err(fault)?, row.try_get(7).map_err(fault)?);
                refused.insert(name, row);
            }
        }
        if !settlements.is_empty() {
            let query = sqlx::query("SELECT aos_settle($1, '{open,unknown}')").bind(Json(settlements));
            query.execute(&mut *connection).await.map_err(fault)?;
        }
        let answer = |item| {
            let (tenant, call) = Self::key(item);
            match refused.get(&(tenant.to_string(), call.to_string())).map(budget) {
                None => Ok(Ok(Reserved::Booked)),
                Some(Ok(budget)) => Ok(Ok(Reserved::Refused(Box::new(budget)))),
                Some(Err(Stop::Rejected(error))) => Ok(Err(error)),
                Some(Err(Stop::Sql(error))) => Err(fault(error)),
            }
        };
        items.iter().map(answer).collect()
    }
}

fn reservation(call: &NewCall) -> Value {
    let record = CallRecord::open(call, Timestamp::EPOCH);
    let new = &record.new;
    json!({
        "tenant": new.tenant,
        "call": new.call,
        "run": new.run,
        "workflow": new.workflow,
        "effect": new.effect,
        "attempt": new.attempt,
        "fallback": new.fallback,
        "adapter": readable(&new.adapter),
        "model": readable(&new.model),
        "api_key": new.api_key,
        "request": new.request.to_hex().as_str(),
        "bound": new.bound.map(picodollars),
        "book": new.book.as_ref().map(|book| book.to_hex().as_str().to_owned()),
        "patience": millis_of(new.patience),
        "state": record.state.as_str(),
        "cost_max": record.cost_max.map(picodollars),
    })
}

fn settlement(tenant: &TenantId, call: &CallId, known: &Settlement) -> Value {
    // The function knows what was reserved.
    let (cost_min, cost_max) = known.range(None);
    let used = |part: fn(&Usage) -> u64| known.usage.as_ref().map(|usage| tokens(part(usage)));
    json!({
        "tenant": tenant,
        "call": call,
        "state": CallState::from(known.sent).as_str(),
        "answered": known.model.as_deref().map(readable),
        "request_id": known.request_id.as_deref().map(readable),
        "input_tokens": used(|usage| usage.input_tokens),
        "output_tokens": used(|usage| usage.output_tokens),
        "cache_read_tokens": used(|usage| usage.cache_read_tokens),
        "cache_write_tokens": used(|usage| usage.cache_write_tokens),
        "cache_write_1h_tokens": used(|usage| usage.cache_write_1h_tokens),
        "cost_min": picodollars(cost_min),
        "cost_max": cost_max.map(picodollars),
    })
}

/// A budget, from six columns: scope, period, limit, what is spent, what is reserved, and the time.
fn budget(row: &PgRow) -> Result<BudgetUse, Stop> {
    let (scope, period): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
    let at = timestamp(row.try_get(5)?);
    let period = Period::from_text(period).ok_or_else(|| damaged(scope, "period", format!("{period:?} is none")))?;
    Ok(BudgetUse {
        scope: scope.parse().map_err(|error| damaged(scope, "scope", error))?,
        period,
        limit: money(row.try_get(2)?),
        spent: money(row.try_get(3)?),
        reserved: money(row.try_get(4)?),
        resets_at: period.resets_at(at),
    })
}
