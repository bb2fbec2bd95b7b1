//! Schedules in SQLite.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aos_core::BoxFuture;
use aos_core::id::{ScheduleId, TenantId};
use aos_core::payload::Payload;
use aos_core::queue::Priority;
use aos_core::runs::StoreError;
use aos_core::schedules::{Firing, Overlap, Schedule, ScheduleStore};
use aos_core::time::Timestamp;
use rusqlite::types::FromSql;
use rusqlite::{Connection, Params, Row, params};

use super::Sqlite;
use super::error::Stop;
use super::row::{millis, timestamp};
use super::writer::Tx;

/// The columns that [`schedule`] reads, in its order.
macro_rules! columns {
    () => {
        "tenant, id, workflow, input, priority, cron, time_zone, overlap, paused, next_at, last_due, last_run, \
         last_failure"
    };
}

impl ScheduleStore for Sqlite {
    fn put<'a>(&'a self, schedule: &'a Schedule) -> BoxFuture<'a, Result<(), StoreError>> {
        let schedule = schedule.clone();
        Box::pin(async move {
            let (due, run, failure) = last(schedule.last.as_ref())?;
            let write = self.writer.write("keep a schedule", move |tx| {
                // What became of the last time stays.
                let sql = concat!(
                    "INSERT INTO schedule (",
                    columns!(),
                    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
                     ON CONFLICT (tenant, id) DO UPDATE SET workflow = excluded.workflow, input = excluded.input,
                         priority = excluded.priority, cron = excluded.cron, time_zone = excluded.time_zone,
                         overlap = excluded.overlap, paused = excluded.paused, next_at = excluded.next_at,
                         held_until = 0"
                );
                tx.sql(sql)?.execute(params![
                    schedule.tenant.as_str(),
                    schedule.id.as_str(),
                    schedule.workflow,
                    schedule.input.as_str(),
                    schedule.priority.get(),
                    schedule.cron,
                    schedule.time_zone,
                    schedule.overlap.as_str(),
                    schedule.paused,
                    schedule.next_at.map(millis),
                    due,
                    run,
                    failure,
                ])?;
                Ok(())
            });
            write.await
        })
    }

    fn get<'a>(
        &'a self,
        tenant: &'a TenantId,
        id: &'a ScheduleId,
    ) -> BoxFuture<'a, Result<Option<Schedule>, StoreError>> {
        let (tenant, id) = (tenant.clone(), id.clone());
        Box::pin(self.readers.read("read a schedule", move |conn| {
            let sql = concat!("SELECT ", columns!(), " FROM schedule WHERE tenant = ?1 AND id = ?2");
            Ok(select(conn, sql, (tenant.as_str(), id.as_str()))?.pop())
        }))
    }

    fn list<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<Schedule>, StoreError>> {
        let tenant = tenant.clone();
        Box::pin(self.readers.read("list schedules", move |conn| {
            let sql = concat!("SELECT ", columns!(), " FROM schedule WHERE tenant = ?1 ORDER BY id");
            select(conn, sql, [tenant.as_str()])
        }))
    }

    fn remove<'a>(&'a self, tenant: &'a TenantId, id: &'a ScheduleId) -> BoxFuture<'a, Result<bool, StoreError>> {
        let (tenant, id) = (tenant.clone(), id.clone());
        Box::pin(self.writer.write("forget a schedule", move |tx| {
            let sql = "DELETE FROM schedule WHERE tenant = ?1 AND id = ?2";
            Ok(tx.sql(sql)?.execute((tenant.as_str(), id.as_str()))? > 0)
        }))
    }

    fn now(&self) -> BoxFuture<'_, Result<Timestamp, StoreError>> {
        Box::pin(std::future::ready(Ok(self.clock.now())))
    }

    fn due(&self, max: usize, hold: Duration) -> BoxFuture<'_, Result<Vec<Schedule>, StoreError>> {
        Box::pin(async move {
            // Mostly none is: a look is enough then, and waits for no disk.
            let now = millis(self.clock.now());
            let look = move |conn: &Connection| {
                let sql = "SELECT EXISTS (SELECT 1 FROM schedule
                                          WHERE paused = 0 AND next_at <= ?1 AND held_until <= ?1)";
                Ok(conn.prepare_cached(sql)?.query_row([now], |row| row.get(0))?)
            };
            if !self.readers.read("look for due schedules", look).await? {
                return Ok(Vec::new());
            }
            self.writer.write("take due schedules in hand", move |tx| take(tx, max, hold)).await
        })
    }

    fn advance<'a>(
        &'a self,
        schedule: &'a Schedule,
        firing: &'a Firing,
        next_at: Option<Timestamp>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let schedule = schedule.clone();
        let last = last(Some(firing));
        Box::pin(async move {
            let (due, run, failure) = last?;
            let write = self.writer.write("advance a schedule", move |tx| {
                let sql = "UPDATE schedule SET next_at = ?6, last_due = ?7, last_run = ?8, last_failure = ?9,
                               held_until = 0
                           WHERE tenant = ?1 AND id = ?2 AND cron = ?3 AND time_zone = ?4 AND next_at IS ?5";
                let changed = tx.sql(sql)?.execute(params![
                    schedule.tenant.as_str(),
                    schedule.id.as_str(),
                    schedule.cron,
                    schedule.time_zone,
                    schedule.next_at.map(millis),
                    next_at.map(millis),
                    due,
                    run,
                    failure,
                ])?;
                Ok(changed > 0)
            });
            write.await
        })
    }
}

