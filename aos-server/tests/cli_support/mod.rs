//! Runs the real binary in a directory of its own, with an environment of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod server;

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A directory in which commands run.
pub struct Place(TempDir);

/// What a command did.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn root(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), content).unwrap();
        name.to_owned()
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The binary, ready to be started here.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aos-server"));
        command.args(args).current_dir(self.0.path()).env_clear();
        // A server that does not exist, so that no test talks to one that happens to run on this machine.
        command.env("AOS_URL", "http://127.0.0.1:1");
        command
    }

    /// Runs the binary to its end.
    pub fn aos<S: AsRef<OsStr>>(&self, args: &[S]) -> Done {
        run(&mut self.command(args), b"")
    }

    /// Runs the binary to its end, with something on standard input.
    pub fn aos_with<S: AsRef<OsStr>>(&self, args: &[S], stdin: impl AsRef<[u8]>) -> Done {
        run(&mut self.command(args), stdin.as_ref())
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command, stdin: &[u8]) -> Done {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that doesn't read its input closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Done {
    /// Checks the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    /// Checks that standard error says something.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "{text:?} is not in stderr: {}", self.err);
        self
    }

    /// Checks that standard output has something.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.out.contains(text), "{text:?} is not in stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}\nstderr: {}", self.out, self.err))
    }

    /// Standard error as JSON.
    #[track_caller]
    pub fn error(&self) -> Value {
        let error: Value = serde_json::from_str(&self.err).unwrap_or_else(|e| panic!("{e}: {}", self.err));
        error["error"].clone()
    }
}
