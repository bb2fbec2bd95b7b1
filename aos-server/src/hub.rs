//! What this process hears about runs while it writes their journals: who waits for a run learns of its progress at
//! once, and the worker learns when a parked run is due.
//!
//! The hub speeds things up and is never needed for correctness: another process may advance a run, so whoever waits
//! also looks at the store from time to time. With hints between processes it does so at once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use aos_core::BoxFuture;
use aos_core::id::{RunId, TenantId};
use aos_core::journal::{Append, JournalStore, Line, Transition};
use aos_core::runs::StoreError;
use aos_core::time::Timestamp;
use tokio::sync::{Notify, broadcast, watch};

use crate::backend::redis::{Hint, Hints};
use crate::llm::Pieces;
use crate::telemetry::Metrics;
use crate::worker::verify::Verifier;

/// Wake-ups that are remembered; parked runs beyond that are found by polling.
const MAX_WAKE_UPS: usize = 100_000;

/// Pieces of answers that a slow reader may be behind; it loses older ones.
const MAX_BEHIND: usize = 256;

/// How far a run has come, as far as this process knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Durable entries, as far as this process wrote them; 0 when it wrote none since somebody watched.
    pub entries: u64,
    /// Whether the run has ended.
    pub finished: bool,
}

/// What a watch has heard of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// This process has got it so far.
    Here(Progress),
    /// Another process has got it further, it says.
    Further,
    /// It has ended or got a message elsewhere: only the store knows.
    Changed,
}

/// Tells watchers of runs about progress, and the worker about work.
#[derive(Default)]
pub struct Hub {
    hints: Option<Hints>,
    watched: Mutex<HashMap<RunId, watch::Sender<Told>>>,
    written: Mutex<HashMap<RunId, broadcast::Sender<Arc<Pieces>>>>,
    due: Mutex<BinaryHeap<Reverse<Timestamp>>>,
    work: Notify,
    appends: AtomicU64,
}

/// What watchers of a run are told: the progress here, and how often there was word from elsewhere.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    progress: Progress,
    further: u64,
    changed: u64,
}

impl Hub {
    /// A hub that nobody watches.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A hub that also gives hints to other processes.
    pub fn with_hints(hints: Hints) -> Arc<Self> {
        Arc::new(Self { hints: Some(hints), ..Self::default() })
    }

    /// Begins to watch a run. Watch first and read the store after that, so that no change is lost in between.
    pub fn watch(self: &Arc<Self>, run: &RunId) -> Watch {
        let receiver = lock(&self.watched).entry(run.clone()).or_default().subscribe();
        let seen = *receiver.borrow();
        Watch { hub: Arc::clone(self), run: run.clone(), receiver, seen }
    }

    /// Begins to read along while answers of a run's models are being written.
    pub fn read_along(self: &Arc<Self>, run: &RunId) -> Reader {
        let mut written = lock(&self.written);
        let sender = written.entry(run.clone()).or_insert_with(|| broadcast::Sender::new(MAX_BEHIND));
        Reader { hub: Arc::clone(self), run: run.clone(), receiver: sender.subscribe() }
    }

    /// Says what a model has written, here and to other processes.
    pub fn written(&self, pieces: Pieces) {
        self.tell(|| Hint::Written(pieces.clone()));
        self.show(pieces);
    }

    fn show(&self, pieces: Pieces) {
        if let Some(sender) = lock(&self.written).get(&pieces.run) {
            // It fails when the last reader is just leaving.
            let _ = sender.send(Arc::new(pieces));
        }
    }

    /// Says that there may be runs to claim.
    pub fn work_arrived(&self) {
        self.work.notify_one();
    }

    /// Says so to other processes, too.
    pub fn work_for_all(&self) {
        self.work_arrived();
        self.tell(|| Hint::Work);
    }

    /// Gives a hint that a switch was turned here.
    pub fn turned_a_switch(&self) {
        self.tell(|| Hint::Switches);
    }

