//! Journals in Postgres: one row per append.

use std::collections::HashSet;
use std::sync::Arc;

use aos_core::BoxFuture;
use aos_core::event::RunFinished;
use aos_core::id::{RunId, TenantId};
use aos_core::journal::{Append, JournalStore, Line, Transition};
use aos_core::runs::{RunState, StoreError};
use sqlx::Row;

use super::batch::Batch;
use super::error::Fault;
use super::row::{NEVER, failure_json, millis, picodollars};
use super::runs::no_run;
use super::session::{Connection, Pool};
use super::{Postgres, Stop};
use crate::backend::batches::Batches;
use crate::backend::watch::{Topic, Waiters};

/// How appends are written.
pub(super) struct Appends {
    place: Arc<str>,
    waiters: Arc<Waiters>,
    batches: Batches,
}

impl Appends {
    pub(super) fn new(place: &Arc<str>, waiters: &Arc<Waiters>, batches: &Batches) -> Self {
        Self { place: Arc::clone(place), waiters: Arc::clone(waiters), batches: batches.clone() }
    }
}

/// An append as its rows hold it.
pub(super) struct Prepared {
    append: Append,
    text: Vec<u8>,
    end: End,
}

/// The columns that a transition sets; all empty for [`Transition::Continue`].
#[derive(Default)]
struct End {
    state: Option<RunState>,
    ready_at: Option<i64>,
    inbox_seen: Option<i64>,
    output: Option<String>,
    failure: Option<String>,
    cost: Option<i64>,
    content_hash: Option<Vec<u8>>,
}

impl JournalStore for Postgres {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let text = join(&append.lease.run, append.first_index, &append.lines)?;
            let end = End::of(&append.transition)?;
            self.appends.write(Prepared { append, text, end }).await
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
        Box::pin(self.run("read a journal", async move |pool| lines(&pool, &tenant, &run, from, limit).await))
    }
}

/// The fences are in the `WHERE` of the update: it waits for whoever has the row, and looks at the row again after
/// that. What `updated` does not return was rejected.
const APPEND: &str = "
    WITH wanted AS (
        SELECT * FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[],
                             $7::integer[], $8::bytea[], $9::text[], $10::bigint[], $11::bigint[], $12::text[],
                             $13::text[], $14::bigint[], $15::bytea[])
            AS w(n, tenant, run, worker, epoch, first, lines, text, state, ready_at, inbox_seen, output, failure, cost,
                 content_hash)
    ), now AS MATERIALIZED (SELECT aos_now() AS at), updated AS (
        UPDATE run SET
            next_index = w.first + w.lines,
            state = CASE WHEN w.state = 'parked' AND run.pausing THEN 'paused' ELSE coalesce(w.state, run.state) END,
            pausing = run.pausing AND w.state IS NULL,
            worker = CASE WHEN w.state IS NULL THEN run.worker END,
            ready_at = CASE WHEN w.state IS NULL THEN run.ready_at
                            WHEN w.state = 'parked' AND run.pausing THEN $19
                            WHEN w.state = 'parked' AND run.inbox_last > w.inbox_seen THEN (SELECT at FROM now)
                            ELSE w.ready_at END,
            finished_at = CASE WHEN w.state <> 'parked' THEN (SELECT at FROM now) ELSE run.finished_at END,
            output = coalesce(w.output, run.output),
            failure = coalesce(w.failure, run.failure),
            cost = coalesce(w.cost, run.cost),
            content_hash = coalesce(w.content_hash, run.content_hash)
        FROM wanted w
        WHERE run.tenant = w.tenant AND run.run = w.run AND run.worker = w.worker AND run.epoch = w.epoch
            AND run.next_index = w.first
        RETURNING w.n, run.id
    ), entries AS (
        INSERT INTO entry (run, first, lines, text)
        SELECT updated.id, w.first, w.lines, w.text FROM updated JOIN wanted w USING (n) WHERE w.lines > 0
    ), blobs AS (
        INSERT INTO blob (hash, bytes)
        SELECT b.hash, b.bytes FROM unnest($16::integer[], $17::bytea[], $18::bytea[]) AS b(n, hash, bytes)
            JOIN updated USING (n) ORDER BY b.hash
        ON CONFLICT (hash) DO NOTHING
    )
    SELECT n FROM updated";

/// The same for one append that leaves the run where it is, which most are: what [`APPEND`] does for many takes a lone
/// run longer than its commit.
const APPEND_ONE: &str = "
    WITH updated AS (
        UPDATE run SET next_index = $5 + $6
        WHERE tenant = $1 AND run = $2 AND worker = $3 AND epoch = $4 AND next_index = $5
        RETURNING id
    )
    INSERT INTO entry (run, first, lines, text) SELECT id, $5, $6, $7 FROM updated";

