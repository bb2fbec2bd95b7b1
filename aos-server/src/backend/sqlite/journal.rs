//! Journals in SQLite: one row per append.

use aos_core::BoxFuture;
use aos_core::canonical::Hash;
use aos_core::event::RunFinished;
use aos_core::id::{RunId, TenantId};
use aos_core::journal::{Append, JournalStore, Line, Transition};
use aos_core::payload::Payload;
use aos_core::runs::{Lease, RunState, StoreError};
use aos_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::Sqlite;
use super::blob;
use super::error::Stop;
use super::row::{NEVER, failure_json, millis, picodollars};
use super::runs::no_run;
use super::writer::Tx;
use crate::backend::watch::Topic;

impl JournalStore for Sqlite {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let Append { lease, first_index, lines, blobs, transition } = append;
            let entries = Entries::new(&lease.run, first_index, &lines, &blobs)?;
            let end = End::of(&transition)?;
            self.writer
                .write("append to a journal", move |tx| {
                    let row = check(tx, &lease, first_index)?;
                    entries.write(tx, row)?;
                    if let Transition::Park { wake_at, inbox_seen } = transition {
                        park(tx, row, wake_at, inbox_seen)?;
                    }
                    end.as_ref().map_or(Ok(()), |end| end.write(tx, row, &lease))
                })
                .await
        })
    }

    fn read<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        from: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Line>, StoreError>> {
        let (tenant, run) = (tenant.clone(), run.clone());
        Box::pin(self.readers.read("read a journal", move |conn| {
            let row = find(conn, &tenant, &run)?.ok_or_else(|| no_run(&run))?;
            lines(conn, row, &run, from, limit)
        }))
    }
}

/// The number of a run's row.
pub(super) fn find(conn: &Connection, tenant: &TenantId, run: &RunId) -> rusqlite::Result<Option<i64>> {
    let mut statement = conn.prepare_cached("SELECT id FROM run WHERE tenant = ?1 AND run = ?2")?;
    statement.query_row((tenant.as_str(), run.as_str()), |row| row.get(0)).optional()
}

/// Consecutive entries as their row holds them, and what they refer to; made before the writer's thread sees them.
pub(super) struct Entries {
    first: u64,
    lines: usize,
    text: Vec<u8>,
    blobs: Vec<(Hash, Payload)>,
}

impl Entries {
    pub(super) fn new(run: &RunId, first: u64, lines: &[Line], blobs: &[Payload]) -> Result<Self, StoreError> {
        let bytes = lines.iter().map(|line| line.as_str().len() + 1).sum();
        let mut text = Vec::with_capacity(bytes);
        for (index, line) in lines.iter().enumerate() {
            let line = line.as_str().as_bytes();
            if line.contains(&b'\n') {
                return Err(StoreError::Conflict(format!(
                    "entry {} of run {run} holds a line feed: an entry is one line",
                    first + index as u64
                )));
            }
            if index > 0 {
                text.push(b'\n');
            }
            text.extend_from_slice(line);
        }
        // A payload remembers its hash.
        let blobs = blobs.iter().map(|blob| (blob.hash(), blob.clone())).collect();
        Ok(Self { first, lines: lines.len(), text, blobs })
    }

    pub(super) fn write(&self, tx: &Tx<'_>, row: i64) -> Result<(), Stop> {
        for (hash, blob) in &self.blobs {
            blob::insert(tx, hash, blob.as_str().as_bytes())?;
        }
        if self.lines > 0 {
            let sql = "INSERT INTO entry (run, first, lines, text) VALUES (?1, ?2, ?3, ?4)";
            tx.sql(sql)?.execute((row, self.first as i64, self.lines as i64, &self.text))?;
        }
        Ok(())
    }
}

/// Judges an append: the number of its run's row, or why it may not be.
fn check(tx: &Tx<'_>, lease: &Lease, first_index: u64) -> Result<i64, Stop> {
    let fenced = || fenced(lease);
    let sql = "SELECT id, epoch, worker = ?3,
                      (SELECT first + lines FROM entry WHERE entry.run = run.id ORDER BY first DESC LIMIT 1)
               FROM run WHERE tenant = ?1 AND run = ?2";
    let found = tx
        .sql(sql)?
        .query_row((lease.tenant.as_str(), lease.run.as_str(), lease.worker.as_str()), |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<bool>>(2)?, row.get::<_, Option<i64>>(3)?))
        })
        .optional()?;
    let (row, epoch, holds, next) = found.ok_or_else(fenced)?;
    if epoch as u64 != lease.epoch || holds != Some(true) {
        return Err(fenced().into());
    }
    if next.unwrap_or(0) as u64 != first_index {
        return Err(StoreError::IndexConflict { run: lease.run.clone(), index: first_index }.into());
    }
    Ok(row)
}

