//! Golden tests: runs saved as files under version control, replayed by every test run, and blessed on purpose.
//!
//! In `Cargo.toml`:
//!
//! ```toml
//! [[test]]
//! name = "golden"
//! harness = false
//! ```
//!
//! and in `tests/golden.rs`:
//!
//! ```no_run
//! aos_testkit::golden_tests!("tests/golden/*.jsonl");
//! ```
//!
//! Every file is a test of its own, named after the file. With Rust workflows, or to hold the files against the
//! plans of today instead of those in the files, give a [`Suite`]:
//!
//! ```no_run
//! # fn flows() -> aos_core::flow::Flows { aos_core::flow::Flows::new() }
//! aos_testkit::golden_tests!("tests/golden/*.jsonl", aos_testkit::golden::Suite::new().flows(flows()));
//! ```
//!
//! A test that fails says which file, at which effect and entry, in what, shows the difference, and names the command
//! that accepts it. `AOS_BLESS=1` runs the workflow again with the recorded results and rewrites the file; it is
//! refused where `CI` is set.

mod report;
mod runner;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aos_core::Failure;
use aos_core::canonical::Hash;
use aos_core::event::Event;
use aos_core::flow::Flows;
use aos_core::id::WorkflowId;
use aos_core::journal::encode;
use aos_core::memory::VirtualClock;
use aos_core::replay::golden::{GoldenError, GoldenFile};
use aos_core::replay::{Drift, DriftClass, ReplayError, Replayed, replay, verify_chain};
use aos_core::skill::SkillSource;
use aos_core::workflow::Plan;
use serde_json::json;

pub use report::{Mismatch, Problem};
pub use runner::{Place, run};

use crate::harness::Harness;
use crate::recording::Recording;

/// Makes the `main` of a test target in which every golden file is one test. See the [module](crate::golden).
///
/// The first argument is a glob pattern below the package's directory, the second (if given) a
/// [`Suite`](crate::golden::Suite).
#[macro_export]
macro_rules! golden_tests {
    ($pattern:expr) => {
        $crate::golden_tests!($pattern, $crate::golden::Suite::new());
    };
    ($pattern:expr, $suite:expr) => {
        fn main() -> std::process::ExitCode {
            let place = $crate::golden::Place {
                directory: env!("CARGO_MANIFEST_DIR"),
                package: env!("CARGO_PKG_NAME"),
                target: env!("CARGO_CRATE_NAME"),
            };
            $crate::golden::run(&place, $pattern, $suite)
        }
    };
}

/// What golden files are held against.
#[derive(Clone, Default)]
pub struct Suite {
    flows: Flows,
    plans: BTreeMap<WorkflowId, Arc<Plan>>,
    skills: Option<Arc<dyn SkillSource>>,
}

impl Suite {
    /// The plans in the files, no Rust workflows, no skills.
    pub fn new() -> Self {
        Self::default()
    }

    /// The Rust workflows that the files may need.
    #[must_use]
    pub fn flows(mut self, flows: Flows) -> Self {
        self.flows = flows;
        self
    }

    /// Today's plan of a workflow: files of this workflow are held against it instead of the plan they bring.
    #[must_use]
    pub fn plan(mut self, plan: impl Into<Arc<Plan>>) -> Self {
        let plan = plan.into();
        self.plans.insert(plan.workflow.id.clone(), plan);
        self
    }

    /// Skills for blessing a file whose workflow asks for something that was not recorded.
    #[must_use]
    pub fn skills(mut self, skills: Arc<dyn SkillSource>) -> Self {
        self.skills = Some(skills);
        self
    }

    /// Replays the file at `path`.
    ///
    /// # Errors
    /// [`Mismatch`]: the file can't be read, is damaged, or the workflow of today does something else.
    pub fn verify(&self, path: &Path) -> Result<Replayed, Mismatch> {
        let mismatch = |problem| Mismatch { file: path.to_owned(), problem: Box::new(problem) };
        let text = fs::read_to_string(path).map_err(|e| mismatch(Problem::Unreadable(e.to_string())))?;
        self.verify_text(&text).map_err(mismatch)
    }

    /// Replays a golden file that has been read.
    ///
    /// # Errors
    /// As [`Suite::verify`].
    pub fn verify_text(&self, text: &str) -> Result<Replayed, Problem> {
        let golden = GoldenFile::parse(text)?;
        match self.plans.get(&golden.header.plan.workflow.id) {
            Some(plan) if *plan != golden.header.plan => Err(self.against(&golden, plan)?.into()),
            _ => Ok(golden.verify(&self.flows)?),
        }
    }