    /// Passes a hint of another process on to those whom it concerns.
    pub fn hear(&self, hint: &Hint) {
        let told = |run: &RunId, change: fn(&mut Told)| {
            if let Some(sender) = lock(&self.watched).get(run) {
                sender.send_modify(change);
            }
        };
        match hint {
            Hint::Work => self.work_arrived(),
            Hint::Entries(run) => told(run, |told| told.further += 1),
            Hint::Run(_, run) => told(run, |told| told.changed += 1),
            Hint::Written(pieces) => self.show(pieces.clone()),
            Hint::Registry(_) | Hint::Switches => {}
        }
    }

    fn tell(&self, hint: impl FnOnce() -> Hint) {
        if let Some(hints) = &self.hints {
            hints.tell(hint());
        }
    }

    /// Resolves after [`Hub::work_arrived`].
    pub async fn work(&self) {
        self.work.notified().await;
    }

    /// How many appends this process has made durable: a sign that something moves.
    pub fn appends(&self) -> u64 {
        self.appends.load(Ordering::Relaxed)
    }

    /// The earliest time at which a run that was parked here is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        lock(&self.due).peek().map(|Reverse(at)| *at)
    }

    /// Forgets the wake-ups up to `now`: their runs are about to be claimed.
    pub fn take_due(&self, now: Timestamp) {
        let mut due = lock(&self.due);
        while due.peek().is_some_and(|Reverse(at)| *at <= now) {
            due.pop();
        }
    }

    fn appended(&self, append: &Done) {
        self.appends.fetch_add(1, Ordering::Relaxed);
        if let Some(sender) = lock(&self.watched).get(&append.run) {
            let progress = Progress { entries: append.entries, finished: append.finished };
            sender.send_modify(|told| told.progress = progress);
        }
        // The store tells of a run's end.
        if !append.finished {
            self.tell(|| Hint::Entries(append.run.clone()));
        }
        if let Some(at) = append.wake_at {
            let mut due = lock(&self.due);
            if due.len() < MAX_WAKE_UPS {
                due.push(Reverse(at));
            }
            drop(due);
            self.work.notify_one();
        }
    }
}

/// One look-out for a run's progress.
pub struct Watch {
    hub: Arc<Hub>,
    run: RunId,
    receiver: watch::Receiver<Told>,
    seen: Told,
}

impl Watch {
    /// Resolves at the next word of the run after the last one this watch has heard.
    pub async fn progress(&mut self) -> Heard {
        if self.receiver.changed().await.is_err() {
            // The sender lives as long as a watch does; without one there is nothing to hear.
            std::future::pending::<()>().await;
        }
        let told = *self.receiver.borrow_and_update();
        let seen = std::mem::replace(&mut self.seen, told);
        if told.progress.finished || told.changed == seen.changed && told.further == seen.further {
            Heard::Here(told.progress)
        } else if told.changed == seen.changed {
            Heard::Further
        } else {
            Heard::Changed
        }
    }

