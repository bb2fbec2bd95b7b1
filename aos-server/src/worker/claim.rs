//! Finding runs to advance.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::clock;
use crate::worker::Worker;

/// How long to leave a store alone that answered with an error.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// Claims runs whenever there is room, until the worker stops.
pub(super) async fn keep_claiming(worker: &Worker) {
    let inner = &worker.0;
    while !inner.stopping.is_cancelled() {
        let pause = match claim(worker).await {
            Ok(()) => until_due(worker),
            Err(pause) => pause,
        };
        tokio::select! {
            () = inner.stopping.cancelled() => {}
            () = inner.hub.work() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Claims as many runs as there is room for; an error gives the pause before the next try.
async fn claim(worker: &Worker) -> Result<(), Duration> {
    let inner = &worker.0;
    let free = inner.slots.available_permits();
    // Room is taken before the store is asked: a lease without room would run out unused.
    let Some(mut room) = Arc::clone(&inner.slots).try_acquire_many_owned(permits(free)).ok().filter(|_| free > 0)
    else {
        return Ok(());
    };
    // What arrives from here on sets the mark again.
    inner.behind.store(false, Ordering::Release);
    inner.hub.take_due(clock::now());
    let settings = &inner.settings;
    let claims = match inner.runs.claim(&settings.id, free, settings.lease).await {
        Ok(claims) => claims,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "claiming runs failed");
            return Err(AFTER_ERROR);
        }
    };
    if claims.len() >= free {
        inner.behind.store(true, Ordering::Release);
    }
    for claim in claims {
        if claim.record.rescues > 0 {
            inner.metrics.rescued();
            tracing::warn!(run = %claim.lease.run, rescues = claim.record.rescues, "took over a run whose worker died");
        }
        match room.split(1) {
            Some(permit) => worker.start(claim, permit),
            // The store gave more than was asked for.
            None => {
                let _ = inner.runs.release(&claim.lease).await;
            }
        }
    }
    Ok(())
}

fn permits(free: usize) -> u32 {
    u32::try_from(free).unwrap_or(u32::MAX)
}

fn until_due(worker: &Worker) -> Duration {
    let poll = worker.0.settings.poll;
    // A due run may be some other process's already; a floor keeps a wrong clock from turning this into a busy loop.
    worker.0.hub.next_due().map_or(poll, |due| due.since(clock::now()).clamp(Duration::from_millis(2), poll))
}
