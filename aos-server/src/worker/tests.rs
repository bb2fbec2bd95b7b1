//! The worker with drivers that misbehave on purpose, over stores in memory.

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use aos_core::canonical::Hash;
use aos_core::codes;
use aos_core::event::{RunFinished, RunStatus};
use aos_core::id::{RunId, TenantId};
use aos_core::journal::{Append, Transition};
use aos_core::memory::MemoryStore;
use aos_core::money::Money;
use aos_core::payload::Payload;
use aos_core::queue::Priority;
use aos_core::random::Seed;
use aos_core::runs::{Created, NewRun, RunRecord, RunState};
use tokio::task::JoinHandle;

use super::*;
use crate::clock::SystemClock;

/// What a driver does with each run, in turn; the last for ever.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Finish,
    Panic,
    Fail(&'static str),
    Hang,
}

struct Scripted {
    stores: Stores,
    deeds: Vec<Deed>,
    calls: AtomicUsize,
}

impl Drive for Scripted {
    fn drive(&self, claim: Claim, _begun: Begun) -> BoxFuture<'_, Result<Driven, Failure>> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let deed = self.deeds[call.min(self.deeds.len() - 1)];
        Box::pin(async move {
            match deed {
                Deed::Finish => {
                    let finished = RunFinished {
                        status: RunStatus::Succeeded,
                        output: Some(Payload::null()),
                        failure: None,
                        cost: Money::ZERO,
                        content_hash: Hash::ZERO,
                    };
                    let transition = Transition::Finish(finished.clone());
                    let append =
                        Append { lease: claim.lease, first_index: 0, lines: vec![], blobs: vec![], transition };
                    self.stores.journal.append(append).await?;
                    Ok(Driven::Finished(finished))
                }
                Deed::Panic => panic!("on purpose"),
                Deed::Fail(code) => {
                    let retryable = code == "ERR_STORE_UNAVAILABLE";
                    Err(Failure::new(aos_core::Code::custom(code), "on purpose").retryable(retryable))
                }
                Deed::Hang => std::future::pending().await,
            }
        })
    }
}