/// The same for one append that ends its run.
const FINISH_ONE: &str = "
    WITH updated AS (
        UPDATE run SET next_index = $5 + $6, state = $8, pausing = false, worker = NULL, ready_at = NULL,
            finished_at = aos_now(), output = coalesce($9, output), failure = coalesce($10, failure),
            cost = coalesce($11, cost), content_hash = coalesce($12, content_hash)
        WHERE tenant = $1 AND run = $2 AND worker = $3 AND epoch = $4 AND next_index = $5
        RETURNING id
    )
    INSERT INTO entry (run, first, lines, text) SELECT id, $5, $6, $7 FROM updated";

impl Batch for Appends {
    type Item = Prepared;
    type Answer = ();
    type Key = (TenantId, RunId);

    const OPERATION: &'static str = "append to a journal";

    fn key(item: &Prepared) -> Self::Key {
        (item.append.lease.tenant.clone(), item.append.lease.run.clone())
    }

    async fn write(
        &self,
        connection: &mut Connection,
        items: &[Prepared],
        again: bool,
    ) -> Result<Vec<Result<(), StoreError>>, Fault> {
        let fault = |error| Fault::new(&self.place, error);
        let written = match items {
            [one] if one.is_plain() => write_one(connection, one).await,
            items => write_fenced(connection, items).await,
        };
        let written = written.map_err(fault)?;
        let mut answers: Vec<_> = items.iter().map(|_| Ok(())).collect();
        let mut rejected: Vec<usize> = (0..items.len()).collect();
        rejected.retain(|n| !written.contains(n));
        for n in rejected {
            answers[n] = why_not(connection, &items[n], again).await.map_err(fault)?;
        }
        let ended = items.iter().zip(&answers).filter(|(item, answer)| answer.is_ok() && item.end.state.is_some());
        let topics: Vec<_> =
            ended.map(|(item, _)| Self::key(item)).map(|(tenant, run)| Topic::Run(tenant, run)).collect();
        self.waiters.notify(&topics);
        self.batches.written(items.len());
        Ok(answers)
    }
}

impl Prepared {
    /// Whether all it writes is lines, and what its run ends with.
    fn is_plain(&self) -> bool {
        let Append { lines, blobs, transition, .. } = &self.append;
        !lines.is_empty() && blobs.is_empty() && matches!(transition, Transition::Continue | Transition::Finish(_))
    }
}

/// As [`write_fenced`], for one plain append.
async fn write_one(connection: &mut Connection, item: &Prepared) -> sqlx::Result<HashSet<usize>> {
    let Append { lease, first_index, lines, .. } = &item.append;
    let sql = if item.end.state.is_some() { FINISH_ONE } else { APPEND_ONE };
    let mut query = sqlx::query(sql)
        .bind(lease.tenant.as_str())
        .bind(lease.run.as_str())
        .bind(lease.worker.as_str())
        .bind(lease.epoch as i64)
        .bind(*first_index as i64)
        .bind(lines.len() as i32)
        .bind(&item.text);
    if let Some(state) = item.end.state {
        let End { output, failure, cost, content_hash, .. } = &item.end;
        query = query.bind(state.as_str()).bind(output).bind(failure).bind(cost).bind(content_hash);
    }
    let done = query.execute(connection).await?;
    Ok((done.rows_affected() > 0).then_some(0).into_iter().collect())
}

/// Writes what the fences let through; gives the places of that in `items`.
async fn write_fenced(connection: &mut Connection, items: &[Prepared]) -> sqlx::Result<HashSet<usize>> {
    fn column<'a, T>(items: &'a [Prepared], of: impl Fn(&'a Prepared) -> T) -> Vec<T> {
        items.iter().map(of).collect()
    }
    let (mut owners, mut hashes, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for (n, item) in items.iter().enumerate() {
        for blob in &item.append.blobs {
            owners.push(n as i32);
            hashes.push(blob.hash().as_bytes().to_vec());
            bytes.push(blob.as_str().as_bytes());
        }
    }
    let rows = sqlx::query_scalar(APPEND)
        .bind((0..items.len() as i32).collect::<Vec<_>>())
        .bind(column(items, |item| item.append.lease.tenant.as_str()))
        .bind(column(items, |item| item.append.lease.run.as_str()))
        .bind(column(items, |item| item.append.lease.worker.as_str()))
        .bind(column(items, |item| item.append.lease.epoch as i64))
        .bind(column(items, |item| item.append.first_index as i64))
        .bind(column(items, |item| item.append.lines.len() as i32))
        .bind(column(items, |item| item.text.as_slice()))
        .bind(column(items, |item| item.end.state.map(RunState::as_str)))
        .bind(column(items, |item| item.end.ready_at))
        .bind(column(items, |item| item.end.inbox_seen))
        .bind(column(items, |item| item.end.output.as_deref()))
        .bind(column(items, |item| item.end.failure.as_deref()))
        .bind(column(items, |item| item.end.cost))
        .bind(column(items, |item| item.end.content_hash.as_deref()))
        .bind(owners)
        .bind(hashes)
        .bind(bytes)
        .bind(NEVER)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|n: i32| n as usize).collect())
}

