//! A small executor for simulations: a seed decides which ready task goes on, and time passes only when nothing can.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use aos_core::BoxFuture;
use aos_core::random::{Rng, Seed};

/// Whether the simulation ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Every task has ended.
    Completed,
    /// Tasks are left, none of them can go on, and the idle hook had nothing more to do.
    Stalled,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    ready: Vec<Arc<Task>>,
    rng: Rng,
    /// Tasks that have not ended.
    live: usize,
    /// Threads that are polling a task now.
    polling: usize,
    ended: Option<Ended>,
}

struct Task {
    future: Mutex<Option<BoxFuture<'static, ()>>>,
    queued: Mutex<bool>,
    shared: Weak<Shared>,
}

/// Runs `tasks` to their end on `threads` threads. Whenever no task can go on, `idle` may change that (release
/// something, move a clock) and says whether it did.
pub(crate) fn run(
    tasks: Vec<BoxFuture<'static, ()>>,
    threads: usize,
    seed: Seed,
    idle: &mut (dyn FnMut() -> bool + Send),
) -> Ended {
    let state =
        State { ready: Vec::new(), rng: Rng::new(seed, "executor"), live: tasks.len(), polling: 0, ended: None };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
    let task =
        |future| Task { future: Mutex::new(Some(future)), queued: Mutex::new(true), shared: Arc::downgrade(&shared) };
    let tasks: Vec<_> = tasks.into_iter().map(|future| Arc::new(task(future))).collect();
    shared.lock().ready.clone_from(&tasks);
    let idle = Mutex::new(idle);
    let ended = std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| shared.work(&idle));
        }
        shared.work(&idle)
    });
    // Wakers that are kept elsewhere hold tasks, and tasks hold what keeps the wakers: cut the circle.
    for task in tasks {
        let future = task.future.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(future);
    }
    ended
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, idle: &Mutex<&mut (dyn FnMut() -> bool + Send)>) -> Ended {
        let mut state = self.lock();
        loop {
            if let Some(ended) = state.ended {
                return ended;
            }
            if !state.ready.is_empty() {
                let choices = state.ready.len() as u64;
                // Below the number of ready tasks, so it fits.
                let chosen = state.rng.below(choices) as usize;
                let task = state.ready.swap_remove(chosen);
                state.polling += 1;
                drop(state);
                let ended = task.poll();
                state = self.lock();
                state.polling -= 1;
                state.live -= usize::from(ended);
                self.changed.notify_all();
            } else if state.polling > 0 {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else if state.live == 0 {
                state.ended = Some(Ended::Completed);
                self.changed.notify_all();
            } else {
                // Counts as polling, so that only one thread asks at a time.
                state.polling += 1;
                drop(state);
                let progress = (idle.lock().unwrap_or_else(PoisonError::into_inner))();
                state = self.lock();
                state.polling -= 1;
                if !progress && state.ready.is_empty() {
                    state.ended = Some(Ended::Stalled);
                }
                self.changed.notify_all();
            }
        }
    }
}

impl Task {
    /// Polls the task; true when it has ended.
    fn poll(self: Arc<Self>) -> bool {
        *self.queued.lock().unwrap_or_else(PoisonError::into_inner) = false;
        let waker = Waker::from(Arc::clone(&self));
        let mut slot = self.future.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(future) = slot.as_mut() else { return false };
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => {
                *slot = None;
                true
            }
            Poll::Pending => false,
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let mut queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
        if !*queued && let Some(shared) = self.shared.upgrade() {
            *queued = true;
            shared.lock().ready.push(Arc::clone(&self));
            shared.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aos_core::time::Clock;

    use super::*;
    use aos_core::memory::VirtualClock;

    fn order(threads: usize, seed: u64) -> (Ended, Vec<u64>) {
        let (clock, log) = (VirtualClock::default(), Arc::new(Mutex::new(Vec::new())));
        let tasks = (0..6_u64)
            .map(|n| -> BoxFuture<'static, ()> {
                let (clock, log) = (clock.clone(), Arc::clone(&log));
                Box::pin(async move {
                    clock.sleep_until(clock.now().saturating_add(Duration::from_secs(n / 3))).await;
                    log.lock().unwrap().push(n);
                })
            })
            .collect();
        let ended = run(tasks, threads, Seed::new(seed), &mut || clock.advance_to_next().is_some());
        let log = log.lock().unwrap().clone();
        (ended, log)
    }

    #[test]
    fn a_seed_decides_the_order_and_time_is_kept() {
        let orders: std::collections::BTreeSet<_> = (0..20).map(|seed| order(1, seed).1).collect();
        assert!(orders.len() > 3, "{orders:?}");
        for seed in 0..20 {
            let (ended, log) = order(1, seed);
            assert_eq!((ended, &log), (Ended::Completed, &order(1, seed).1));
            assert!(log[..3].iter().all(|n| *n < 3), "{log:?}");
        }
        assert_eq!(order(4, 1).1.len(), 6);
    }

    #[test]
    fn says_when_nothing_can_go_on() {
        for threads in [1, 4] {
            let tasks: Vec<BoxFuture<'static, ()>> = vec![Box::pin(std::future::pending())];
            assert_eq!(run(tasks, threads, Seed::default(), &mut || false), Ended::Stalled);
        }
    }
}