fn fenced(lease: &Lease) -> StoreError {
    StoreError::Fenced { run: lease.run.clone(), worker: lease.worker.clone(), epoch: lease.epoch }
}

fn park(tx: &Tx<'_>, row: i64, wake_at: Option<Timestamp>, inbox_seen: u64) -> Result<(), Stop> {
    let sql = "UPDATE run SET worker = NULL, pausing = 0,
                   state = CASE WHEN pausing THEN 'paused' ELSE 'parked' END,
                   ready_at = CASE WHEN pausing THEN ?5
                              WHEN EXISTS (SELECT 1 FROM inbox WHERE inbox.run = run.id AND seq > ?2)
                              THEN ?3 ELSE ?4 END
               WHERE id = ?1";
    let seen = i64::try_from(inbox_seen).unwrap_or(i64::MAX);
    tx.sql(sql)?.execute((row, seen, millis(tx.now), wake_at.map_or(NEVER, millis), NEVER))?;
    Ok(())
}

/// The columns of a run's end, encoded before the writer's thread sees them.
struct End {
    state: RunState,
    output: Option<Vec<u8>>,
    failure: Option<Vec<u8>>,
    cost: Option<i64>,
    content_hash: Option<[u8; 32]>,
}

impl End {
    fn of(transition: &Transition) -> Result<Option<Self>, StoreError> {
        Ok(match transition {
            Transition::Continue | Transition::Park { .. } => None,
            Transition::Finish(RunFinished { status, output, failure, cost, content_hash }) => Some(Self {
                state: (*status).into(),
                output: output.as_ref().map(|output| output.as_str().into()),
                failure: failure.as_ref().map(failure_json).transpose()?,
                cost: Some(picodollars(*cost)),
                content_hash: Some(*content_hash.as_bytes()),
            }),
            Transition::Bury(failure) => Some(Self {
                state: RunState::Dead,
                output: None,
                failure: Some(failure_json(failure)?),
                cost: None,
                content_hash: None,
            }),
        })
    }

    fn write(&self, tx: &Tx<'_>, row: i64, lease: &Lease) -> Result<(), Stop> {
        // A dead run stays among the open ones: an operator has to see it.
        let ready_at = (self.state == RunState::Dead).then_some(NEVER);
        let sql = "UPDATE run SET worker = NULL, pausing = 0, ready_at = ?2, state = ?3, finished_at = ?4, output = ?5,
                       failure = ?6, cost = coalesce(?7, cost), content_hash = ?8
                   WHERE id = ?1";
        tx.sql(sql)?.execute((
            row,
            ready_at,
            self.state.as_str(),
            millis(tx.now),
            &self.output,
            &self.failure,
            self.cost,
            &self.content_hash,
        ))?;
        tx.changed(Topic::Run(lease.tenant.clone(), lease.run.clone()));
        Ok(())
    }
}

fn lines(conn: &Connection, row: i64, run: &RunId, from: u64, limit: usize) -> Result<Vec<Line>, Stop> {
    let damaged = |index: i64, why: String| StoreError::Corrupt {
        what: "journal of run",
        id: run.to_string(),
        why: format!("at entry {index}: {why}"),
    };
    // The append that holds `from`, and those after it.
    let sql = "SELECT first, lines, text FROM entry
               WHERE run = ?1 AND first >= (SELECT coalesce(max(first), 0) FROM entry WHERE run = ?1 AND first <= ?2)
               ORDER BY first";
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query((row, from))?;
    let mut lines = Vec::new();
    let mut next = None;
    while lines.len() < limit
        && let Some(row) = rows.next()?
    {
        let (first, count): (i64, i64) = (row.get(0)?, row.get(1)?);
        if next.is_some_and(|next| next != first) {
            return Err(damaged(first, "the entries before it are missing".into()).into());
        }
        let text = std::str::from_utf8(row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?)
            .map_err(|error| damaged(first, error.to_string()))?;
        let found = text.split('\n').count() as i64;
        if found != count {
            return Err(damaged(first, format!("there are {found} entries instead of {count}")).into());
        }
        let skip = usize::try_from(from - first).unwrap_or(0);
        lines.extend(text.split('\n').skip(skip).take(limit - lines.len()).map(Line::new));
        next = Some(first + count);
    }
    Ok(lines)
}