    /// Resolves once this process has ended the run, or once another one may have done so.
    pub async fn finished(&mut self) {
        let seen = self.seen.changed;
        let told = self.receiver.wait_for(|told| told.progress.finished || told.changed != seen).await;
        match told.map(|told| *told) {
            Ok(told) => self.seen = told,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = lock(&self.hub.watched);
        // This watch's own receiver still counts.
        if watched.get(&self.run).is_some_and(|sender| sender.receiver_count() <= 1) {
            watched.remove(&self.run);
        }
    }
}

/// One reader of what a run's models write.
pub struct Reader {
    hub: Arc<Hub>,
    run: RunId,
    receiver: broadcast::Receiver<Arc<Pieces>>,
}

impl Reader {
    /// The next pieces; some may have been lost before them.
    pub async fn next(&mut self) -> Arc<Pieces> {
        loop {
            match self.receiver.recv().await {
                Ok(pieces) => return pieces,
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                // The sender lives as long as a reader does; without one there is nothing to read.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut written = lock(&self.hub.written);
        // This reader's own receiver still counts.
        if written.get(&self.run).is_some_and(|sender| sender.receiver_count() <= 1) {
            written.remove(&self.run);
        }
    }
}

/// A journal store that tells the hub and the metrics what was made durable, and has every ended run verified. What a run
/// was created with needs no telling: whoever finds the run finds that.
pub struct HeardJournal {
    inner: Arc<dyn JournalStore>,
    hub: Arc<Hub>,
    verifier: Verifier,
    metrics: Metrics,
}

impl HeardJournal {
    /// Wraps a store.
    pub fn new(inner: Arc<dyn JournalStore>, hub: Arc<Hub>, verifier: Verifier, metrics: Metrics) -> Self {
        Self { inner, hub, verifier, metrics }
    }
}

struct Done {
    tenant: TenantId,
    run: RunId,
    entries: u64,
    finished: bool,
    wake_at: Option<Timestamp>,
}

impl JournalStore for HeardJournal {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<(), StoreError>> {
        let done = Done {
            tenant: append.lease.tenant.clone(),
            run: append.lease.run.clone(),
            entries: append.first_index + append.lines.len() as u64,
            finished: matches!(append.transition, Transition::Finish(_) | Transition::Bury(_)),
            wake_at: match append.transition {
                Transition::Park { wake_at, .. } => wake_at,
                Transition::Continue | Transition::Finish(_) | Transition::Bury(_) => None,
            },
        };
        let started = Instant::now();
        Box::pin(async move {
            let result = self.inner.append(append).await;
            if result.is_ok() {
                self.metrics.append(started.elapsed());
                self.hub.appended(&done);
                if done.finished {
                    self.verifier.verify(&done.tenant, &done.run);
                }
            }
            result
        })
    }

    fn read<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        from: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Line>, StoreError>> {
        self.inner.read(tenant, run, from, limit)
    }
}

/// The maps stay consistent whatever panicked while holding the lock: every change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(run: &str, entries: u64, finished: bool) -> Done {
        Done { tenant: TenantId::default(), run: RunId::new(run).unwrap(), entries, finished, wake_at: None }
    }

    #[tokio::test]
    async fn a_watch_hears_its_run_only_and_is_forgotten_when_dropped() {
        let hub = Hub::new();
        let mut one = hub.watch(&RunId::new("one").unwrap());
        hub.appended(&done("two", 9, true));
        hub.appended(&done("one", 3, false));
        assert_eq!(one.progress().await, Heard::Here(Progress { entries: 3, finished: false }));
        hub.appended(&done("one", 4, true));
        one.finished().await;
        let again = hub.watch(&RunId::new("one").unwrap());
        drop(one);
        assert_eq!(lock(&hub.watched).len(), 1);
        drop(again);
        assert!(lock(&hub.watched).is_empty());
    }

    #[tokio::test]
    async fn a_watch_hears_of_other_processes() {
        let (hub, run) = (Hub::new(), RunId::new("one").unwrap());
        let mut watch = hub.watch(&run);
        hub.hear(&Hint::Run(TenantId::default(), RunId::new("two").unwrap()));
        hub.hear(&Hint::Entries(run.clone()));
        assert_eq!(watch.progress().await, Heard::Further);
        hub.hear(&Hint::Entries(run.clone()));
        hub.hear(&Hint::Run(TenantId::default(), run.clone()));
        assert_eq!(watch.progress().await, Heard::Changed);
        hub.appended(&done("one", 3, false));
        assert_eq!(watch.progress().await, Heard::Here(Progress { entries: 3, finished: false }));
        hub.hear(&Hint::Run(TenantId::default(), run));
        watch.finished().await;
        hub.appended(&done("one", 4, true));
        watch.finished().await;
    }

    #[test]
    fn wake_ups_come_in_order() {
        let hub = Hub::new();
        for ms in [30, 10, 20] {
            hub.appended(&Done { wake_at: Some(Timestamp::from_millis(ms)), ..done("r", 1, false) });
        }
        assert_eq!(hub.next_due(), Some(Timestamp::from_millis(10)));
        hub.take_due(Timestamp::from_millis(20));
        assert_eq!(hub.next_due(), Some(Timestamp::from_millis(30)));
    }
}
