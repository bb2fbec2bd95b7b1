//! A failed golden test as a text that reads alone.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use aos_core::Failure;
use aos_core::diff::{Change, diff};
use aos_core::replay::golden::GoldenError;
use aos_core::replay::{Drift, ReplayError};

/// Why a golden file does not hold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// The file can't be read or written.
    #[error("the file can't be read or written: {0}")]
    Unreadable(String),
    /// It is damaged, or the workflow of today does something else.
    #[error(transparent)]
    Golden(#[from] GoldenError),
    /// The workflow could not be run again.
    #[error("the workflow can't be run again: {0}")]
    Failed(Failure),
}

/// A golden file that does not hold, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub problem: Box<Problem>,
}

const HEAD: Style = Style::new().bold();
const EXPECTED: Style = AnsiColor::Green.on_default();
const ACTUAL: Style = AnsiColor::Red.on_default();

impl Mismatch {
    /// The drift, when the workflow of today does something else than the recorded one.
    pub fn drift(&self) -> Option<&Drift> {
        match &*self.problem {
            Problem::Golden(GoldenError::Replay(ReplayError::Drift(drift))) => Some(drift),
            _ => None,
        }
    }

    /// Whether running the workflow again can make the file hold. Damage can't be accepted, only undone.
    pub fn can_be_blessed(&self) -> bool {
        matches!(
            &*self.problem,
            Problem::Golden(GoldenError::Replay(ReplayError::Drift(_)) | GoldenError::ContentHash { .. })
        )
    }

    /// The whole text, with terminal colours or without.
    pub fn report(&self, colour: bool) -> String {
        let mut text = format!("{} does not hold\n", self.file.display());
        // Writing into a String never fails.
        let _ = match self.drift() {
            Some(drift) => write_drift(&mut text, drift, colour),
            None => writeln!(text, "{}", self.problem),
        };
        text
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.report(false).trim_end())
    }
}

impl std::error::Error for Mismatch {}

fn write_drift(text: &mut String, drift: &Drift, colour: bool) -> fmt::Result {
    let effect = drift.effect.as_ref().map_or_else(|| "the run as a whole".to_owned(), |e| format!("effect {e}"));
    let head = format!("first divergence: {effect}, class {}, entry {}", drift.class, drift.index);
    writeln!(text, "{}", painted(&head, HEAD, colour))?;
    for change in diff(&drift.expected, &drift.actual) {
        write_change(text, &change, colour)?;
    }
    Ok(())
}

fn write_change(text: &mut String, change: &Change, colour: bool) -> fmt::Result {
    // Three lines: the place, the recorded value, today's value.
    for (line, style) in change.to_string().lines().zip([HEAD, EXPECTED, ACTUAL]) {
        writeln!(text, "{}", painted(line, style, colour))?;
    }
    Ok(())
}

fn painted(text: &str, style: Style, colour: bool) -> String {
    if colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
}