/// What became of a time, as the columns hold it.
type Last = (Option<i64>, Option<String>, Option<String>);

fn last(firing: Option<&Firing>) -> Result<Last, StoreError> {
    let Some(firing) = firing else { return Ok((None, None, None)) };
    let failure = firing.failure.as_ref().map(serde_json::to_string).transpose();
    let unwritable = |error| StoreError::Conflict(format!("the failure of a schedule can't be JSON: {error}"));
    Ok((Some(millis(firing.due)), firing.run.as_ref().map(ToString::to_string), failure.map_err(unwritable)?))
}

fn take(tx: &Tx<'_>, max: usize, hold: Duration) -> Result<Vec<Schedule>, Stop> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM schedule WHERE paused = 0 AND next_at <= ?1 AND held_until <= ?1 ORDER BY next_at, tenant, id LIMIT ?2"
    );
    let due = select(tx.conn, sql, (millis(tx.now), i64::try_from(max).unwrap_or(i64::MAX)))?;
    let held_until = millis(tx.now.saturating_add(hold));
    for schedule in &due {
        let sql = "UPDATE schedule SET held_until = ?3 WHERE tenant = ?1 AND id = ?2";
        tx.sql(sql)?.execute((schedule.tenant.as_str(), schedule.id.as_str(), held_until))?;
    }
    Ok(due)
}

fn select(conn: &Connection, sql: &'static str, parameters: impl Params) -> Result<Vec<Schedule>, Stop> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut schedules = Vec::new();
    while let Some(row) = rows.next()? {
        schedules.push(schedule(row)?);
    }
    Ok(schedules)
}

fn schedule(row: &Row<'_>) -> Result<Schedule, Stop> {
    let cells = Cells { row, id: row.get("id")? };
    let last = match cells.get::<Option<i64>>("last_due")? {
        None => None,
        Some(due) => Some(Firing {
            due: timestamp(due),
            run: cells.get::<Option<String>>("last_run")?.map(|run| cells.parse("last_run", &run)).transpose()?,
            failure: match cells.get::<Option<String>>("last_failure")? {
                None => None,
                Some(json) => Some(serde_json::from_str(&json).map_err(|error| cells.damaged("last_failure", error))?),
            },
        }),
    };
    let (input, overlap): (String, String) = (cells.get("input")?, cells.get("overlap")?);
    Ok(Schedule {
        tenant: cells.parse("tenant", &cells.get::<String>("tenant")?)?,
        id: cells.parse("id", &cells.id)?,
        workflow: cells.get("workflow")?,
        input: Payload::parse(&input).map_err(|failure| cells.damaged("input", failure.message))?,
        priority: Priority::new(cells.get("priority")?).map_err(|error| cells.damaged("priority", error))?,
        cron: cells.get("cron")?,
        time_zone: cells.get("time_zone")?,
        overlap: Overlap::from_text(&overlap)
            .ok_or_else(|| cells.damaged("overlap", format!("{overlap:?} is not one")))?,
        paused: cells.get("paused")?,
        next_at: cells.get::<Option<i64>>("next_at")?.map(timestamp),
        last,
    })
}

/// The cells of a schedule's row, by name.
struct Cells<'a> {
    row: &'a Row<'a>,
    id: String,
}

impl Cells<'_> {
    fn get<T: FromSql>(&self, column: &str) -> rusqlite::Result<T> {
        self.row.get(column)
    }

    fn parse<T: FromStr<Err: fmt::Display>>(&self, column: &str, text: &str) -> Result<T, StoreError> {
        text.parse().map_err(|error: T::Err| self.damaged(column, error))
    }

    fn damaged(&self, column: &str, why: impl fmt::Display) -> StoreError {
        StoreError::Corrupt { what: "row of schedule", id: self.id.clone(), why: format!("column {column}: {why}") }
    }
}
