//! What the engine has for the host: entries to make durable and effects to carry out.

use crate::canonical::Hash;
use crate::event::{Event, HostEffect};
use crate::journal::{Line, encode};
use crate::payload::Payload;
use crate::time::Timestamp;

/// Consecutive entries to be made durable together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Index of the first line.
    pub first_index: u64,
    /// The entries as they are stored, oldest first.
    pub lines: Vec<Line>,
    /// Payloads that the lines refer to by hash.
    pub blobs: Vec<Payload>,
}

impl Batch {
    /// Puts the entries of `later`, which follow at once, behind these.
    pub fn extend(&mut self, later: Self) {
        if self.lines.is_empty() {
            self.first_index = later.first_index;
        }
        self.lines.extend(later.lines);
        self.blobs.extend(later.blobs);
    }
}

pub(super) struct Outbox {
    next_index: u64,
    chain: Hash,
    batch: Batch,
    effects: Vec<HostEffect>,
}

impl Outbox {
    /// Continues a journal of which `chain` gives the next index and the hash of the last line.
    pub(super) fn new((next_index, chain): (u64, Hash)) -> Self {
        Self { next_index, chain, batch: Batch { first_index: next_index, ..Batch::default() }, effects: Vec::new() }
    }

    pub(super) const fn chain(&self) -> Hash {
        self.chain
    }

    pub(super) fn write(&mut self, at: Timestamp, event: &Event) {
        let line = encode(self.next_index, at, event, self.chain, &mut self.batch.blobs);
        self.chain = line.hash();
        self.next_index += 1;
        self.batch.lines.push(line);
    }

    pub(super) const fn next_index(&self) -> u64 {
        self.next_index
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.batch.lines.is_empty() && self.effects.is_empty()
    }

    pub(super) fn effect(&mut self, effect: HostEffect) {
        self.effects.push(effect);
    }

    pub(super) fn take(&mut self) -> (Batch, Vec<HostEffect>) {
        let next = Batch { first_index: self.next_index, ..Batch::default() };
        (std::mem::replace(&mut self.batch, next), std::mem::take(&mut self.effects))
    }
}
