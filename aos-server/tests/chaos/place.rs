//! Where a chaos test keeps its data, and how to repeat it when it fails.

use std::path::PathBuf;

use tempfile::TempDir;

/// A directory. When the test fails, it is kept, and how to repeat the test is said.
pub struct Place {
    directory: TempDir,
    again: String,
    now: String,
}

impl Place {
    /// A new directory; `again` is the command that repeats the test.
    pub fn new(again: String) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), again, now: "the start".into() }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Says what is being done.
    pub fn now(&mut self, what: String) {
        self.now = what;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.directory.disable_cleanup(true);
            let Self { directory, again, now } = self;
            eprintln!("at {now}; the data is in {}; to repeat it:\n{again} -- --nocapture", directory.path().display());
        }
    }
}

/// A number from the environment.
pub fn setting(key: &str, default: u64) -> u64 {
    match std::env::var(key) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{key} is {text:?}: expected a number")),
        Err(_) => default,
    }
}
