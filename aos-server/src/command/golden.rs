//! `golden record|verify|bless`

use std::path::{Path, PathBuf};

use aos_core::flow::Flows;
use aos_core::replay::golden::GoldenFile;
use aos_core::replay::{chain_hash, verify_chain};
use aos_core::{Failure, codes};
use serde_json::json;

use super::again::again;
use super::client::Client;
use super::input::{read_text, write_file};
use super::ui::{self, CommandError, CommandResult, Exit, Ui, styled};
use super::verdict::{Verdict, gravest};
use super::{run, settings};
use crate::cli::{RecordArgs, RunWith};
use crate::config::Sources;

/// How deep directories are searched.
const MAX_DEPTH: usize = 32;

/// `golden verify PATH...`
pub fn verify(ui: &Ui, paths: &[PathBuf]) -> CommandResult {
    let mut files = Vec::new();
    for path in paths {
        find(path, 0, &mut files)?;
    }
    let verdicts: Vec<_> = files.iter().map(|file| Verdict::of(file)).collect();
    ui.result(&verdicts, |out| {
        for verdict in &verdicts {
            match verdict.content_hash {
                Some(hash) => writeln!(out, "{} {}  {hash}", styled(ui::GOOD, "✓"), verdict.file)?,
                None => verdict.explain(out)?,
            }
        }
        let bad = verdicts.iter().filter(|verdict| !verdict.ok).count();
        writeln!(out, "{} golden files, {} hold, {bad} do not", verdicts.len(), verdicts.len() - bad)
    })?;
    Ok(gravest(&verdicts))
}

/// `golden record`: from a run of a server, or from a definition.
pub async fn record(ui: &Ui, sources: Sources, args: RecordArgs) -> CommandResult {
    let golden = match (&args.run, &args.file) {
        (Some(run), _) => from_run(&Client::to(sources, &args.target).await?, run, &args.note).await?,
        (None, Some(file)) => from_definition(ui, sources, file, &args.with, &args.note).await?,
        // The command line demands one of them.
        (None, None) => {
            return Err(CommandError::usage("name a run or a definition").hint("--run ID or --definition FILE"));
        }
    };
    save(ui, &golden, args.to.as_deref())?;
    Ok(Exit::Yes)
}

/// Writes a golden file, or prints it.
pub fn save(ui: &Ui, golden: &GoldenFile, to: Option<&Path>) -> Result<(), CommandError> {
    let Some(path) = to else { return ui.raw(&golden.to_string()) };
    write_file(path, &golden.to_string())?;
    let hash = golden.header.content_hash;
    let document = json!({"file": path, "content_hash": hash, "entries": golden.header.entries});
    ui.result(&document, |out| writeln!(out, "{}\nHash: {hash}", path.display()))
}

async fn from_run(client: &Client, run: &str, note: &str) -> Result<GoldenFile, CommandError> {
    let run: aos_core::id::RunId =
        run.parse().map_err(|e: aos_core::id::IdError| CommandError::usage(e.to_string()))?;
    let text = client.get(&["runs", run.as_str(), "golden"], &[]).await?.text();
    let mut golden = GoldenFile::parse(&text).map_err(Failure::from)?;
    golden.verify(&Flows::new()).map_err(Failure::from)?;
    note.clone_into(&mut golden.header.note);
    Ok(golden)
}

async fn from_definition(
    ui: &Ui,
    sources: Sources,
    file: &Path,
    with: &RunWith,
    note: &str,
) -> Result<GoldenFile, CommandError> {
    run::one_shot(ui, sources, file, with, None).await?.golden(note)
}

/// `golden bless FILE...`
pub async fn bless(ui: &Ui, sources: Sources, files: &[PathBuf]) -> CommandResult {
    let skills = settings::skills(&settings::without_listening(sources, None)?)?;
    let mut blessed = Vec::new();
    for file in files {
        let text = read_text(file)?;
        let old = GoldenFile::parse(&text).map_err(|error| damaged(file, error.into()))?;
        let new = match old.verify(&Flows::new()) {
            Ok(_) => old.clone(),
            Err(_) if !is_whole(&old) => {
                let why = "its lines are not those that were recorded";
                return Err(damaged(file, Failure::new(codes::JOURNAL_CORRUPT, why)));
            }
            Err(_) => again(skills.clone(), Flows::new(), &old).await.map_err(|error| error.about(file))?,
        };
        let changed = new.to_string() != text;
        if changed {
            write_file(file, &new.to_string())?;
        }
        blessed.push((file, old.header.content_hash, new.header.content_hash, changed));
    }
    let document: Vec<_> = blessed
        .iter()
        .map(|(file, old, new, changed)| json!({"file": file, "was": old, "content_hash": new, "changed": changed}))
        .collect();
    ui.result(&document, |out| {
        blessed.iter().try_for_each(|(file, old, new, changed)| match changed {
            true => writeln!(out, "{} {}  {old} → {new}", styled(ui::WARN, "rewritten"), file.display()),
            false => writeln!(out, "unchanged {}  {new}", file.display()),
        })
    })?;
    Ok(Exit::Yes)
}

/// Whether the journal is the one that was recorded, whatever program reads it.
fn is_whole(golden: &GoldenFile) -> bool {
    verify_chain(&golden.lines, &golden.blob()).is_ok() && chain_hash(&golden.lines) == golden.header.chain_hash
}

fn damaged(file: &Path, failure: Failure) -> CommandError {
    CommandError::from(failure)
        .about(file)
        .hint("a damaged file can't be blessed: record it again with `golden record`")
}

/// The golden files that a path names: itself, or every `*.jsonl` below it, by name.
fn find(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), CommandError> {
    let unreadable = |e: std::io::Error| {
        CommandError::usage(format!("{} can't be read: {e}", path.display())).hint("check the path")
    };
    if path.as_os_str() == "-" || !path.metadata().map_err(unreadable)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let before = files.len();
    let entries = std::fs::read_dir(path).map_err(unreadable)?;
    let mut entries =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    entries.sort();
    for entry in entries {
        if entry.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(entry);
        } else if depth < MAX_DEPTH && entry.is_dir() && !entry.is_symlink() {
            find(&entry, depth + 1, files)?;
        }
    }
    if depth == 0 && files.len() == before {
        return Err(CommandError::usage(format!("there is no *.jsonl in {}", path.display()))
            .hint("record one with `golden record`"));
    }
    Ok(())
}