struct Bench {
    worker: Worker,
    stores: Stores,
    driver: Arc<Scripted>,
    metrics: Metrics,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Bench {
    fn new(concurrency: usize, lease: Duration, deeds: &[Deed]) -> Self {
        let store = MemoryStore::new(Arc::new(SystemClock));
        let blobs = store.blobs();
        let store = Arc::new(store);
        let stores = Stores { runs: store.clone(), journal: store, blobs };
        let driver = Arc::new(Scripted { stores: stores.clone(), deeds: deeds.to_vec(), calls: AtomicUsize::new(0) });
        let settings = WorkerSettings {
            lease,
            poll: Duration::from_millis(5),
            grace: Duration::from_millis(50),
            ..WorkerSettings::new(WorkerId::new("w1").unwrap(), concurrency)
        };
        let (metrics, clock) = (Metrics::new().unwrap(), Arc::new(SystemClock));
        let (leases, hub) = (Leases::new(), Hub::new());
        let worker = Worker::new(settings, driver.clone(), stores.clone(), clock, leases, hub, metrics.clone());
        Self { worker, stores, driver, metrics, running: Mutex::default() }
    }

    fn start(&self) {
        let worker = self.worker.clone();
        *self.running.lock().unwrap() = Some(tokio::spawn(async move { worker.run().await }));
    }

    async fn stop(&self) {
        self.worker.stop();
        let running = self.running.lock().unwrap().take().unwrap();
        running.await.unwrap();
    }

    async fn create(&self, run: &str) -> RunId {
        let run = RunId::new(run).unwrap();
        let new = NewRun {
            run: run.clone(),
            tenant: TenantId::default(),
            workflow: "w@1.0.0".parse().unwrap(),
            plan: Hash::ZERO,
            input: Payload::null(),
            seed: Seed::default(),
            budget: None,
            parent: None,
            forked_from: None,
            idempotency_key: None,
            request_id: None,
            api_key: None,
            trace: None,
            priority: Priority::default(),
            start_at: None,
        };
        let slot = self.worker.slot();
        match self.stores.runs.create(new, slot.as_ref().map(|_| self.worker.lease())).await.unwrap() {
            Created::New(record, Some(lease)) => slot.unwrap().start(Claim { lease, record }, Begun::default()),
            Created::New(..) => self.worker.arrived(),
            Created::Existing(_) => panic!("the run exists already"),
        }
        run
    }

    async fn get(&self, run: &RunId) -> RunRecord {
        self.stores.runs.get(&TenantId::default(), run).await.unwrap().unwrap()
    }

    async fn until(&self, run: &RunId, what: impl Fn(&RunRecord) -> bool) -> RunRecord {
        for _ in 0..4_000 {
            let record = self.get(run).await;
            if what(&record) {
                return record;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it never came to that: {:?}", self.get(run).await);
    }
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_failure_that_may_pass_is_tried_again() {
    let bench = Bench::new(1, LONG, &[Deed::Fail("ERR_STORE_UNAVAILABLE"), Deed::Finish]);
    bench.start();
    let run = bench.create("r").await;
    let record = bench.until(&run, |record| record.state.is_terminal()).await;
    assert_eq!((record.state, record.rescues), (RunState::Succeeded, 0));
    bench.stop().await;
}

#[tokio::test]
async fn what_would_only_repeat_itself_is_buried_with_its_reason() {
    let bench = Bench::new(1, LONG, &[Deed::Fail("ERR_JOURNAL_CORRUPT")]);
    bench.start();
    let run = bench.create("r").await;
    let record = bench.until(&run, |record| record.state.is_terminal()).await;
    assert_eq!(record.state, RunState::Dead);
    assert_eq!(record.failure.unwrap().code, codes::JOURNAL_CORRUPT);
    assert_eq!(bench.driver.calls.load(Ordering::SeqCst), 1);
    bench.stop().await;
}

#[tokio::test]
async fn a_run_that_kills_its_workers_is_dead_in_the_end() {
    for deed in [Deed::Panic, Deed::Fail("ERR_DRIFT")] {
        let bench = Bench::new(1, Duration::from_millis(20), &[deed]);
        bench.start();
        let run = bench.create("r").await;
        let record = bench.until(&run, |record| record.state.is_terminal()).await;
        assert_eq!((record.state, record.rescues), (RunState::Dead, 5), "{deed:?}");
        assert_eq!(record.failure.unwrap().code, codes::RUN_DEAD);
        assert_eq!(bench.driver.calls.load(Ordering::SeqCst), 5, "{deed:?}");
        bench.stop().await;
    }
}

#[tokio::test]
async fn leases_of_long_runs_are_kept() {
    let bench = Bench::new(1, Duration::from_millis(60), &[Deed::Hang]);
    bench.start();
    let run = bench.create("r").await;
    let other = WorkerId::new("w2").unwrap();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(bench.stores.runs.claim(&other, 1, LONG).await.unwrap().is_empty(), "the lease ran out");
    }
    assert_eq!(bench.get(&run).await.rescues, 0);
    bench.stop().await;
}

#[tokio::test]
async fn a_lost_run_is_let_go_of() {
    let bench = Bench::new(1, Duration::from_millis(60), &[Deed::Hang]);
    bench.start();
    let run = bench.create("r").await;
    // Somebody gives the lease away behind the worker's back, and another worker takes the run.
    let lease = aos_core::runs::Lease {
        tenant: TenantId::default(),
        run: run.clone(),
        worker: bench.worker.id().clone(),
        epoch: 1,
    };
    bench.stores.runs.release(&lease).await.unwrap();
    let other = WorkerId::new("w2").unwrap();
    let taken = bench.stores.runs.claim(&other, 1, LONG).await.unwrap();
    assert_eq!(taken.len(), 1);
    for _ in 0..4_000 {
        if bench.worker.in_hand() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(bench.worker.in_hand(), 0);
    assert!(bench.metrics.page().unwrap().contains("\naos_fenced_writes_total 1\n"));
    bench.stop().await;
}

#[tokio::test]
async fn a_worker_without_slots_takes_on_nothing_even_when_nothing_moves() {
    let bench = Bench::new(0, LONG, &[]);
    assert!(bench.worker.slot().is_none());
    assert_eq!(bench.worker.0.relief.available_permits(), 0);
}

#[tokio::test]
async fn a_worker_that_stops_gives_back_what_does_not_end() {
    let bench = Bench::new(2, LONG, &[Deed::Finish, Deed::Hang]);
    bench.start();
    let ends = bench.create("ends").await;
    let hangs = bench.create("hangs").await;
    bench.until(&ends, |record| record.state.is_terminal()).await;
    bench.stop().await;
    assert_eq!(bench.get(&hangs).await.state, RunState::Queued);
    assert!(bench.worker.slot().is_none() && !bench.worker.accepts());
    let later = bench.create("later").await;
    assert_eq!(bench.get(&later).await.state, RunState::Queued);
}

#[tokio::test]
async fn a_full_worker_in_which_nothing_moves_takes_on_more() {
    let bench = Bench::new(2, LONG, &[Deed::Hang, Deed::Hang, Deed::Finish]);
    bench.start();
    for parent in ["one", "two"] {
        bench.create(parent).await;
    }
    let child = bench.create("child").await;
    let record = bench.until(&child, |record| record.state.is_terminal()).await;
    assert_eq!(record.state, RunState::Succeeded);
    bench.stop().await;
}
