//! `replay FILE...`

use std::path::PathBuf;

use super::ui::{CommandResult, Ui};
use super::verdict::{Verdict, gravest};

pub fn run(ui: &Ui, files: &[PathBuf]) -> CommandResult {
    let verdicts: Vec<_> = files.iter().map(|file| Verdict::of(file)).collect();
    let several = verdicts.len() > 1;
    ui.result(&verdicts, |out| {
        for verdict in &verdicts {
            match verdict.content_hash {
                Some(hash) if several => writeln!(out, "Hash: {hash}  {}", verdict.file)?,
                Some(hash) => writeln!(out, "Hash: {hash}")?,
                None => verdict.explain(out)?,
            }
        }
        Ok(())
    })?;
    Ok(gravest(&verdicts))
}
