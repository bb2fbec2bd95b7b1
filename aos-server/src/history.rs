//! A run's history as replay needs it: its plan, its journal, and the payloads that the journal refers to.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use aos_core::Failure;
use aos_core::canonical::Hash;
use aos_core::driver::Host;
use aos_core::journal::{Line, blob_refs};
use aos_core::llm::Traffic;
use aos_core::payload::Payload;
use aos_core::replay::verify_chain;
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
    books: Vec<Payload>,
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
        Ok(Self { plan, lines, blobs, books: Vec::new() })
    }

    /// Adds the price books that model calls were recorded with, as far as the store has them, so that whoever has the
    /// history can price them again.
    ///
    /// # Errors
    /// A store that fails, or a journal that is damaged.
    pub async fn with_books(mut self, host: &Host) -> Result<Self, Failure> {
        let entries = verify_chain(&self.lines, &self.blob())?;
        let prices = Traffic::of(&entries).into_iter().filter_map(|call| call.price);
        let books: BTreeSet<Hash> = prices.map(|price| price.book).collect();
        for hash in books {
            if let Some(bytes) = host.stores.blobs.get(&hash).await?
                && let Ok(text) = std::str::from_utf8(&bytes)
            {
                self.books.push(Payload::parse(text)?);
            }
        }
        Ok(self)
    }

    /// Finds payloads kept outside the entries.
    pub fn blob(&self) -> impl Fn(&Hash) -> Option<Payload> + '_ {
        |hash| self.blobs.get(hash).cloned()
    }

    /// The payloads, each once, in the order in which the journal first refers to them, and the price books.
    pub fn into_ordered(mut self) -> (Arc<Plan>, Vec<Line>, Vec<Payload>) {
        let payloads = self.lines.iter().flat_map(blob_refs).filter_map(|hash| self.blobs.remove(&hash));
        let blobs = payloads.chain(self.books).collect();
        (self.plan, self.lines, blobs)
    }
}
