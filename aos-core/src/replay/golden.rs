//! Golden files: a journal under version control, with everything that a replay needs.
//!
//! One JSON object per line, each in canonical form: a header, then the payloads that entries refer to by hash,
//! then the entries exactly as a store keeps them.
//!
//! ```text
//! {"blobs":0,"chain_hash":"…","content_hash":"…","entries":9,"golden":1,"note":"…","plan":{…}}
//! {"at":1767225600000,"index":0,…,"type":"run_started","v":1}
//! …
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::canonical::Hash;
use crate::error::{Failure, codes};
use crate::flow::Flows;
use crate::journal::{Entry, Line};
use crate::payload::Payload;
use crate::replay::{ReplayError, Replayed, chain, replay, replay_to};
use crate::workflow::Plan;

/// The version of the golden file format that this release writes and reads.
pub const GOLDEN_VERSION: u64 = 1;

/// The first line of a golden file. Fields stand in canonical order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// How many payloads follow.
    pub blobs: u64,
    /// The expected chain hash: SHA-256 of the last line.
    pub chain_hash: Hash,
    /// The expected content hash.
    pub content_hash: Hash,
    /// How many entries follow.
    pub entries: u64,
    /// [`GOLDEN_VERSION`].
    pub golden: u64,
    /// What this run is about, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The plan that was executed.
    pub plan: Arc<Plan>,
}

/// A golden file in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct GoldenFile {
    /// The first line.
    pub header: Header,
    /// Payloads that entries refer to by hash.
    pub blobs: Vec<Payload>,
    /// The entries.
    pub lines: Vec<Line>,
}

/// Why a golden file can't be read, or does not hold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GoldenError {
    /// A line is not what stands there in a golden file.
    #[error("line {line} of the golden file is damaged: {why}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The file has a format version that this release doesn't know.
    #[error("the golden file has format version {found}, and this release reads version {GOLDEN_VERSION}")]
    Version {
        /// The version found.
        found: u64,
    },
    /// Lines are missing at the end, or there are too many.
    #[error("the golden file has {found} {what} and its header says {expected}: it was cut short or added to")]
    Count {
        /// Entries or payloads.
        what: &'static str,
        /// What the header says.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// The replay failed.
    #[error("{0}")]
    Replay(#[from] ReplayError),
    /// The journal ends before the run does.
    #[error("the journal ends at entry {entries} before the run has ended: a golden file holds a whole run")]
    Unfinished {
        /// How many entries there are.
        entries: u64,
    },
    /// The content hash is not the one that the header says.
    #[error("the content hash is {actual}, and the header says {expected}")]
    ContentHash {
        /// What the header says.
        expected: Hash,
        /// What came out.
        actual: Hash,
    },
}

impl From<GoldenError> for Failure {
    fn from(error: GoldenError) -> Self {
        let code = match &error {
            GoldenError::Replay(replay) => return replay.clone().into(),
            GoldenError::Version { .. } => codes::JOURNAL_VERSION,
            GoldenError::ContentHash { .. } => codes::DRIFT,
            GoldenError::Malformed { .. } | GoldenError::Count { .. } | GoldenError::Unfinished { .. } => {
                codes::JOURNAL_CORRUPT
            }
        };
        Self::new(code, error.to_string())
    }
}

impl GoldenFile {
    /// Makes a golden file of a finished run's journal, by replaying it.
    ///
    /// # Errors
    /// [`GoldenError::Replay`] or [`GoldenError::Unfinished`].
    pub fn record(
        plan: Arc<Plan>,
        flows: &Flows,
        lines: Vec<Line>,
        blobs: Vec<Payload>,
        note: impl Into<String>,
    ) -> Result<Self, GoldenError> {
        let replayed = replay(Arc::clone(&plan), flows, &lines, &finder(&blobs))?;
        let content_hash = replayed.content_hash().ok_or(GoldenError::Unfinished { entries: replayed.entries })?;
        let header = Header {
            blobs: blobs.len() as u64,
            chain_hash: replayed.chain_hash,
            content_hash,
            entries: replayed.entries,
            golden: GOLDEN_VERSION,
            note: note.into(),
            plan,
        };
        Ok(Self { header, blobs, lines })
    }

    /// Reads a golden file; replays nothing.
    ///
    /// # Errors
    /// [`GoldenError::Malformed`] with the line, [`GoldenError::Version`] or [`GoldenError::Count`].
    pub fn parse(text: &str) -> Result<Self, GoldenError> {
        let mut lines = text.lines();
        let header = parse_header(lines.next().unwrap_or_default())?;
        let mut blobs = Vec::new();
        for (index, line) in lines.by_ref().take(usize::try_from(header.blobs).unwrap_or(usize::MAX)).enumerate() {
            let blob: BlobLine = serde_json::from_str(line)
                .map_err(|e| GoldenError::Malformed { line: index + 2, why: e.to_string() })?;
            if blob.blob != blob.json.hash() {
                let why = format!("the payload's hash is {}, and the line says {}", blob.json.hash(), blob.blob);
                return Err(GoldenError::Malformed { line: index + 2, why });
            }
            blobs.push(blob.json);
        }
        count("payloads", header.blobs, blobs.len())?;
        let lines: Vec<_> = lines.map(Line::new).collect();
        count("entries", header.entries, lines.len())?;
        Ok(Self { header, blobs, lines })
    }

    /// Replays the file and holds the result against its header.
    ///
    /// # Errors
    /// [`GoldenError`]: damage, drift, an unfinished run, or a content hash that is not the header's.
    pub fn verify(&self, flows: &Flows) -> Result<Replayed, GoldenError> {
        let (plan, chain_hash) = (Arc::clone(&self.header.plan), Some(self.header.chain_hash));
        let replayed = replay_to(plan, flows, &self.lines, &finder(&self.blobs), chain_hash)?;
        let actual = replayed.content_hash().ok_or(GoldenError::Unfinished { entries: replayed.entries })?;
        let expected = self.header.content_hash;
        if expected != actual {
            return Err(GoldenError::ContentHash { expected, actual });
        }
        Ok(replayed)
    }

    /// Reads all entries and checks the chain that links them, up to the header's chain hash; replays nothing.
    ///
    /// # Errors
    /// [`ReplayError::Corrupt`] or [`ReplayError::Version`] with the index of the entry that was changed, is missing
    /// or is out of place.
    pub fn verify_chain(&self) -> Result<Vec<Entry>, ReplayError> {
        chain::verify(&self.lines, &finder(&self.blobs), Some(self.header.chain_hash)).map(|(entries, _)| entries)
    }

    /// Finds payloads kept outside the entries.
    pub fn blob(&self) -> impl Fn(&Hash) -> Option<Payload> + '_ {
        finder(&self.blobs)
    }
}

