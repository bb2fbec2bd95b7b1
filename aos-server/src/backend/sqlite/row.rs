//! A run's row, to and from the contract's record.

use std::fmt;
use std::str::FromStr;

use aos_core::Failure;
use aos_core::canonical::Hash;
use aos_core::event::Fork;
use aos_core::id::{RunId, TenantId};
use aos_core::money::Money;
use aos_core::payload::Payload;
use aos_core::queue::Priority;
use aos_core::random::Seed;
use aos_core::runs::{NewRun, RunRecord, RunState, StoreError};
use aos_core::time::Timestamp;
use aos_core::workflow::WorkflowVersion;
use rusqlite::{Connection, OptionalExtension, Row};

use super::error::Stop;

/// The columns that [`record`] reads, in its order.
macro_rules! columns {
    () => {
        "tenant, run, state, workflow, version, plan, input, input_hash, seed, budget, parent, fork_run, fork_effect, \
         idempotency_key, request_id, api_key, trace, priority, start_at, created_at, finished_at, cost, content_hash, \
         output, failure, rescues, pausing, (SELECT coalesce(max(seq), 0) FROM inbox WHERE inbox.run = run.id)"
    };
}
pub(super) use columns;

/// `ready_at` of a run that time alone does not make claimable.
pub(super) const NEVER: i64 = i64::MAX;

/// An input up to this many bytes stands in the run's row, which every claim rewrites; a longer one is a blob.
pub(super) const INLINE_INPUT_BYTES: usize = 1_024;

/// Reads a row of [`columns!`].
pub(super) fn record(conn: &Connection, row: &Row<'_>) -> Result<RunRecord, Stop> {
    let mut cells = Cells { row, next: 0, run: String::new() };
    let tenant: TenantId = cells.parse()?;
    let run: RunId = cells.parse()?;
    cells.run = run.to_string();
    let state: String = cells.get()?;
    let state = RunState::from_text(&state).ok_or_else(|| cells.damaged(format!("{state:?} is not a state")))?;
    let workflow = WorkflowVersion { id: cells.parse()?, version: cells.parse()? };
    let plan = Hash::from(cells.get::<[u8; 32]>()?);
    let (inline, hash) = (cells.payload()?, cells.get::<Option<[u8; 32]>>()?);
    let input = match (inline, hash) {
        (Some(input), _) => input,
        (None, Some(hash)) => cells.blob(conn, &hash)?,
        (None, None) => return Err(cells.damaged("it has no input").into()),
    };
    let new = NewRun {
        run,
        tenant,
        workflow,
        plan,
        input,
        seed: Seed::new(cells.get::<i64>()? as u64),
        budget: cells.get::<Option<i64>>()?.map(money),
        parent: cells.parse_optional()?,
        forked_from: match (cells.parse_optional()?, cells.parse_optional()?) {
            (Some(run), Some(effect)) => Some(Fork { run, effect }),
            _ => None,
        },
        idempotency_key: cells.get()?,
        request_id: cells.get()?,
        api_key: cells.parse_optional()?,
        trace: cells.parse_optional()?,
        priority: cells.priority()?,
        start_at: cells.get::<Option<i64>>()?.map(timestamp),
    };
    Ok(RunRecord {
        new,
        state,
        created_at: timestamp(cells.get()?),
        finished_at: cells.get::<Option<i64>>()?.map(timestamp),
        cost: money(cells.get()?),
        content_hash: cells.get::<Option<[u8; 32]>>()?.map(Hash::from),
        output: cells.payload()?,
        failure: match cells.get::<Option<Vec<u8>>>()? {
            Some(json) => Some(serde_json::from_slice(&json).map_err(|error| cells.damaged(error))?),
            None => None,
        },
        rescues: cells.get()?,
        pausing: cells.get()?,
        inbox_last: cells.get::<i64>()? as u64,
    })
}

/// A failure as the database keeps it: JSON.
pub(super) fn failure_json(failure: &Failure) -> Result<Vec<u8>, StoreError> {
    let json = serde_json::to_vec(failure);
    json.map_err(|error| StoreError::Conflict(format!("the failure can't be written as JSON: {error}")))
}

/// Money as the database keeps it: the same 64 bits.
pub(super) fn picodollars(money: Money) -> i64 {
    money.picodollars() as i64
}

/// A time as the database keeps it; timestamps stay below 2^53.
pub(super) fn millis(at: Timestamp) -> i64 {
    at.as_millis() as i64
}

fn money(picodollars: i64) -> Money {
    Money::from_picodollars(picodollars as u64)
}

pub(super) fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis.max(0) as u64)
}

/// Reads JSON text.
pub(super) fn payload(json: &[u8]) -> Result<Payload, String> {
    let text = std::str::from_utf8(json).map_err(|error| error.to_string())?;
    Payload::parse(text).map_err(|failure| failure.message)
}

/// The cells of a row, one after the other.
struct Cells<'a> {
    row: &'a Row<'a>,
    next: usize,
    run: String,
}

impl Cells<'_> {
    fn get<T: rusqlite::types::FromSql>(&mut self) -> rusqlite::Result<T> {
        self.next += 1;
        self.row.get(self.next - 1)
    }

    fn parse<T: FromStr<Err: fmt::Display>>(&mut self) -> Result<T, Stop> {
        let text: String = self.get()?;
        Ok(text.parse().map_err(|error: T::Err| self.damaged(error))?)
    }

    fn parse_optional<T: FromStr<Err: fmt::Display>>(&mut self) -> Result<Option<T>, Stop> {
        let text: Option<String> = self.get()?;
        Ok(text.map(|text| text.parse()).transpose().map_err(|error: T::Err| self.damaged(error))?)
    }

    fn priority(&mut self) -> Result<Priority, Stop> {
        let number: u8 = self.get()?;
        Ok(Priority::new(number).map_err(|error| self.damaged(error))?)
    }

    fn payload(&mut self) -> Result<Option<Payload>, Stop> {
        let json: Option<Vec<u8>> = self.get()?;
        Ok(json.map(|json| payload(&json)).transpose().map_err(|why| self.damaged(why))?)
    }

    fn blob(&self, conn: &Connection, hash: &[u8; 32]) -> Result<Payload, Stop> {
        let mut statement = conn.prepare_cached("SELECT bytes FROM blob WHERE hash = ?1")?;
        let json: Option<Vec<u8>> = statement.query_row([hash], |row| row.get(0)).optional()?;
        let json = json.ok_or_else(|| self.damaged("the blob of its input is missing"))?;
        Ok(payload(&json).map_err(|why| self.damaged(why))?)
    }

    /// The error for the column read last.
    fn damaged(&self, why: impl fmt::Display) -> StoreError {
        let column = self.row.as_ref().column_name(self.next.saturating_sub(1)).unwrap_or("?").to_owned();
        StoreError::Corrupt { what: "row of run", id: self.run.clone(), why: format!("column {column}: {why}") }
    }
}
