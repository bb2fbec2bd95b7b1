//! Replay of every run that ends here, in the background: drift is a fact about production, not about a test.

use std::sync::{Arc, Mutex, PoisonError};

use aos_core::canonical::Hash;
use aos_core::driver::Host;
use aos_core::flow::Flows;
use aos_core::id::{RunId, TenantId};
use aos_core::replay::{ReplayError, replay};
use aos_core::runs::RunRecord;
use aos_core::time::Timestamp;
use aos_core::{Failure, codes};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::history::History;
use crate::telemetry::Metrics;

/// Ended runs that wait for their replay; beyond that they are counted as skipped, and runs go on.
const QUEUE: usize = 10_000;

/// Journals longer than this are replayed on a thread of their own, so that no other task waits.
const LONG: usize = 200;

/// Takes ended runs to be replayed. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    queue: mpsc::Sender<(TenantId, RunId)>,
    metrics: Metrics,
}

/// What the replays of this process have found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Runs replayed.
    pub replays: u64,
    /// Runs whose replay disagreed with their journal.
    pub drifted: u64,
    /// Runs whose journal could not be read or is damaged.
    pub failed: u64,
    /// The last run that was replayed.
    pub last: Option<Finding>,
    /// The last run that did not come out as it was recorded.
    pub last_bad: Option<Finding>,
}

/// What one replay has found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The run.
    pub run: RunId,
    /// When it was replayed.
    pub at: Timestamp,
    /// The content hash that came out, or the journal's when none did.
    pub content_hash: Option<Hash>,
    /// What is wrong; `None` when it came out as recorded.
    pub problem: Option<String>,
}

/// [`Findings`] that handlers read while the replays go on.
#[derive(Clone, Debug, Default)]
pub struct SharedFindings(Arc<Mutex<Findings>>);

impl SharedFindings {
    /// The findings so far.
    pub fn get(&self) -> Findings {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Verifier {
    /// Asks for the replay of an ended run.
    pub fn verify(&self, tenant: &TenantId, run: &RunId) {
        if self.queue.try_send((tenant.clone(), run.clone())).is_err() {
            self.metrics.replay("skipped");
        }
    }
}

/// Replays ended runs one after the other.
pub struct Verification {
    queue: mpsc::Receiver<(TenantId, RunId)>,
    metrics: Metrics,
    findings: SharedFindings,
}

/// A verifier, the work behind it, and what that finds.
pub fn verification(metrics: Metrics) -> (Verifier, Verification, SharedFindings) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let findings = SharedFindings::default();
    let verifier = Verifier { queue: sender, metrics: metrics.clone() };
    (verifier, Verification { queue: receiver, metrics, findings: findings.clone() }, findings)
}

impl Verification {
    /// Works until `stopped`, and then through what is queued already.
    pub async fn run(mut self, host: Host, stopped: CancellationToken) {
        loop {
            let next = tokio::select! {
                biased;
                next = self.queue.recv() => next,
                () = stopped.cancelled() => self.queue.try_recv().ok(),
            };
            let Some((tenant, run)) = next else { return };
            self.check(&host, &tenant, run).await;
        }
    }

    async fn check(&self, host: &Host, tenant: &TenantId, run: RunId) {
        let outcome = match host.stores.runs.get(tenant, &run).await {
            Ok(Some(record)) => examine(host, &record).await,
            // Somebody has removed it since it ended: there is nothing left to hold against anything.
            Ok(None) => return,
            Err(error) => Err(error.into()),
        };
        let report = outcome.unwrap_or_else(|failure| Report::unreadable(&failure));
        self.metrics.replay(report.result());
        if let Some(problem) = &report.problem {
            tracing::error!(%run, result = report.result(), problem, "the replay of an ended run went wrong");
        }
        let drifted = self.note(run, report);
        self.metrics.drift(drifted);
    }

    fn note(&self, run: RunId, report: Report) -> u64 {
        let mut findings = self.findings.0.lock().unwrap_or_else(PoisonError::into_inner);
        findings.replays += 1;
        findings.drifted += u64::from(report.drift);
        findings.failed += u64::from(report.problem.is_some() && !report.drift);
        let finding = Finding { run, at: clock::now(), content_hash: report.content_hash, problem: report.problem };
        if finding.problem.is_some() {
            findings.last_bad = Some(finding.clone());
        }
        findings.last = Some(finding);
        findings.drifted
    }
}

/// What the replay of a run has found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The content hash that came out; `None` when the replay did not reach an end.
    pub content_hash: Option<Hash>,
    /// SHA-256 of the last line.
    pub chain_hash: Option<Hash>,
    /// Entries in the journal.
    pub entries: u64,
    /// Whether program and journal disagree.
    pub drift: bool,
    /// What is wrong; `None` when the run came out as recorded.
    pub problem: Option<String>,
    /// The replay's own error, with place and diff.
    pub error: Option<ReplayError>,
}

impl Report {
    fn unreadable(failure: &Failure) -> Self {
        let problem = Some(failure.to_string());
        Self { content_hash: None, chain_hash: None, entries: 0, drift: false, problem, error: None }
    }

    /// The report as a label of metrics.
    pub const fn result(&self) -> &'static str {
        match (&self.problem, self.drift) {
            (None, _) => "match",
            (Some(_), true) => "drift",
            (Some(_), false) => "failed",
        }
    }
}

/// Replays a run from what the stores hold and compares the outcome with the record.
///
/// # Errors
/// A store that fails or holds something damaged; what is wrong with the journal stands in the report.
pub async fn examine(host: &Host, record: &RunRecord) -> Result<Report, Failure> {
    let history = History::read(host, record).await?;
    let expected = record.content_hash;
    if history.lines.len() <= LONG {
        return Ok(judge(&host.flows, &history, expected));
    }
    let flows = Arc::clone(&host.flows);
    let judging = tokio::task::spawn_blocking(move || judge(&flows, &history, expected));
    judging.await.map_err(|e| Failure::new(codes::INTERNAL, format!("the replay did not come to an end: {e}")))
}

fn judge(flows: &Flows, history: &History, expected: Option<Hash>) -> Report {
    let entries = history.lines.len() as u64;
    match replay(Arc::clone(&history.plan), flows, &history.lines, &history.blob()) {
        Ok(replayed) => {
            let content_hash = replayed.content_hash();
            let differs = expected.is_some() && content_hash != expected;
            let problem = differs.then(|| {
                let text = |hash: Option<Hash>| hash.map_or_else(|| "none".into(), |hash| hash.to_string());
                format!("the content hash is {}, and the run was recorded with {}", text(content_hash), text(expected))
            });
            let chain_hash = Some(replayed.chain_hash);
            Report { content_hash, chain_hash, entries, drift: differs, problem, error: None }
        }
        Err(error) => Report {
            content_hash: None,
            chain_hash: None,
            entries,
            drift: matches!(error, ReplayError::Drift(_)),
            problem: Some(error.to_string()),
            error: Some(error),
        },
    }
}
