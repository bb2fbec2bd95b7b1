//! Finding runs to advance.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aos_core::driver::Begun;
use aos_core::random::{Rng, Seed};
use tokio::sync::OwnedSemaphorePermit;

use crate::worker::{Inner, Worker};

/// How long to leave a store alone that answered with an error.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// How long nothing may move in a full worker before it takes on more than its share.
const STALLED: Duration = Duration::from_secs(2);

/// How many runs a stalled worker takes on at a time.
const RELIEF: usize = 4;

/// Claims runs whenever there is room, until the worker stops.
pub(super) async fn keep_claiming(worker: &Worker) {
    let inner = &worker.0;
    let mut progress = Progress { appends: inner.hub.appends(), since: Instant::now() };
    let mut dice = Dice::of(worker);
    let mut pause = dice.vary(inner.settings.poll / 2);
    while !inner.stopping.is_cancelled() {
        tokio::select! {
            () = inner.stopping.cancelled() => return,
            () = inner.hub.work() => {}
            () = tokio::time::sleep(pause) => {}
        }
        pause = match room(worker, &mut progress).filter(|_| !worker.is_paused()) {
            None => dice.vary(inner.settings.poll),
            Some(room) => match claim(worker, room).await {
                Ok(()) => until_due(worker, dice.vary(inner.settings.poll)),
                Err(pause) => dice.vary(pause),
            },
        };
    }
}

/// Keeps processes from asking the store in step that were started together, or that lost it together.
struct Dice(Rng);

impl Dice {
    fn of(worker: &Worker) -> Self {
        Self(Rng::new(Seed::default(), worker.id().as_str()))
    }

    /// From a half to one and a half of a pause.
    fn vary(&mut self, pause: Duration) -> Duration {
        let ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX / 2).max(1);
        Duration::from_millis(ms / 2 + self.0.below(ms + 1))
    }
}

/// Since when nothing has moved.
struct Progress {
    appends: u64,
    since: Instant,
}

/// Room for more runs, taken before the store is asked: a lease without room would run out unused.
///
/// After a crash a worker may be full of parents that wait for children which nobody has claimed. So a full worker in
/// which nothing moves takes on a few more.
fn room(worker: &Worker, progress: &mut Progress) -> Option<OwnedSemaphorePermit> {
    let inner = &worker.0;
    let free = inner.slots.available_permits();
    if let Some(room) = Arc::clone(&inner.slots).try_acquire_many_owned(permits(free)).ok().filter(|_| free > 0) {
        progress.since = Instant::now();
        return Some(room);
    }
    let appends = inner.hub.appends();
    if appends != progress.appends {
        *progress = Progress { appends, since: Instant::now() };
    }
    if progress.since.elapsed() < STALLED {
        return None;
    }
    progress.since = Instant::now();
    let extra = inner.relief.available_permits().min(RELIEF);
    Arc::clone(&inner.relief).try_acquire_many_owned(permits(extra)).ok().filter(|_| extra > 0)
}

/// Claims as many runs as there is room for; an error gives the pause before the next try.
async fn claim(worker: &Worker, mut room: OwnedSemaphorePermit) -> Result<(), Duration> {
    let inner = &worker.0;
    let max = room.num_permits();
    // What arrives from here on sets the mark again.
    inner.behind.store(false, Ordering::Release);
    inner.hub.take_due(inner.clock.now());
    let claims = match inner.stores.runs.claim(&inner.settings.id, max, inner.settings.lease).await {
        Ok(claims) => claims,
        Err(error) => {
            inner.behind.store(true, Ordering::Release);
            tracing::error!(error = &error as &dyn std::error::Error, "claiming runs failed");
            return Err(AFTER_ERROR);
        }
    };
    if claims.len() >= max {
        inner.behind.store(true, Ordering::Release);
    }
    for claim in claims {
        if claim.record.rescues > 0 {
            inner.metrics.rescued();
            tracing::warn!(run = %claim.lease.run, rescues = claim.record.rescues, "took over a run whose worker died");
        }
        match room.split(1) {
            Some(permit) => worker.start(claim, Begun::default(), permit),
            // The store gave more than was asked for.
            None => {
                if let Err(error) = inner.stores.runs.release(&claim.lease).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "giving the run back failed");
                }
            }
        }
    }
    Ok(())
}

fn permits(free: usize) -> u32 {
    u32::try_from(free).unwrap_or(u32::MAX)
}

fn until_due(worker: &Worker, poll: Duration) -> Duration {
    // A due run may be some other process's already; a floor keeps a wrong clock from turning this into a busy loop.
    let Inner { hub, clock, .. } = &*worker.0;
    hub.next_due().map_or(poll, |due| due.since(clock.now()).max(Duration::from_millis(2)).min(poll))
}
