//! The ledger's records, and sums over them, in Postgres.

use std::fmt;
use std::str::FromStr;

use aos_core::canonical::Hash;
use aos_core::id::RunId;
use aos_core::ledger::{CallRecord, CallState, CostBy, CostLine, CostQuery, NewCall};
use aos_core::llm::Usage;
use aos_core::runs::StoreError;
use aos_core::time::Day;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use super::Stop;
use super::row::{millis, timestamp};
use super::session::Pool;
use crate::backend::costs::{DOLLAR, amount, key, money};

/// The columns that [`record`] reads.
macro_rules! columns {
    () => {
        "tenant, call, at, run, workflow, effect, attempt, fallback, adapter, model, api_key, request, bound, book, \
         deadline, state, settled_at, answered, request_id, input_tokens, output_tokens, cache_read_tokens, \
         cache_write_tokens, cache_write_1h_tokens, cost_min, cost_max"
    };
}
pub(super) use columns;

/// Reads a row of [`columns!`].
pub(super) fn record(row: &PgRow) -> Result<CallRecord, Stop> {
    let cells = Cells { row, call: row.try_get("call")? };
    let state: &str = row.try_get("state")?;
    let state = CallState::from_text(state)
        .ok_or_else(|| damaged(cells.call, "state", format!("{state:?} is not a state of a call")))?;
    let at = timestamp(row.try_get("at")?);
    let tokens = |column| row.try_get::<Option<i64>, _>(column).map(|tokens| tokens.map(|tokens| tokens.max(0) as u64));
    let usage = match tokens("input_tokens")? {
        None => None,
        Some(input_tokens) => Some(Usage {
            input_tokens,
            output_tokens: tokens("output_tokens")?.unwrap_or_default(),
            cache_read_tokens: tokens("cache_read_tokens")?.unwrap_or_default(),
            cache_write_tokens: tokens("cache_write_tokens")?.unwrap_or_default(),
            cache_write_1h_tokens: tokens("cache_write_1h_tokens")?.unwrap_or_default(),
        }),
    };
    Ok(CallRecord {
        new: NewCall {
            tenant: cells.parse("tenant")?,
            call: cells.parse("call")?,
            run: cells.parse_optional("run")?,
            workflow: cells.parse_optional("workflow")?,
            effect: cells.parse_optional("effect")?,
            attempt: cells.count("attempt")?,
            fallback: cells.count("fallback")?,
            adapter: row.try_get("adapter")?,
            model: row.try_get("model")?,
            api_key: cells.parse_optional("api_key")?,
            request: cells.hash("request")?.ok_or_else(|| damaged(cells.call, "request", "it is missing"))?,
            bound: row.try_get::<Option<i64>, _>("bound")?.map(money),
            book: cells.hash("book")?,
            patience: timestamp(row.try_get("deadline")?).since(at),
            cached: state == CallState::Cached,
        },
        at,
        state,
        settled_at: row.try_get::<Option<i64>, _>("settled_at")?.map(timestamp),
        model: row.try_get("answered")?,
        request_id: row.try_get("request_id")?,
        usage,
        cost_min: money(row.try_get("cost_min")?),
        cost_max: row.try_get::<Option<i64>, _>("cost_max")?.map(money),
    })
}

/// The cells of a row, by name.
struct Cells<'a> {
    row: &'a PgRow,
    call: &'a str,
}

impl Cells<'_> {
    fn parse<T: FromStr<Err: fmt::Display>>(&self, column: &str) -> Result<T, Stop> {
        let text: &str = self.row.try_get(column)?;
        Ok(text.parse().map_err(|error: T::Err| damaged(self.call, column, error))?)
    }

    fn parse_optional<T: FromStr<Err: fmt::Display>>(&self, column: &str) -> Result<Option<T>, Stop> {
        let text: Option<&str> = self.row.try_get(column)?;
        Ok(text.map(str::parse).transpose().map_err(|error: T::Err| damaged(self.call, column, error))?)
    }

    fn count(&self, column: &str) -> Result<u32, Stop> {
        let number: i64 = self.row.try_get(column)?;
        Ok(u32::try_from(number).map_err(|error| damaged(self.call, column, error))?)
    }

    fn hash(&self, column: &str) -> Result<Option<Hash>, Stop> {
        let bytes: Option<&[u8]> = self.row.try_get(column)?;
        let hash = bytes.map(<[u8; 32]>::try_from).transpose();
        Ok(hash.map_err(|_| damaged(self.call, column, "it does not have 32 bytes"))?.map(Hash::from))
    }
}

