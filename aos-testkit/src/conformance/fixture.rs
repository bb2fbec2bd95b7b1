//! What the clauses share: taking roles, making runs, racing.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use aos_core::audit::AuditStore;
use aos_core::blob::BlobStore;
use aos_core::cache::Cache;
use aos_core::canonical::Hash;
use aos_core::event::{RunFinished, RunStatus};
use aos_core::id::{RunId, TenantId, WorkerId};
use aos_core::journal::{Append, JournalStore, Line, Transition};
use aos_core::keys::KeyStore;
use aos_core::ledger::LedgerStore;
use aos_core::limiter::Limiter;
use aos_core::money::Money;
use aos_core::payload::Payload;
use aos_core::queue::Priority;
use aos_core::random::Seed;
use aos_core::registry::RegistryStore;
use aos_core::runs::{Created, FirstLease, Lease, Message, NewRun, RunRecord, RunStore};
use aos_core::schedules::ScheduleStore;
use aos_core::slots::SlotStore;
use aos_core::switches::SwitchStore;
use aos_core::time::Timestamp;
use aos_core::workers::WorkerStore;
use serde_json::json;

use super::{Backend, BoxFuture, Capability, Roles};

/// Longer than any clause takes, by a clock that nobody turns.
pub(super) const LONG: Duration = Duration::from_secs(600);
/// A lease that clauses let pass.
pub(super) const LEASE: Duration = Duration::from_secs(30);

impl Roles {
    pub(super) fn need_runs(&self) -> Result<Arc<dyn RunStore>, Capability> {
        self.runs.clone().ok_or(Capability::Runs)
    }

    pub(super) fn need_journal(&self) -> Result<Arc<dyn JournalStore>, Capability> {
        self.journal.clone().ok_or(Capability::Journal)
    }

    pub(super) fn need_blobs(&self) -> Result<Arc<dyn BlobStore>, Capability> {
        self.blobs.clone().ok_or(Capability::Blobs)
    }

    pub(super) fn need_audit(&self) -> Result<Arc<dyn AuditStore>, Capability> {
        self.audit.clone().ok_or(Capability::Audit)
    }

    pub(super) fn need_cache(&self) -> Result<Arc<dyn Cache>, Capability> {
        self.cache.clone().ok_or(Capability::Cache)
    }

    pub(super) fn need_limiter(&self) -> Result<Arc<dyn Limiter>, Capability> {
        self.limiter.clone().ok_or(Capability::Limiter)
    }

    pub(super) fn need_registry(&self) -> Result<Arc<dyn RegistryStore>, Capability> {
        self.registry.clone().ok_or(Capability::Registry)
    }

    pub(super) fn need_workers(&self) -> Result<Arc<dyn WorkerStore>, Capability> {
        self.workers.clone().ok_or(Capability::Workers)
    }

    pub(super) fn need_slots(&self) -> Result<Arc<dyn SlotStore>, Capability> {
        self.slots.clone().ok_or(Capability::Slots)
    }

    pub(super) fn need_schedules(&self) -> Result<Arc<dyn ScheduleStore>, Capability> {
        self.schedules.clone().ok_or(Capability::Schedules)
    }

    pub(super) fn need_switches(&self) -> Result<Arc<dyn SwitchStore>, Capability> {
        self.switches.clone().ok_or(Capability::Switches)
    }

    pub(super) fn need_keys(&self) -> Result<Arc<dyn KeyStore>, Capability> {
        self.keys.clone().ok_or(Capability::Keys)
    }

    pub(super) fn need_ledger(&self) -> Result<Arc<dyn LedgerStore>, Capability> {
        self.ledger.clone().ok_or(Capability::Ledger)
    }

    pub(super) async fn pass(&self, duration: Duration) -> Result<(), Capability> {
        let advance = self.advance.as_ref().ok_or(Capability::ClockControl)?;
        advance(duration).await;
        Ok(())
    }

    pub(super) async fn again(&self) -> Result<Self, Capability> {
        let open_again = self.open_again.as_ref().ok_or(Capability::OpenAgain)?;
        Ok(open_again().await)
    }
}

/// Runs and journals of one fresh store.
pub(super) struct Runs {
    pub(super) roles: Roles,
    pub(super) runs: Arc<dyn RunStore>,
    pub(super) journal: Arc<dyn JournalStore>,
}

impl Runs {
    pub(super) async fn fresh(backend: &dyn Backend) -> Result<Self, Capability> {
        let roles = backend.fresh().await;
        Ok(Self { runs: roles.need_runs()?, journal: roles.need_journal()?, roles })
    }

    /// Creates a run with nothing special.
    pub(super) async fn create(&self, id: &str) -> RunRecord {
        match self.runs.create(new_run(id), None).await.expect("a run is created") {
            Created::New(record, None) => record,
            other => panic!("expected a new run without a lease, got {other:?}"),
        }
    }

    /// Creates a run and leases it for [`LONG`].
    pub(super) async fn leased(&self, id: &str) -> Lease {
        match self.runs.create(new_run(id), Some(first_lease())).await.expect("a run is created") {
            Created::New(_, Some(lease)) => lease,
            other => panic!("expected a new run with a lease, got {other:?}"),
        }
    }

    /// Claims one run for a worker.
    pub(super) async fn claim_one(&self, worker_id: &str) -> Option<Lease> {
        let claims = self.runs.claim(&worker(worker_id), 1, LEASE).await.expect("claiming works");
        claims.into_iter().next().map(|claim| claim.lease)
    }

