//! What a replay of one golden file says.

use std::io::{self, Write};
use std::path::Path;

use aos_core::canonical::Hash;
use aos_core::flow::Flows;
use aos_core::replay::golden::{GoldenError, GoldenFile};
use aos_core::replay::{ReplayError, Replayed};
use aos_core::workflow::Body;
use aos_core::{Failure, codes};
use serde::Serialize;

use super::input::read_text;
use super::ui::{self, Exit, styled};

/// What a replay of one golden file says.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// The file as it was named.
    pub file: String,
    /// Whether the file holds.
    pub ok: bool,
    /// The content hash that came out.
    pub content_hash: Option<Hash>,
    /// The chain hash that came out.
    pub chain_hash: Option<Hash>,
    /// Entries replayed.
    pub entries: Option<u64>,
    /// Effects requested.
    pub effects: Option<u64>,
    /// Index of the journal entry where it went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    #[serde(skip)]
    pub exit: Exit,
}

impl Verdict {
    /// Replays a file; nothing that is wrong with it stops the caller.
    pub fn of(path: &Path) -> Self {
        let file = path.display().to_string();
        let golden = match read_text(path) {
            Ok(text) => GoldenFile::parse(&text),
            Err(error) => return Self::bad(file, None, *error.failure),
        };
        if let Ok(golden) = &golden
            && golden.header.plan.body == Body::Code
        {
            return Self::bad(file, None, code(golden));
        }
        match golden.and_then(|golden| golden.verify(&Flows::new())) {
            Ok(replayed) => Self::good(file, &replayed),
            Err(error) => {
                let index = match &error {
                    GoldenError::Replay(replay) => ReplayError::index(replay),
                    _ => None,
                };
                Self::bad(file, index, error.into())
            }
        }
    }

    fn good(file: String, replayed: &Replayed) -> Self {
        Self {
            file,
            ok: true,
            content_hash: replayed.content_hash(),
            chain_hash: Some(replayed.chain_hash),
            entries: Some(replayed.entries),
            effects: Some(replayed.effects),
            index: None,
            error: None,
            exit: Exit::Yes,
        }
    }

    fn bad(file: String, index: Option<u64>, failure: Failure) -> Self {
        // Drift is the answer no; everything else means that there was nothing to judge.
        let exit = if failure.code == codes::DRIFT { Exit::No } else { Exit::Usage };
        Self {
            file,
            ok: false,
            content_hash: None,
            chain_hash: None,
            entries: None,
            effects: None,
            index,
            error: Some(failure),
            exit,
        }
    }

    /// Writes what is wrong, with the diff in colour.
    pub fn explain(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(failure) = &self.error else { return Ok(()) };
        writeln!(out, "{} {}: {}", styled(ui::BAD, "✗"), self.file, failure.code)?;
        for line in failure.message.lines() {
            let text = line.trim_start();
            if text.starts_with("expected ") {
                writeln!(out, "  {}", styled(ui::GOOD, line))?;
            } else if text.starts_with("actual ") {
                writeln!(out, "  {}", styled(ui::BAD, line))?;
            } else {
                writeln!(out, "  {line}")?;
            }
        }
        let advice = failure.code.info().map(|info| info.action).unwrap_or_default();
        writeln!(out, "  {}", styled(ui::DIM, format!("→ {advice}")))
    }
}

/// What can be said of a run of Rust code: whether its journal is whole.
fn code(golden: &GoldenFile) -> Failure {
    if let Err(error) = golden.verify_chain() {
        return error.into();
    }
    let workflow = &golden.header.plan.workflow;
    let message = format!(
        "the journal is whole, but {workflow} is Rust code, and only a program that has this code can replay it: \
         use golden_tests! of aos-testkit there"
    );
    Failure::new(codes::WORKFLOW_NOT_FOUND, message)
}

/// The exit code for several verdicts: the gravest.
pub fn gravest(verdicts: &[Verdict]) -> Exit {
    verdicts.iter().map(|verdict| verdict.exit).max().unwrap_or(Exit::Yes)
}