/// The error for a row of the ledger or of a budget.
pub(super) fn damaged(name: &str, column: &str, why: impl fmt::Display) -> StoreError {
    StoreError::Corrupt { what: "row of the ledger", id: name.to_owned(), why: format!("column {column}: {why}") }
}

/// Sums up, by what a query asks for. One text for each set of filters, so that each has a plan of its own; no caller's
/// value is ever in the text.
pub(super) async fn sum(pool: &Pool, query: &CostQuery) -> Result<Vec<CostLine>, Stop> {
    let mut conditions = String::from("tenant = $1");
    for (is_given, condition) in [
        (query.since.is_some(), " AND at >= $3"),
        (query.until.is_some(), " AND at < $4"),
        (query.run.is_some(), " AND run = $5"),
        (query.workflow.is_some(), " AND workflow = $6"),
    ] {
        if is_given {
            conditions.push_str(condition);
        }
    }
    let order = if query.by == CostBy::Day { "min(at)" } else { "14 DESC, key COLLATE \"C\" NULLS FIRST" };
    let sql = format!(
        "SELECT key, count(*), count(*) FILTER (WHERE state IN ('open', 'unknown')), count(*) FILTER (WHERE most IS NULL),
                {input}, {output}, {read}, {write}, {hour},
                coalesce(sum(least / {DOLLAR}), 0)::bigint, coalesce(sum(least % {DOLLAR}), 0)::bigint,
                coalesce(sum(most / {DOLLAR}), 0)::bigint, coalesce(sum(most % {DOLLAR}), 0)::bigint,
                coalesce(sum(most), 0)
         FROM (SELECT *, {key} AS key, cost_max AS most, CASE WHEN cost_max IS NOT NULL THEN cost_min END AS least
               FROM ledger WHERE {conditions}) AS call
         -- A parameter that a statement does not use needs a type too.
         WHERE ($3::bigint, $4::bigint, $5::text, $6::text) IS NOT NULL OR true
         GROUP BY key ORDER BY {order} LIMIT $2",
        key = key(query.by),
        input = tokens("input_tokens"),
        output = tokens("output_tokens"),
        read = tokens("cache_read_tokens"),
        write = tokens("cache_write_tokens"),
        hour = tokens("cache_write_1h_tokens"),
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(query.tenant.as_str())
        .bind(i64::try_from(query.limit).unwrap_or(i64::MAX))
        .bind(query.since.map(millis))
        .bind(query.until.map(millis))
        .bind(query.run.as_ref().map(RunId::as_str))
        .bind(query.workflow.as_ref().map(|workflow| workflow.as_str()))
        .fetch_all(pool)
        .await?;
    rows.iter().map(|row| line(query.by, row)).collect()
}

/// The sum of a column of tokens.
fn tokens(column: &str) -> String {
    format!("least(coalesce(sum({column}), 0), 9223372036854775807)::bigint")
}

fn line(by: CostBy, row: &PgRow) -> Result<CostLine, Stop> {
    let number = |column: usize| row.try_get::<i64, _>(column).map(|number| number.max(0) as u64);
    let key: Option<String> = row.try_get(0)?;
    let day = |number: String| match number.parse() {
        Ok(number) => Ok(Day::from_number(number).to_string()),
        Err(error) => Err(damaged(&number, "at", error)),
    };
    Ok(CostLine {
        key: if by == CostBy::Day { key.map(day).transpose()? } else { key },
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
        cost_min: amount(row.try_get(9)?, row.try_get(10)?),
        cost_max: amount(row.try_get(11)?, row.try_get(12)?),
    })
}
