//! Checking a journal as stored: every line well-formed, in its place, and linked to the one before.

use crate::canonical::Hash;
use crate::journal::{Entry, EntryError, Line, decode};
use crate::payload::Payload;
use crate::replay::ReplayError;

/// The chain hash of a journal: the hash of its last line, which covers every line before it. [`Hash::ZERO`] for none.
pub fn chain_hash(lines: &[Line]) -> Hash {
    lines.last().map_or(Hash::ZERO, Line::hash)
}

/// Reads all entries of a journal and checks the chain that links them.
///
/// # Errors
/// [`ReplayError::Corrupt`] or [`ReplayError::Version`] with the index of the line that was changed, is missing or
/// is out of place.
pub fn verify_chain(lines: &[Line], blob: &dyn Fn(&Hash) -> Option<Payload>) -> Result<Vec<Entry>, ReplayError> {
    verify(lines, blob, None).map(|(entries, _)| entries)
}

/// As [`verify_chain`]; gives the chain hash as well. No line follows the last one and vouches for it, but whoever
/// kept the chain hash can: `expected`.
pub(super) fn verify(
    lines: &[Line],
    blob: &dyn Fn(&Hash) -> Option<Payload>,
    expected: Option<Hash>,
) -> Result<(Vec<Entry>, Hash), ReplayError> {
    let mut entries = Vec::with_capacity(lines.len());
    let mut chain = Hash::ZERO;
    for (index, line) in lines.iter().enumerate() {
        let place = index as u64;
        let (entry, prev) = decode(line.as_str(), blob).map_err(|error| match error {
            EntryError::Version { found } => ReplayError::Version { index: place, found },
            other => ReplayError::Corrupt { index: place, why: other.to_string() },
        })?;
        if prev != chain {
            return Err(broken_link(lines, blob, expected, index, entry.index));
        }
        if entry.index != place {
            let why = format!("it says it is entry {}, and stands at {place}", entry.index);
            return Err(ReplayError::Corrupt { index: place, why });
        }
        chain = line.hash();
        entries.push(entry);
    }
    if let (Some(expected), Some(last)) = (expected.filter(|expected| *expected != chain), entries.last()) {
        let why = format!("its hash is {chain}, and the chain hash should be {expected}: it was changed");
        return Err(ReplayError::Corrupt { index: last.index, why });
    }
    Ok((entries, chain))
}

/// Line `index` does not follow the line before it: says which of the two was changed, or that lines are missing.
fn broken_link(
    lines: &[Line],
    blob: &dyn Fn(&Hash) -> Option<Payload>,
    expected: Option<Hash>,
    index: usize,
    says: u64,
) -> ReplayError {
    if says != index as u64 {
        let why = format!("entry {says} follows here: entries are missing or out of order");
        return ReplayError::Corrupt { index: index as u64, why };
    }
    // If what follows this line doesn't fit it either, it is this one that was changed.
    let hash = lines[index].hash();
    let next_fits = match lines.get(index + 1) {
        Some(next) => Some(decode(next.as_str(), blob).is_ok_and(|(_, prev)| prev == hash)),
        None => expected.map(|expected| expected == hash),
    };
    let (changed, why) = match (index, next_fits) {
        (0, _) => (0, "its `prev` is not 64 zeros, as the first entry's is"),
        (_, Some(false)) => (index, "neither the entry before nor what follows links to it: it was changed"),
        (_, Some(true) | None) => {
            (index - 1, "its hash is not the one that the entry after it has as `prev`: it was changed")
        }
    };
    ReplayError::Corrupt { index: changed as u64, why: why.into() }
}
