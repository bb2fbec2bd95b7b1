//! The wire form of an entry: one line of canonical JSON, each carrying the hash of the line before it.
//!
//! Lines are written by [`encode`](super::encode()) and read by [`decode`](super::decode()).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::canonical::Hash;
use crate::error::{Code, codes};
use crate::event::Event;
use crate::time::Timestamp;

/// The version of the wire form that this release writes.
pub const WIRE_VERSION: u64 = 1;

/// The longest payload, in bytes of canonical text, that stands in an entry itself; a longer one is a blob.
pub const INLINE_PAYLOAD_BYTES: usize = 32 * 1024;

/// One entry of a journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its place, from 0.
    pub index: u64,
    /// When the host learned it.
    pub at: Timestamp,
    /// What it says.
    pub event: Event,
}

/// An entry as stored: one line of canonical JSON without a line end.
#[derive(Clone, PartialEq, Eq)]
pub struct Line(Arc<str>);

impl Line {
    /// Takes a stored text as it is; [`decode`](super::decode()) judges it.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hash that the next line carries as `prev`: SHA-256 of the text.
    pub fn hash(&self) -> Hash {
        Hash::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A payload outside the entry, by content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    /// Length of the canonical text in bytes.
    pub bytes: u64,
    /// SHA-256 of the canonical text.
    pub sha256: Hash,
}

/// Why a line is not an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The line has a format version that this release doesn't know.
    #[error("the entry has format version {found}, and this release reads version {WIRE_VERSION}")]
    Version {
        /// The version found.
        found: u64,
    },
    /// The line is not a well-formed entry.
    #[error("the entry is malformed: {0}")]
    Malformed(String),
    /// A payload that the entry refers to was not there.
    #[error("the payload {0} that the entry refers to is missing")]
    MissingBlob(Hash),
}

impl EntryError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Version { .. } => codes::JOURNAL_VERSION,
            Self::Malformed(_) | Self::MissingBlob(_) => codes::JOURNAL_CORRUPT,
        }
    }
}