/// Why an append was rejected; `Ok` when it was not, and only its answer was lost.
async fn why_not(connection: &mut Connection, item: &Prepared, again: bool) -> sqlx::Result<Result<(), StoreError>> {
    let lease = &item.append.lease;
    let sql = "SELECT epoch, worker, next_index, state,
                      (SELECT text FROM entry WHERE entry.run = run.id AND first = $3) AS text
               FROM run WHERE tenant = $1 AND run = $2";
    let query = sqlx::query(sql).bind(lease.tenant.as_str()).bind(lease.run.as_str());
    let found = query.bind(item.append.first_index as i64).fetch_optional(connection).await?;
    let fenced = StoreError::Fenced { run: lease.run.clone(), worker: lease.worker.clone(), epoch: lease.epoch };
    let Some(row) = found else { return Ok(Err(fenced)) };
    let (epoch, worker): (i64, Option<&str>) = (row.try_get("epoch")?, row.try_get("worker")?);
    let (next, state): (i64, &str) = (row.try_get("next_index")?, row.try_get("state")?);
    let holds = worker == Some(lease.worker.as_str());
    if epoch as u64 != lease.epoch {
        return Ok(Err(fenced));
    }
    let text: Option<&[u8]> = row.try_get("text")?;
    let is_there = next as u64 == item.append.first_index.saturating_add(item.append.lines.len() as u64)
        && (item.append.lines.is_empty() || text == Some(&item.text));
    let has_moved = match item.end.state {
        None => holds,
        // Parking a run that is to pause pauses it.
        Some(RunState::Parked) => worker.is_none() && (state == "parked" || state == "paused"),
        Some(wanted) => worker.is_none() && state == wanted.as_str(),
    };
    Ok(match (again && is_there && has_moved, holds) {
        (true, _) => Ok(()),
        (false, false) => Err(fenced),
        (false, true) => Err(StoreError::IndexConflict { run: lease.run.clone(), index: item.append.first_index }),
    })
}

/// Consecutive lines as their row holds them.
pub(super) fn join(run: &RunId, first: u64, lines: &[Line]) -> Result<Vec<u8>, StoreError> {
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
    Ok(text)
}

impl End {
    fn of(transition: &Transition) -> Result<Self, StoreError> {
        Ok(match transition {
            Transition::Continue => Self::default(),
            Transition::Park { wake_at, inbox_seen } => Self {
                state: Some(RunState::Parked),
                ready_at: Some(wake_at.map_or(NEVER, millis)),
                inbox_seen: Some(i64::try_from(*inbox_seen).unwrap_or(i64::MAX)),
                ..Self::default()
            },
            Transition::Finish(RunFinished { status, output, failure, cost, content_hash }) => Self {
                state: Some((*status).into()),
                output: output.as_ref().map(|output| output.as_str().to_owned()),
                failure: failure.as_ref().map(failure_json).transpose()?,
                cost: Some(picodollars(*cost)),
                content_hash: Some(content_hash.as_bytes().to_vec()),
                ..Self::default()
            },
            // A dead run stays among the open ones: an operator has to see it.
            Transition::Bury(failure) => Self {
                state: Some(RunState::Dead),
                ready_at: Some(NEVER),
                failure: Some(failure_json(failure)?),
                ..Self::default()
            },
        })
    }
}

async fn lines(pool: &Pool, tenant: &TenantId, run: &RunId, from: u64, limit: usize) -> Result<Vec<Line>, Stop> {
    let damaged = |index: i64, why: String| StoreError::Corrupt {
        what: "journal of run",
        id: run.to_string(),
        why: format!("at entry {index}: {why}"),
    };
    // The append that holds `from`, and those after it. A run without appends gives one row of nulls.
    let sql = "SELECT entry.first, entry.lines, entry.text FROM run
               LEFT JOIN LATERAL (
                   SELECT first, lines, text FROM entry
                   WHERE entry.run = run.id AND first >= coalesce(
                       (SELECT max(first) FROM entry WHERE entry.run = run.id AND first <= $3), 0)
                   ORDER BY first LIMIT $4
               ) AS entry ON true
               WHERE run.tenant = $1 AND run.run = $2 ORDER BY entry.first";
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    let appends = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let query = sqlx::query(sql).bind(tenant.as_str()).bind(run.as_str()).bind(from).bind(appends);
    let rows = query.fetch_all(pool).await?;
    if rows.is_empty() {
        return Err(no_run(run).into());
    }
    let mut lines = Vec::new();
    let mut next = None;
    for row in rows {
        let (first, count): (Option<i64>, Option<i32>) = (row.try_get(0)?, row.try_get(1)?);
        let (Some(first), Some(count)) = (first, count.map(i64::from)) else { break };
        if lines.len() >= limit {
            break;
        }
        if next.is_some_and(|next| next != first) {
            return Err(damaged(first, "the entries before it are missing".into()).into());
        }
        let text: &[u8] = row.try_get(2)?;
        let text = std::str::from_utf8(text).map_err(|error| damaged(first, error.to_string()))?;
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
