//! A run's row, to and from the contract's record.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aos_core::Failure;
use aos_core::canonical::Hash;
use aos_core::event::Fork;
use aos_core::id::RunId;
use aos_core::money::Money;
use aos_core::payload::Payload;
use aos_core::queue::Priority;
use aos_core::random::Seed;
use aos_core::runs::{NewRun, RunRecord, RunState, StoreError};
use aos_core::time::Timestamp;
use aos_core::workflow::WorkflowVersion;
use sqlx::postgres::PgRow;
use sqlx::{Decode, Postgres, Row, Type};

use super::Stop;

/// The columns that [`record`] reads.
macro_rules! columns {
    () => {
        "run.tenant, run.run, run.state, run.workflow, run.version, run.plan, run.input, run.seed, run.budget, \
         run.parent, run.fork_run, run.fork_effect, run.idempotency_key, run.request_id, run.api_key, run.trace, \
         run.created_at, run.finished_at, run.cost, run.content_hash, run.output, run.failure, run.rescues, \
         run.priority, run.start_at, run.pausing, run.inbox_last"
    };
}
pub(super) use columns;

/// `ready_at` of a run that time alone does not make claimable.
pub(super) const NEVER: i64 = i64::MAX;

/// Reads a row of [`columns!`].
pub(super) fn record(row: &PgRow) -> Result<RunRecord, Stop> {
    let mut cells = Cells { row, run: String::new() };
    let run: RunId = cells.parse("run")?;
    cells.run = run.to_string();
    let new = NewRun {
        run,
        tenant: cells.parse("tenant")?,
        workflow: WorkflowVersion { id: cells.parse("workflow")?, version: cells.parse("version")? },
        plan: cells.hash("plan")?.ok_or_else(|| cells.damaged("plan", "it is missing"))?,
        input: cells.payload("input")?.ok_or_else(|| cells.damaged("input", "it is missing"))?,
        seed: Seed::new(cells.get::<i64>("seed")? as u64),
        budget: cells.get::<Option<i64>>("budget")?.map(money),
        parent: cells.parse_optional("parent")?,
        forked_from: match (cells.parse_optional("fork_run")?, cells.parse_optional("fork_effect")?) {
            (Some(run), Some(effect)) => Some(Fork { run, effect }),
            _ => None,
        },
        idempotency_key: cells.text("idempotency_key")?,
        request_id: cells.text("request_id")?,
        api_key: cells.parse_optional("api_key")?,
        trace: cells.parse_optional("trace")?,
        priority: cells.priority()?,
        start_at: cells.get::<Option<i64>>("start_at")?.map(timestamp),
    };
    let state: String = cells.get("state")?;
    let failure: Option<String> = cells.get("failure")?;
    Ok(RunRecord {
        new,
        state: RunState::from_text(&state)
            .ok_or_else(|| cells.damaged("state", format!("{state:?} is not a state")))?,
        created_at: timestamp(cells.get("created_at")?),
        finished_at: cells.get::<Option<i64>>("finished_at")?.map(timestamp),
        cost: money(cells.get("cost")?),
        content_hash: cells.hash("content_hash")?,
        output: cells.payload("output")?,
        failure: failure
            .map(|json| serde_json::from_str(&json))
            .transpose()
            .map_err(|error| cells.damaged("failure", error))?,
        rescues: cells.get::<i32>("rescues")?.unsigned_abs(),
        pausing: cells.get("pausing")?,
        inbox_last: cells.get::<i64>("inbox_last")? as u64,
    })
}

/// A failure as the database keeps it: JSON.
pub(super) fn failure_json(failure: &Failure) -> Result<String, StoreError> {
    let json = serde_json::to_string(failure);
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

/// A duration as the database keeps it.
pub(super) fn millis_of(duration: Duration) -> i64 {
    // Far below the largest, so that adding it to the time can't overflow.
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(i64::MAX >> 1)
}

pub(super) fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis.max(0) as u64)
}

/// A text as a column that operators read can hold it: Postgres has no U+0000 in texts.
pub(super) fn readable(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

fn money(picodollars: i64) -> Money {
    Money::from_picodollars(picodollars as u64)
}

/// The cells of a run's row, by name.
struct Cells<'a> {
    row: &'a PgRow,
    run: String,
}

impl<'a> Cells<'a> {
    fn get<T: Decode<'a, Postgres> + Type<Postgres>>(&self, column: &str) -> sqlx::Result<T> {
        self.row.try_get(column)
    }

    fn parse<T: FromStr<Err: fmt::Display>>(&self, column: &str) -> Result<T, Stop> {
        let text: &str = self.get(column)?;
        Ok(text.parse().map_err(|error: T::Err| self.damaged(column, error))?)
    }

    fn parse_optional<T: FromStr<Err: fmt::Display>>(&self, column: &str) -> Result<Option<T>, Stop> {
        let text: Option<&str> = self.get(column)?;
        Ok(text.map(str::parse).transpose().map_err(|error: T::Err| self.damaged(column, error))?)
    }

    fn priority(&self) -> Result<Priority, Stop> {
        let number: i16 = self.get("priority")?;
        let priority = u8::try_from(number).ok().and_then(|number| Priority::new(number).ok());
        Ok(priority.ok_or_else(|| self.damaged("priority", format!("{number} is not from 0 to 9")))?)
    }

    /// A text that may hold U+0000.
    fn text(&self, column: &str) -> Result<Option<String>, Stop> {
        let bytes: Option<Vec<u8>> = self.get(column)?;
        Ok(bytes.map(String::from_utf8).transpose().map_err(|error| self.damaged(column, error))?)
    }

    fn hash(&self, column: &str) -> Result<Option<Hash>, Stop> {
        let bytes: Option<&[u8]> = self.get(column)?;
        let hash = bytes.map(<[u8; 32]>::try_from).transpose();
        Ok(hash.map_err(|_| self.damaged(column, "it does not have 32 bytes"))?.map(Hash::from))
    }

    fn payload(&self, column: &str) -> Result<Option<Payload>, Stop> {
        let json: Option<&str> = self.get(column)?;
        Ok(json.map(Payload::parse).transpose().map_err(|failure| self.damaged(column, failure.message))?)
    }

    fn damaged(&self, column: &str, why: impl fmt::Display) -> StoreError {
        StoreError::Corrupt { what: "row of run", id: self.run.clone(), why: format!("column {column}: {why}") }
    }
}
