//! Budgets, and what calls count in them, in SQLite.

use aos_core::id::TenantId;
use aos_core::ledger::{BudgetUse, CallRecord, CallState, MOST, Period, Scope};
use aos_core::money::Money;
use aos_core::time::Timestamp;
use rusqlite::{Connection, Rows};

use super::costs::{damaged, parse};
use super::error::Stop;
use super::row::millis;
use super::writer::Tx;
use crate::backend::costs::{amount, money, picodollars};

/// Budgets of a tenant, as they stand for a day.
macro_rules! budgets_that {
    ($are:literal) => {
        concat!(
            "SELECT budget.scope, budget.period, budget.max, coalesce(used.spent, 0), coalesce(used.reserved, 0)
             FROM budget LEFT JOIN budget_use AS used
                 ON used.tenant = budget.tenant AND used.scope = budget.scope AND used.period = budget.period
                     AND used.day = CASE budget.period WHEN 'day' THEN ?2 ELSE 0 END
             WHERE budget.tenant = ?1",
            $are,
            " ORDER BY budget.scope, budget.period"
        )
    };
}

/// The budgets that a call counts in, as they stand for its day.
pub(super) fn of(tx: &Tx<'_>, call: &CallRecord) -> Result<Vec<BudgetUse>, Stop> {
    let sql = budgets_that!(" AND budget.scope IN ('tenant', 'workflow:' || ?3, 'key:' || ?4)");
    let new = &call.new;
    let workflow = new.workflow.as_ref().map(AsRef::<str>::as_ref);
    let key = new.api_key.as_ref().map(AsRef::<str>::as_ref);
    read(tx.sql(sql)?.query((new.tenant.as_str(), call.at.day().number(), workflow, key))?, call.at)
}

/// All budgets of a tenant, as they stand now.
pub(super) fn all(conn: &Connection, tenant: &TenantId, now: Timestamp) -> Result<Vec<BudgetUse>, Stop> {
    let mut statement = conn.prepare_cached(budgets_that!(""))?;
    read(statement.query((tenant.as_str(), now.day().number()))?, now)
}

fn read(mut rows: Rows<'_>, at: Timestamp) -> Result<Vec<BudgetUse>, Stop> {
    let mut budgets = Vec::new();
    while let Some(row) = rows.next()? {
        let period: String = row.get(1)?;
        let period =
            Period::from_text(&period).ok_or_else(|| damaged(row, 1, format!("{period:?} is not a period")))?;
        budgets.push(BudgetUse {
            scope: parse(row, 0)?,
            period,
            limit: money(row.get(2)?),
            spent: money(row.get(3)?),
            reserved: money(row.get(4)?),
            resets_at: period.resets_at(at),
        });
    }
    Ok(budgets)
}

/// Counts a call that is open from now on.
pub(super) fn count_open(tx: &Tx<'_>, call: &CallRecord) -> Result<(), Stop> {
    change(tx, call, |budget| budget.reserved = add(budget.reserved, call.counts()))
}

/// Counts a call that has ended by what it `counts` now, in place of what it did before.
pub(super) fn count_again(tx: &Tx<'_>, before: &CallRecord, counts: Money) -> Result<(), Stop> {
    change(tx, before, |budget| {
        let sum = if before.state == CallState::Open { &mut budget.reserved } else { &mut budget.spent };
        *sum = sum.saturating_sub(before.counts());
        budget.spent = add(budget.spent, counts);
    })
}

fn add(sum: Money, more: Money) -> Money {
    sum.saturating_add(more).min(MOST)
}

fn change(tx: &Tx<'_>, call: &CallRecord, change: impl Fn(&mut BudgetUse)) -> Result<(), Stop> {
    for mut budget in of(tx, call)? {
        change(&mut budget);
        write(tx, &call.new.tenant, &budget, call.at)?;
    }
    Ok(())
}

fn write(tx: &Tx<'_>, tenant: &TenantId, budget: &BudgetUse, at: Timestamp) -> Result<(), Stop> {
    let sql = "INSERT INTO budget_use (tenant, scope, period, day, spent, reserved) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (tenant, scope, period, day) DO UPDATE SET spent = ?5, reserved = ?6";
    tx.sql(sql)?.execute((
        tenant.as_str(),
        budget.scope.to_string(),
        budget.period.as_str(),
        budget.period.day(at).number(),
        picodollars(budget.spent),
        picodollars(budget.reserved),
    ))?;
    Ok(())
}

/// Sets, changes or lifts a budget; says whether there was one.
pub(super) fn set(
    tx: &Tx<'_>,
    tenant: &TenantId,
    scope: &Scope,
    period: Period,
    limit: Option<Money>,
) -> Result<bool, Stop> {
    let scope_text = scope.to_string();
    let (owner, of_scope, of_period) = (tenant.as_str(), scope_text.as_str(), period.as_str());
    let Some(limit) = limit else {
        let sql = "DELETE FROM budget_use WHERE tenant = ?1 AND scope = ?2 AND period = ?3";
        tx.sql(sql)?.execute((owner, of_scope, of_period))?;
        let sql = "DELETE FROM budget WHERE tenant = ?1 AND scope = ?2 AND period = ?3";
        return Ok(tx.sql(sql)?.execute((owner, of_scope, of_period))? > 0);
    };
    let row = (owner, of_scope, of_period, picodollars(limit));
    let sql = "UPDATE budget SET max = ?4 WHERE tenant = ?1 AND scope = ?2 AND period = ?3";
    if tx.sql(sql)?.execute(row)? > 0 {
        return Ok(true);
    }
    tx.sql("INSERT INTO budget (tenant, scope, period, max) VALUES (?1, ?2, ?3, ?4)")?.execute(row)?;
    let (spent, reserved) = counted_before(tx, tenant, scope, period)?;
    let budget =
        BudgetUse { scope: scope.clone(), period, limit, spent, reserved, resets_at: period.resets_at(tx.now) };
    write(tx, tenant, &budget, tx.now)?;
    Ok(false)
}

/// What the calls of the present period count that were made before there was a budget: ended ones, and open ones.
fn counted_before(tx: &Tx<'_>, tenant: &TenantId, scope: &Scope, period: Period) -> Result<(Money, Money), Stop> {
    let sql = "SELECT state = 'open', sum(counts / 1000000000000), sum(counts % 1000000000000)
               FROM (SELECT state, coalesce(cost_max, bound, 0) AS counts FROM ledger
                     WHERE tenant = ?1 AND at >= ?2
                         AND ?3 IN ('tenant', 'workflow:' || workflow, 'key:' || api_key))
               GROUP BY state = 'open'";
    let since = millis(period.day(tx.now).start());
    let mut statement = tx.sql(sql)?;
    let mut rows = statement.query((tenant.as_str(), since, scope.to_string()))?;
    let (mut spent, mut reserved) = (Money::ZERO, Money::ZERO);
    while let Some(row) = rows.next()? {
        let sum = if row.get(0)? { &mut reserved } else { &mut spent };
        *sum = amount(row.get(1)?, row.get(2)?);
    }
    Ok((spent, reserved))
}
