//! Backups as an operator makes them, by the commands that a cron job or a runbook has, word for word: what is restored
//! from them is whole, and runs that were under way go on to the ends that undisturbed ones come to.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod ledger;
#[path = "../operator_support/mod.rs"]
mod operator_support;
mod postgres;
mod runs;
mod sqlite;

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// What the book tells operators to do.
const PAGE: &str = include_str!("../../../docs/src/deployment.md");

/// A directory in which commands are given.
struct Place {
    directory: TempDir,
    /// Where programs are looked for first.
    programs: PathBuf,
    /// What commands have, and what is said instead.
    instead: Vec<(&'static str, String)>,
}

impl Place {
    fn new(programs: &Path, instead: Vec<(&'static str, String)>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("backup")).unwrap();
        Self { directory, programs: programs.to_owned(), instead }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Does what a line says; gives what it prints, with what it complains about.
    fn line(&self, line: &str) -> (String, String) {
        let line = self.instead.iter().fold(line.to_owned(), |line, (before, after)| line.replace(before, after));
        let server = Path::new(env!("CARGO_BIN_EXE_aos-server")).parent().unwrap();
        let path = format!("{}:{}:{}", self.programs.display(), server.display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        let done = shell.args(["-c", &line]).current_dir(self.directory.path()).env("PATH", path).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(done.status.success(), "{line}: {}", text(&done.stderr));
        (text(&done.stdout), text(&done.stderr))
    }
}
