//! The ledger's records, and sums over them, in SQLite.

use std::fmt;
use std::str::FromStr;

use aos_core::canonical::Hash;
use aos_core::ledger::{CallRecord, CallState, CostBy, CostLine, CostQuery, NewCall};
use aos_core::llm::Usage;
use aos_core::runs::StoreError;
use aos_core::time::Day;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, Rows, params_from_iter};

use super::error::Stop;
use super::row::{millis, timestamp};
use crate::backend::costs::{DOLLAR, amount, key, money};

/// The columns that [`records`] reads, in its order.
macro_rules! columns {
    () => {
        "tenant, call, at, run, workflow, effect, attempt, fallback, adapter, model, api_key, request, bound, book, \
         deadline, state, settled_at, answered, request_id, input_tokens, output_tokens, cache_read_tokens, \
         cache_write_tokens, cache_write_1h_tokens, cost_min, cost_max"
    };
}
pub(super) use columns;

/// Reads rows of [`columns!`].
pub(super) fn records(mut rows: Rows<'_>) -> Result<Vec<CallRecord>, Stop> {
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(record(row)?);
    }
    Ok(records)
}

fn record(row: &Row<'_>) -> Result<CallRecord, Stop> {
    let state: String = row.get(15)?;
    let state =
        CallState::from_text(&state).ok_or_else(|| damaged(row, 15, format!("{state:?} is not a state of a call")))?;
    let at = timestamp(row.get(2)?);
    let tokens = |column| row.get::<_, Option<i64>>(column).map(|tokens| tokens.map(|tokens| tokens.max(0) as u64));
    let usage = match tokens(19)? {
        None => None,
        Some(input_tokens) => Some(Usage {
            input_tokens,
            output_tokens: tokens(20)?.unwrap_or_default(),
            cache_read_tokens: tokens(21)?.unwrap_or_default(),
            cache_write_tokens: tokens(22)?.unwrap_or_default(),
            cache_write_1h_tokens: tokens(23)?.unwrap_or_default(),
        }),
    };
    Ok(CallRecord {
        new: NewCall {
            tenant: parse(row, 0)?,
            call: parse(row, 1)?,
            run: parse_optional(row, 3)?,
            workflow: parse_optional(row, 4)?,
            effect: parse_optional(row, 5)?,
            attempt: row.get(6)?,
            fallback: row.get(7)?,
            adapter: row.get(8)?,
            model: row.get(9)?,
            api_key: parse_optional(row, 10)?,
            request: Hash::from(row.get::<_, [u8; 32]>(11)?),
            bound: row.get::<_, Option<i64>>(12)?.map(money),
            book: row.get::<_, Option<[u8; 32]>>(13)?.map(Hash::from),
            patience: timestamp(row.get(14)?).since(at),
            cached: state == CallState::Cached,
        },
        at,
        state,
        settled_at: row.get::<_, Option<i64>>(16)?.map(timestamp),
        model: row.get(17)?,
        request_id: row.get(18)?,
        usage,
        cost_min: money(row.get(24)?),
        cost_max: row.get::<_, Option<i64>>(25)?.map(money),
    })
}

/// Sums up, by what a query asks for.
pub(super) fn sum(conn: &Connection, query: &CostQuery) -> Result<Vec<CostLine>, Stop> {
    let mut conditions = String::from("tenant = ?");
    let mut values: Vec<Value> = vec![query.tenant.as_str().to_owned().into()];
    let mut only = |condition: &str, value: Option<Value>| {
        if let Some(value) = value {
            conditions.push_str(condition);
            values.push(value);
        }
    };
    only(" AND at >= ?", query.since.map(|since| millis(since).into()));
    only(" AND at < ?", query.until.map(|until| millis(until).into()));
    only(" AND run = ?", query.run.as_ref().map(|run| run.as_str().to_owned().into()));
    only(" AND workflow = ?", query.workflow.as_ref().map(|workflow| workflow.as_str().to_owned().into()));
    values.push(i64::try_from(query.limit).unwrap_or(i64::MAX).into());
    let order = match query.by {
        CostBy::Day => "min(at)".to_owned(),
        _ => format!(
            "coalesce(sum(most / {DOLLAR}) + sum(most % {DOLLAR}) / {DOLLAR}, 0) DESC,
             coalesce(sum(most % {DOLLAR}) % {DOLLAR}, 0) DESC, key"
        ),
    };
    let sql = format!(
        "SELECT key, count(*), sum(state IN ('open', 'unknown')), sum(most IS NULL),
                coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(cache_read_tokens), 0),
                coalesce(sum(cache_write_tokens), 0), coalesce(sum(cache_write_1h_tokens), 0),
                coalesce(sum(least / {DOLLAR}), 0), coalesce(sum(least % {DOLLAR}), 0),
                coalesce(sum(most / {DOLLAR}), 0), coalesce(sum(most % {DOLLAR}), 0)
         FROM (SELECT *, {key} AS key, cost_max AS most, CASE WHEN cost_max IS NOT NULL THEN cost_min END AS least
               FROM ledger WHERE {conditions})
         GROUP BY key ORDER BY {order} LIMIT ?",
        key = key(query.by)
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        let number = |column| row.get::<_, i64>(column).map(|number| number.max(0) as u64);
        let key: Option<String> = row.get(0)?;
        lines.push(CostLine {
            key: match (query.by, key) {
                (CostBy::Day, Some(_)) => Some(Day::from_number(parse(row, 0)?).to_string()),
                (_, key) => key,
            },
            calls: number(1)?,
            uncertain: number(2)?,
            unpriced: number(3)?,
            usage: Usage {
                input_tokens: number(4)?,
                output_tokens: number(5)?,
                cache_read_tokens: number(6)?,
                cache_write_tokens: number(7)?,
                cache_write_1h_tokens: number(8)?,
            },
            cost_min: amount(row.get(9)?, row.get(10)?),
            cost_max: amount(row.get(11)?, row.get(12)?),
        });
    }
    Ok(lines)
}

pub(super) fn parse<T: FromStr<Err: fmt::Display>>(row: &Row<'_>, column: usize) -> Result<T, Stop> {
    let text: String = row.get(column)?;
    Ok(text.parse().map_err(|error: T::Err| damaged(row, column, error))?)
}

fn parse_optional<T: FromStr<Err: fmt::Display>>(row: &Row<'_>, column: usize) -> Result<Option<T>, Stop> {
    let text: Option<String> = row.get(column)?;
    Ok(text.map(|text| text.parse()).transpose().map_err(|error: T::Err| damaged(row, column, error))?)
}

/// The error for a row of the ledger or of a budget.
pub(super) fn damaged(row: &Row<'_>, column: usize, why: impl fmt::Display) -> StoreError {
    let id = row.get_ref(1).ok().and_then(|name| name.as_str().ok()).unwrap_or("?").to_owned();
    let column = row.as_ref().column_name(column).unwrap_or("?").to_owned();
    StoreError::Corrupt { what: "row of the ledger", id, why: format!("column {column}: {why}") }
}