    pub(super) async fn get(&self, id: &str) -> RunRecord {
        let found = self.runs.get(&tenant(), &run(id)).await.expect("reading works");
        found.unwrap_or_else(|| panic!("run {id} is gone"))
    }

    pub(super) async fn lines(&self, id: &str) -> Vec<Line> {
        self.journal.read(&tenant(), &run(id), 0, usize::MAX).await.expect("reading works")
    }

    /// Ends a run well.
    pub(super) async fn finish(&self, lease: &Lease) {
        let append = append(lease, 0, &[], Transition::Finish(finished()));
        self.journal.append(append).await.expect("the run ends");
    }
}

pub(super) fn tenant() -> TenantId {
    TenantId::default()
}

pub(super) fn other_tenant() -> TenantId {
    TenantId::new("other").expect("a valid id")
}

pub(super) fn run(id: &str) -> RunId {
    RunId::new(id).expect("a valid id")
}

pub(super) fn worker(id: &str) -> WorkerId {
    WorkerId::new(id).expect("a valid id")
}

pub(super) fn payload(value: serde_json::Value) -> Payload {
    Payload::new(value).expect("canonical JSON")
}

/// What models and users send to hurt us: U+0000, emoji, line ends, quotes, text that looks like SQL.
pub(super) fn nasty() -> Payload {
    payload(
        json!({ "\u{0}": "a\u{0}b", "emoji": "👩‍👩‍👧 \u{202e}", "lines": "\r\n\u{2028}", "sql": "'; DROP TABLE run;--" }),
    )
}

/// A text that is hard to keep.
pub(super) const NASTY: &str = "a\u{0}b 👩‍👩‍👧 \u{202e}\r\n'; DROP TABLE run;--";

/// A text that a store gave back, as it was given: U+0000 may have become U+FFFD.
pub(super) fn readable(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

pub(super) fn new_run(id: &str) -> NewRun {
    NewRun {
        run: run(id),
        tenant: tenant(),
        workflow: "flow@1.2.3-rc.1+build.5".parse().expect("a valid version"),
        plan: Hash::of("plan"),
        input: payload(json!({ "id": id })),
        seed: Seed::new(u64::MAX),
        budget: None,
        parent: None,
        forked_from: None,
        idempotency_key: None,
        request_id: None,
        api_key: None,
        trace: None,
        priority: Priority::default(),
        start_at: None,
    }
}

/// A lease of [`LONG`] for worker `w`, on a journal that is empty.
pub(super) fn first_lease() -> FirstLease {
    FirstLease::new(worker("w"), LONG)
}

/// The same, with a beginning of the journal.
pub(super) fn beginning(lines: &[&str]) -> FirstLease {
    FirstLease { lines: lines.iter().map(|line| Line::new(*line)).collect(), ..first_lease() }
}

pub(super) fn append(lease: &Lease, first_index: u64, lines: &[&str], transition: Transition) -> Append {
    Append {
        lease: lease.clone(),
        first_index,
        lines: lines.iter().map(|line| Line::new(*line)).collect(),
        blobs: Vec::new(),
        transition,
    }
}

pub(super) fn finished() -> RunFinished {
    RunFinished {
        status: RunStatus::Succeeded,
        output: Some(nasty()),
        failure: None,
        cost: Money::MAX,
        content_hash: Hash::of("content"),
    }
}

/// Leases a new run and parks it.
pub(super) async fn park(store: &Runs, id: &str, wake_at: Option<Timestamp>, inbox_seen: u64) {
    let lease = store.leased(id).await;
    store.journal.append(append(&lease, 0, &[], Transition::Park { wake_at, inbox_seen })).await.unwrap();
}

/// A signal with a payload that is hard to keep.
pub(super) fn signal(name: &str) -> Message {
    Message::Signal { name: name.into(), payload: nasty() }
}

/// Does `work` on as many threads at once; gives the results, in the order of the threads.
pub(super) fn race<T, W>(backend: &dyn Backend, threads: usize, work: W) -> Vec<T>
where
    T: Send,
    W: Fn(usize) -> BoxFuture<'static, T> + Sync,
{
    let results: Vec<Mutex<Option<T>>> = (0..threads).map(|_| Mutex::new(None)).collect();
    let start = std::sync::Barrier::new(threads);
    std::thread::scope(|scope| {
        for (index, result) in results.iter().enumerate() {
            let (work, start) = (&work, &start);
            scope.spawn(move || {
                start.wait();
                backend.block_on(Box::pin(async move {
                    let value = work(index).await;
                    *result.lock().expect("nobody else holds it") = Some(value);
                }));
            });
        }
    });
    let value = |result: Mutex<Option<T>>| result.into_inner().expect("no thread panicked").expect("it ran to its end");
    results.into_iter().map(value).collect()
}

/// Polls a future once and drops it, as a caller does who gives up.
pub(super) async fn poll_once<F: Future + Unpin>(mut future: F) {
    futures_util::future::poll_fn(|context| {
        let _ = std::pin::Pin::new(&mut future).poll(context);
        std::task::Poll::Ready(())
    })
    .await;
}

/// Whether a future is still waiting when polled now.
pub(super) async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    futures_util::future::poll_fn(|context| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
    })
    .await
}
