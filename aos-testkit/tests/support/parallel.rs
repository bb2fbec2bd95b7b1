//! Work for all cores, within one test.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{iter, thread};

/// Does `work` with every item, in no particular order and on every core; gives the results. A panic goes on here.
pub fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let worker = || iter::from_fn(|| items.get(next.fetch_add(1, Ordering::Relaxed)).map(&work)).collect::<Vec<_>>();
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(2, NonZero::get);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|why| resume_unwind(why))).collect()
    })
}
