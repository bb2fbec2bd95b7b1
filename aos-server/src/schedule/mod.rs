//! Begins the runs of schedules when they are due.
//!
//! Every process does, and the store hands each due schedule to one of them at a time. What a process that died with one
//! had done is found by the run's id, which is a function of schedule and due time.

pub mod cron;

use std::time::Duration;

use aos_core::id::RunId;
use aos_core::random::{Rng, Seed};
use aos_core::runs::{NewRun, RunRecord, StoreError};
use aos_core::schedules::{Firing, Overlap, Schedule};
use aos_core::time::Timestamp;
use aos_core::{Failure, codes};
use futures::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use crate::state::AppState;
use cron::Calendar;

/// How often to look for due schedules, about.
const EVERY: Duration = Duration::from_secs(1);

/// How long a process has a schedule to itself; for as long, one that died with it holds it up.
const HOLD: Duration = Duration::from_secs(15);

/// Schedules that are taken in hand together, and of these those that are dealt with at the same time.
const TAKEN: usize = 64;
const AT_A_TIME: usize = 16;

/// Fires schedules until `done`.
pub async fn run(state: AppState, done: CancellationToken) {
    // Replicas that were started together need not ask together.
    let mut jitter = Rng::new(Seed::new(uuid::Uuid::new_v4().as_u64_pair().0), "schedules");
    let mut is_failing = false;
    loop {
        let pause = EVERY * 3 / 4 + Duration::from_millis(jitter.below(500));
        tokio::select! {
            () = done.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let result = fire_due(&state).await;
        if let (Err(failure), false) = (&result, is_failing) {
            tracing::error!(code = %failure.code, error = failure.message, "looking for due schedules failed");
        }
        is_failing = result.is_err();
    }
}

/// Begins the runs that are due; gives how many schedules it had in hand. None when the process is about to end.
///
/// # Errors
/// A store that fails to tell what is due. What it had in hand and could not deal with is due again after a while.
pub async fn fire_due(state: &AppState) -> Result<usize, Failure> {
    let mut count = 0;
    while state.stays() {
        let due = state.control.schedules.due(TAKEN, HOLD).await?;
        let taken = due.len();
        count += taken;
        let fire = |schedule: Schedule| async move {
            if let Err(failure) = fire(state, &schedule).await {
                tracing::warn!(schedule = %schedule.id, code = %failure.code, error = failure.message,
                               "a schedule could not be fired; it will be tried again");
            }
        };
        stream::iter(due).for_each_concurrent(AT_A_TIME, fire).await;
        if taken < TAKEN {
            break;
        }
    }
    Ok(count)
}

/// Begins a run of a schedule, under its due time's id and key or under fresh ones; says whether it is new.
///
/// # Errors
/// A workflow that there is not, an input that it does not take, a full queue, a store that fails.
pub async fn begin(
    state: &AppState,
    schedule: &Schedule,
    due: Option<Timestamp>,
) -> Result<(RunRecord, bool), Failure> {
    let ready = state.ready(&schedule.workflow).await?;
    ready.check(&schedule.input)?;
    let run = due.map_or_else(|| RunId::new(uuid::Uuid::now_v7().to_string()), |due| schedule.run_id(due));
    let new = NewRun {
        run: run.map_err(|error| Failure::new(codes::INTERNAL, error.to_string()))?,
        tenant: schedule.tenant.clone(),
        workflow: ready.plan.workflow.clone(),
        plan: ready.hash,
        input: schedule.input.clone(),
        seed: Seed::default(),
        budget: ready.plan.budget,
        parent: None,
        forked_from: None,
        idempotency_key: due.map(|due| schedule.key(due)),
        request_id: None,
        api_key: None,
        trace: Some(state.tracer.begin()),
        priority: schedule.priority,
        start_at: None,
    };
    state.clone().accept(new).await
}

async fn fire(state: &AppState, schedule: &Schedule) -> Result<(), Failure> {
    let (schedules, Some(missed)) = (&state.control.schedules, schedule.next_at) else { return Ok(()) };
    let (firing, next_at) = match Calendar::new(&schedule.cron, &schedule.time_zone) {
        Ok(calendar) => {
            let now = schedules.now().await?;
            // Of several times that were missed, only the latest is made up for.
            let due = calendar.latest(missed, now);
            (meet(state, schedule, missed, due).await?, calendar.next(now.max(due)))
        }
        // Nobody can tell when it would be due again.
        Err(failure) => (Firing { due: missed, run: None, failure: Some(failure) }, None),
    };
    if schedules.advance(schedule, &firing, next_at).await? {
        report(schedule, &firing);
    }
    Ok(())
}

/// Does what a due time asks for; `Err` when that should be tried again.
async fn meet(state: &AppState, schedule: &Schedule, missed: Timestamp, due: Timestamp) -> Result<Firing, Failure> {
    if let Some(record) = of_time(state, schedule, due).await? {
        return Ok(Firing { due, run: Some(record.new.run), failure: None });
    }
    if schedule.overlap == Overlap::Skip
        && let Some(run) = in_the_way(state, schedule, missed).await?
    {
        let failure = Failure::new(codes::SCHEDULE_OVERLAP, format!("run {run} of an earlier time had not ended"));
        return Ok(Firing { due, run: Some(run), failure: Some(failure) });
    }
    match begin(state, schedule, Some(due)).await {
        Ok((record, _)) => Ok(Firing { due, run: Some(record.new.run), failure: None }),
        Err(failure) if failure.retryable => Err(failure),
        Err(failure) => Ok(Firing { due, run: None, failure: Some(failure) }),
    }
}

/// The run of an earlier time that has not ended: the last one that is on record, or one whose maker died before it was.
async fn in_the_way(state: &AppState, schedule: &Schedule, missed: Timestamp) -> Result<Option<RunId>, StoreError> {
    let last = match schedule.last.as_ref().and_then(|last| last.run.as_ref()) {
        Some(run) => state.host.stores.runs.get(&schedule.tenant, run).await?,
        None => None,
    };
    let unrecorded = of_time(state, schedule, missed).await?;
    let open = [last, unrecorded].into_iter().flatten().find(|record| !record.state.is_terminal());
    Ok(open.map(|record| record.new.run))
}

/// The run of a due time.
async fn of_time(state: &AppState, schedule: &Schedule, due: Timestamp) -> Result<Option<RunRecord>, StoreError> {
    // Every schedule's are valid; what had none could have no run either.
    let Ok(run) = schedule.run_id(due) else { return Ok(None) };
    state.host.stores.runs.get(&schedule.tenant, &run).await
}

/// Says once, in one process, what became of a due time.
fn report(schedule: &Schedule, Firing { due, run, failure }: &Firing) {
    let (id, run) = (&schedule.id, run.as_ref().map(RunId::as_str).unwrap_or_default());
    match failure {
        None => tracing::info!(schedule = %id, %due, run, "a schedule began a run"),
        Some(failure) if failure.code == codes::SCHEDULE_OVERLAP => {
            tracing::info!(schedule = %id, %due, run, "a schedule left a time out: an earlier run has not ended");
        }
        Some(failure) => {
            tracing::warn!(schedule = %id, %due, code = %failure.code, error = failure.message, "a schedule began no run");
        }
    }
}

#[cfg(test)]
mod tests;