    /// The plan has changed: says what that changes first in this run.
    fn against(&self, golden: &GoldenFile, plan: &Arc<Plan>) -> Result<GoldenError, Problem> {
        let blob = golden.blob();
        let mut entries = match verify_chain(&golden.lines, &blob) {
            Ok(entries) => entries,
            Err(damage) => return Ok(damage.into()),
        };
        let hash = plan.hash().map_err(Problem::Failed)?;
        if let Some(Event::RunStarted(started)) = entries.first_mut().map(|entry| &mut entry.event) {
            started.plan = hash;
            started.workflow = plan.workflow.clone();
        }
        let (mut chain, mut extra) = (Hash::ZERO, Vec::new());
        let mut lines = Vec::with_capacity(entries.len());
        for entry in &entries {
            let line = encode(entry.index, entry.at, &entry.event, chain, &mut extra);
            chain = line.hash();
            lines.push(line);
        }
        let find = |wanted: &Hash| extra.iter().find(|blob| blob.hash() == *wanted).cloned().or_else(|| blob(wanted));
        match replay(Arc::clone(plan), &self.flows, &lines, &find) {
            // The end carries the plan in its content hash, so it differs whenever the plan does: that says nothing.
            Err(ReplayError::Drift(drift)) if drift.effect.is_some() => Ok(ReplayError::Drift(drift).into()),
            _ => Ok(ReplayError::Drift(Box::new(Drift {
                class: DriftClass::Plan,
                effect: None,
                index: 0,
                expected: json!(*golden.header.plan),
                actual: json!(**plan),
            }))
            .into()),
        }
    }

    /// Runs the workflow of the file at `path` again, with the results that the file has, and rewrites the file when
    /// that gives something else. Says whether it was rewritten.
    ///
    /// # Errors
    /// [`Mismatch`]: the file can't be read or written, or the workflow asks for something that neither the file nor
    /// the suite's skills can answer.
    pub fn bless(&self, path: &Path) -> Result<bool, Mismatch> {
        if self.verify(path).is_ok() {
            return Ok(false);
        }
        let mismatch = |problem| Mismatch { file: path.to_owned(), problem: Box::new(problem) };
        let text = fs::read_to_string(path).map_err(|e| mismatch(Problem::Unreadable(e.to_string())))?;
        let blessed = self.again(&text).map_err(mismatch)?;
        write(path, &blessed.to_string()).map_err(mismatch)?;
        Ok(true)
    }

    /// The golden file that the workflow of today makes of the outside world in `text`.
    fn again(&self, text: &str) -> Result<GoldenFile, Problem> {
        let golden = GoldenFile::parse(text)?;
        let recording = Arc::new(Recording::read(&golden.lines, &golden.blob()).map_err(GoldenError::from)?);
        let plan = self.plans.get(&golden.header.plan.workflow.id).unwrap_or(&golden.header.plan);
        let clock = VirtualClock::new(recording.started_at);
        let skills = recording.skills(self.skills.clone(), Some(Arc::new(clock.clone())));
        let started = &recording.started;
        let mut harness = Harness::new(Arc::clone(plan), Arc::new(skills))
            .flows(self.flows.clone())
            .clock(clock)
            .run_id(started.run.clone())
            .payload(started.input.clone())
            .seed(started.seed.get());
        if let Some(budget) = started.budget {
            harness = harness.budget(budget);
        }
        for (at, message) in &recording.messages {
            harness = harness.message(at.since(recording.started_at), message.clone());
        }
        let ran = harness.run().map_err(Problem::Failed)?;
        if let Some(missing) = ran.missing_recording() {
            return Err(Problem::Failed(missing));
        }
        Ok(ran.golden(&golden.header.note)?)
    }
}

/// Saves a finished run as the golden file at `path`, making its directory.
///
/// # Errors
/// [`Mismatch`]: the run does not replay (a workflow that is not deterministic), or the file can't be written.
pub fn record(ran: &crate::harness::Ran, path: &Path, note: &str) -> Result<(), Mismatch> {
    let mismatch = |problem| Mismatch { file: path.to_owned(), problem: Box::new(problem) };
    let golden = ran.golden(note).map_err(|e| mismatch(e.into()))?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|e| mismatch(Problem::Unreadable(e.to_string())))?;
    }
    write(path, &golden.to_string()).map_err(mismatch)
}

/// All or nothing: a file that is cut short would be a golden file that is damaged.
fn write(path: &Path, text: &str) -> Result<(), Problem> {
    let unwritable = |e: std::io::Error| Problem::Unreadable(e.to_string());
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    fs::write(&beside, text).map_err(unwritable)?;
    fs::rename(&beside, path).map_err(unwritable)
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
