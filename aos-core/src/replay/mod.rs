//! Replay: the program again, with the journal answering every effect. No I/O, no clock, no threads.

mod chain;
mod cursor;
mod drift;
pub mod golden;
mod retry;

use std::sync::Arc;

pub use chain::{chain_hash, verify_chain};
pub(crate) use cursor::Cursor;
pub use drift::{Drift, DriftClass, ReplayError};
pub use retry::{Retry, retry};

use crate::canonical::Hash;
use crate::engine::Engine;
use crate::event::{Event, RunFinished};
use crate::flow::Flows;
use crate::id::EffectId;
use crate::journal::{Entry, Line};
use crate::payload::Payload;
use crate::workflow::Plan;

/// What a replay found: the run, rebuilt.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed {
    /// How the run ended; `None` when the journal ends before the run does.
    pub finished: Option<RunFinished>,
    /// Hash of the last line.
    pub chain_hash: Hash,
    /// Entries replayed.
    pub entries: u64,
    /// Effects requested.
    pub effects: u64,
}

impl Replayed {
    /// The content hash of a finished run.
    pub fn content_hash(&self) -> Option<Hash> {
        self.finished.as_ref().map(|finished| finished.content_hash)
    }
}

/// Runs the program of `plan` again, answered by the journal in `lines`; `blob` finds payloads kept outside.
///
/// # Errors
/// [`ReplayError`] naming the entry: the journal is damaged, or program and journal disagree. Never panics.
pub fn replay(
    plan: Arc<Plan>,
    flows: &Flows,
    lines: &[Line],
    blob: &dyn Fn(&Hash) -> Option<Payload>,
) -> Result<Replayed, ReplayError> {
    replay_to(plan, flows, lines, blob, None)
}

/// As [`replay`], of a journal whose chain hash is known from elsewhere.
fn replay_to(
    plan: Arc<Plan>,
    flows: &Flows,
    lines: &[Line],
    blob: &dyn Fn(&Hash) -> Option<Payload>,
    chain_hash: Option<Hash>,
) -> Result<Replayed, ReplayError> {
    let cursor = Cursor::new(lines, blob, chain_hash)?;
    let entries = lines.len() as u64;
    let chain_hash = cursor.chain().1;
    let engine = Engine::replayed(plan, flows, cursor)?;
    Ok(Replayed {
        // An engine that has written something went past the end of the journal, which is cut short then.
        finished: engine.finished().filter(|_| engine.is_drained()).cloned(),
        chain_hash,
        entries,
        effects: engine.effects_requested(),
    })
}

/// The number of leading lines that a fork at `effect` shares with the original run: everything before the first
/// fact about `effect`, without the intents that its result would answer. `None` when the run has no such effect.
///
/// # Errors
/// A damaged journal.
pub fn fork_point(
    lines: &[Line],
    blob: &dyn Fn(&Hash) -> Option<Payload>,
    effect: &EffectId,
) -> Result<Option<usize>, ReplayError> {
    let entries = verify_chain(lines, blob)?;
    let about = |entry: &Entry| match &entry.event {
        Event::EffectCompleted { effect: e, .. }
        | Event::AttemptFailed { effect: e, .. }
        | Event::EffectFailed { effect: e, .. } => e == effect,
        _ => false,
    };
    Ok(entries.iter().position(about))
}

/// The number of leading lines before `effect` was asked for; `None` when it never was. A fork that does a `once` effect
/// anew shares no more than these: with the intent in its journal, nobody could tell whether the effect was begun.
///
/// # Errors
/// A damaged journal.
pub fn intent_point(
    lines: &[Line],
    blob: &dyn Fn(&Hash) -> Option<Payload>,
    effect: &EffectId,
) -> Result<Option<usize>, ReplayError> {
    let entries = verify_chain(lines, blob)?;
    let about = |entry: &Entry| matches!(&entry.event, Event::EffectRequested { effect: e, .. } if e == effect);
    Ok(entries.iter().position(about))
}

/// The journal of a fork: the first `shared` entries of `lines` under the identity `started`, and, when `edited` is
/// given, that output as the result of `effect`. Resume it with [`Engine::resume`] to go on from there.
///
/// Completion entries are copied as they are; signals lose their numbers, which are those of another inbox. The chain is
/// computed anew.
///
/// # Errors
/// A damaged journal, or one that doesn't begin with `run_started`.
pub fn fork(
    lines: &[Line],
    blob: &dyn Fn(&Hash) -> Option<Payload>,
    shared: usize,
    started: crate::event::RunStarted,
    edited: Option<(EffectId, Payload)>,
) -> Result<(Vec<Line>, Vec<Payload>), ReplayError> {
    let mut entries = verify_chain(lines, blob)?;
    entries.truncate(shared.max(1));
    let Some(first) = entries.first_mut() else {
        return Err(ReplayError::Corrupt { index: 0, why: "the journal is empty".into() });
    };
    first.event = Event::RunStarted(started);
    if let Some((effect, output)) = edited {
        let at = entries.last().map(|entry| entry.at).unwrap_or_default();
        let attempt = 1 + failed_attempts(&entries, &effect);
        let event = Event::EffectCompleted { effect, attempt, output, cost: crate::money::Money::ZERO, child: None };
        entries.push(Entry { index: entries.len() as u64, at, event });
    }
    Ok(encode_all(&mut entries))
}

/// The journal of another run that begins with these entries.
fn encode_all(entries: &mut [Entry]) -> (Vec<Line>, Vec<Payload>) {
    let (mut lines, mut blobs, mut chain) = (Vec::with_capacity(entries.len()), Vec::new(), Hash::ZERO);
    for (index, entry) in entries.iter_mut().enumerate() {
        entry.index = index as u64;
        if let Event::SignalReceived { seq, .. } = &mut entry.event {
            *seq = 0;
        }
        let line = crate::journal::encode(entry.index, entry.at, &entry.event, chain, &mut blobs);
        chain = line.hash();
        lines.push(line);
    }
    (lines, blobs)
}

fn failed_attempts(entries: &[Entry], effect: &EffectId) -> u32 {
    let failed = |entry: &&Entry| matches!(&entry.event, Event::AttemptFailed { effect: e, .. } if e == effect);
    u32::try_from(entries.iter().filter(failed).count()).unwrap_or(u32::MAX - 1)
}
