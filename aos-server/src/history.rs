//! A run's history as replay needs it: its plan, its journal, and the payloads that the journal refers to.

use std::collections::HashMap;
use std::sync::Arc;

use aos_core::Failure;
use aos_core::canonical::Hash;
use aos_core::driver::Host;
use aos_core::journal::{Line, blob_refs};
use aos_core::payload::Payload;
use aos_core::runs::RunRecord;
use aos_core::workflow::Plan;

/// Lines read from a store at a time.
const PAGE: usize = 1_000;

/// A run's history.
pub struct History {
    /// What it executes.
    pub plan: Arc<Plan>,
    /// Its journal.
    pub lines: Vec<Line>,
    blobs: HashMap<Hash, Payload>,
}

impl History {
    /// Reads the history of a run.
    ///
    /// # Errors
    /// A store that fails, or a plan or payload that is damaged there.
    pub async fn read(host: &Host, record: &RunRecord) -> Result<Self, Failure> {
        let plan = host.plan(&record.new.plan).await?;
        let mut lines = Vec::new();
        loop {
            let page = host.stores.journal.read(&record.new.tenant, &record.new.run, lines.len() as u64, PAGE).await?;
            let last = page.len() < PAGE;
            lines.extend(page);
            if last {
                break;
            }
        }
        let blobs = host.blobs_of(&lines).await?;
        Ok(Self { plan, lines, blobs })
    }

    /// Finds payloads kept outside the entries.
    pub fn blob(&self) -> impl Fn(&Hash) -> Option<Payload> + '_ {
        |hash| self.blobs.get(hash).cloned()
    }

    /// The payloads, each once, in the order in which the journal first refers to them.
    pub fn into_ordered(mut self) -> (Arc<Plan>, Vec<Line>, Vec<Payload>) {
        let blobs = self.lines.iter().flat_map(blob_refs).filter_map(|hash| self.blobs.remove(&hash)).collect();
        (self.plan, self.lines, blobs)
    }
}
