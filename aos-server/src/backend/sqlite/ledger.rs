//! The account of model calls, in SQLite. One writes at a time, so what budgets have used is simply read and written.

use aos_core::BoxFuture;
use aos_core::canonical::Hash;
use aos_core::id::{CallId, RunId, TenantId};
use aos_core::ledger::{
    BudgetUse, CallRecord, CallState, CostLine, CostQuery, LedgerStore, NewCall, Period, Reserved, Scope, Settlement,
};
use aos_core::llm::Usage;
use aos_core::money::Money;
use aos_core::runs::StoreError;
use rusqlite::params;

use super::Sqlite;
use super::budgets::{self, count_again, count_open};
use super::costs::{self, columns, records};
use super::error::Stop;
use super::row::millis;
use super::writer::Tx;
use crate::backend::costs::{picodollars, tokens};

impl LedgerStore for Sqlite {
    fn reserve<'a>(&'a self, call: &'a NewCall) -> BoxFuture<'a, Result<Reserved, StoreError>> {
        let call = call.clone();
        Box::pin(self.writer.write("reserve a call", move |tx| reserve(tx, &call)))
    }

    fn settle<'a>(
        &'a self,
        tenant: &'a TenantId,
        call: &'a CallId,
        settlement: &'a Settlement,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (tenant, call, settlement) = (tenant.clone(), call.clone(), settlement.clone());
        Box::pin(self.writer.write("settle a call", move |tx| settle(tx, &tenant, &call, &settlement)))
    }

    fn sweep(&self, max: usize) -> BoxFuture<'_, Result<u64, StoreError>> {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        Box::pin(self.writer.write("judge open calls", move |tx| {
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM ledger WHERE state = 'open' AND deadline <= ?1 ORDER BY deadline LIMIT ?2"
            );
            let lost = records(tx.sql(sql)?.query((millis(tx.now), max))?)?;
            for record in &lost {
                let sql = "UPDATE ledger SET state = 'unknown', settled_at = ?3 WHERE tenant = ?1 AND call = ?2";
                let (tenant, call) = (&record.new.tenant, &record.new.call);
                tx.sql(sql)?.execute((tenant.as_str(), call.as_str(), millis(tx.now)))?;
                count_again(tx, record, record.counts())?;
            }
            Ok(lost.len() as u64)
        }))
    }

    fn set_budget<'a>(
        &'a self,
        tenant: &'a TenantId,
        scope: &'a Scope,
        period: Period,
        limit: Option<Money>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let (tenant, scope) = (tenant.clone(), scope.clone());
        Box::pin(self.writer.write("set a budget", move |tx| budgets::set(tx, &tenant, &scope, period, limit)))
    }

    fn budgets<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<BudgetUse>, StoreError>> {
        let (tenant, clock) = (tenant.clone(), self.clock.clone());
        Box::pin(self.readers.read("read the budgets", move |conn| budgets::all(conn, &tenant, clock.now())))
    }

    fn costs<'a>(&'a self, query: &'a CostQuery) -> BoxFuture<'a, Result<Vec<CostLine>, StoreError>> {
        let query = query.clone();
        Box::pin(self.readers.read("sum up costs", move |conn| costs::sum(conn, &query)))
    }

    fn calls<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: Option<&'a RunId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<CallRecord>, StoreError>> {
        let (tenant, run) = (tenant.clone(), run.cloned());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Box::pin(self.readers.read("list calls", move |conn| match run {
            None => {
                let sql = concat!("SELECT ", columns!(), " FROM ledger WHERE tenant = ?1 ORDER BY id DESC LIMIT ?2");
                records(conn.prepare_cached(sql)?.query((tenant.as_str(), limit))?)
            }
            Some(run) => {
                let sql = concat!(
                    "SELECT ",
                    columns!(),
                    " FROM ledger WHERE tenant = ?1 AND run = ?2 ORDER BY id DESC LIMIT ?3"
                );
                records(conn.prepare_cached(sql)?.query((tenant.as_str(), run.as_str(), limit))?)
            }
        }))
    }
}

fn reserve(tx: &Tx<'_>, call: &NewCall) -> Result<Reserved, Stop> {
    let (tenant, name) = (call.tenant.as_str(), call.call.as_str());
    let sql = "SELECT EXISTS (SELECT 1 FROM ledger WHERE tenant = ?1 AND call = ?2)";
    if tx.sql(sql)?.query_row((tenant, name), |row| row.get(0))? {
        return Ok(Reserved::Booked);
    }
    let record = CallRecord::open(call, tx.now);
    if !call.cached
        && let Some(budget) = budgets::of(tx, &record)?.into_iter().find(|budget| budget.refuses(record.new.bound))
    {
        return Ok(Reserved::Refused(Box::new(budget)));
    }
    let sql = "INSERT INTO ledger (tenant, call, at, run, workflow, effect, attempt, fallback, adapter, model, api_key,
                                   request, bound, book, deadline, state, cost_min, cost_max)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";
    let new = &record.new;
    tx.sql(sql)?.execute(params![
        tenant,
        name,
        millis(record.at),
        new.run.as_ref().map(RunId::as_str),
        new.workflow.as_ref().map(AsRef::<str>::as_ref),
        new.effect.as_ref().map(AsRef::<str>::as_ref),
        new.attempt,
        new.fallback,
        new.adapter,
        new.model,
        new.api_key.as_ref().map(AsRef::<str>::as_ref),
        new.request.as_bytes(),
        new.bound.map(picodollars),
        new.book.as_ref().map(Hash::as_bytes),
        millis(record.at.saturating_add(new.patience)),
        record.state.as_str(),
        picodollars(record.cost_min),
        record.cost_max.map(picodollars),
    ])?;
    if !call.cached {
        count_open(tx, &record)?;
    }
    Ok(Reserved::Booked)
}

fn settle(tx: &Tx<'_>, tenant: &TenantId, call: &CallId, settlement: &Settlement) -> Result<(), Stop> {
    let sql = concat!("SELECT ", columns!(), " FROM ledger WHERE tenant = ?1 AND call = ?2");
    let found = records(tx.sql(sql)?.query((tenant.as_str(), call.as_str()))?)?;
    let Some(before) = found.into_iter().find(|record| record.state.can_be_settled()) else { return Ok(()) };
    let (cost_min, cost_max) = settlement.range(before.new.bound);
    let used = |part: fn(&Usage) -> u64| settlement.usage.as_ref().map(|usage| tokens(part(usage)));
    let sql = "UPDATE ledger SET state = ?3, settled_at = ?4, answered = ?5, request_id = ?6, input_tokens = ?7,
                      output_tokens = ?8, cache_read_tokens = ?9, cache_write_tokens = ?10,
                      cache_write_1h_tokens = ?11, cost_min = ?12, cost_max = ?13
               WHERE tenant = ?1 AND call = ?2";
    tx.sql(sql)?.execute(params![
        tenant.as_str(),
        call.as_str(),
        CallState::from(settlement.sent).as_str(),
        millis(tx.now),
        settlement.model,
        settlement.request_id,
        used(|usage| usage.input_tokens),
        used(|usage| usage.output_tokens),
        used(|usage| usage.cache_read_tokens),
        used(|usage| usage.cache_write_tokens),
        used(|usage| usage.cache_write_1h_tokens),
        picodollars(cost_min),
        cost_max.map(picodollars),
    ])?;
    count_again(tx, &before, cost_max.or(before.new.bound).unwrap_or_default())
}