/// The file's text, a line end after each line.
impl fmt::Display for GoldenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = Payload::from_serialize(&self.header).map_err(|_| fmt::Error)?;
        writeln!(f, "{header}")?;
        for blob in &self.blobs {
            writeln!(f, "{{\"blob\":\"{}\",\"json\":{blob}}}", blob.hash())?;
        }
        self.lines.iter().try_for_each(|line| writeln!(f, "{}", line.as_str()))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlobLine {
    blob: Hash,
    json: Payload,
}

fn parse_header(line: &str) -> Result<Header, GoldenError> {
    #[derive(Deserialize)]
    struct Version {
        golden: u64,
    }
    match serde_json::from_str(line) {
        Ok(Version { golden }) if golden != GOLDEN_VERSION => return Err(GoldenError::Version { found: golden }),
        Ok(_) => {}
        Err(e) => {
            let why = format!("it is not the header of a golden file ({e})");
            return Err(GoldenError::Malformed { line: 1, why });
        }
    }
    serde_json::from_str(line).map_err(|e| GoldenError::Malformed { line: 1, why: e.to_string() })
}

fn count(what: &'static str, expected: u64, found: usize) -> Result<(), GoldenError> {
    let found = found as u64;
    if expected == found { Ok(()) } else { Err(GoldenError::Count { what, expected, found }) }
}

fn finder(blobs: &[Payload]) -> impl Fn(&Hash) -> Option<Payload> + use<> {
    let by_hash: HashMap<Hash, Payload> = blobs.iter().map(|blob| (blob.hash(), blob.clone())).collect();
    move |hash| by_hash.get(hash).cloned()
}
