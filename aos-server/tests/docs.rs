//! Runs the shell commands of the README and of pages of the book, in order, against a real server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]
#![cfg(unix)]

mod docs_support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use aos_testkit::service::claude::MockClaude;
use aos_testkit::service::program;
use docs_support::{blocks, run};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_aos-server");
const SERVE: &str = "cargo run --release -p aos-server";

#[test]
fn readme() {
    check("README.md");
}

#[test]
fn getting_started_with_the_server() {
    check("docs/src/getting-started-server.md");
}

/// With a provider, since the page is about one.
#[test]
fn models() {
    let claude = MockClaude::start().unwrap();
    claude.add_key("new", "sk-ant-new-key");
    let place = place();
    std::fs::write(place.path().join("anthropic.key"), format!("{}\n", claude.key())).unwrap();
    std::fs::write(place.path().join("new.key"), "sk-ant-new-key\n").unwrap();
    let provider = claude.base_url();
    let settings = [("ANTHROPIC_API_KEY_FILE", "anthropic.key"), ("ANTHROPIC_BASE_URL", &*provider)];
    execute("docs/src/models.md", &place, &settings);
}

#[test]
fn money() {
    check("docs/src/money.md");
}

#[test]
fn agents() {
    check("docs/src/agents.md");
}

#[test]
fn security() {
    for name in ["openssl", "jq"] {
        program(name, name).unwrap();
    }
    check("docs/src/security.md");
}

#[test]
fn schedules() {
    check("docs/src/schedules.md");
}

struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(directory: &Path, settings: &[(&str, &str)]) -> Self {
        let mut process = Command::new(BINARY)
            .current_dir(directory)
            .env_clear()
            .env("PORT", "0")
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let url = log
            .by_ref()
            .find_map(|line| line.unwrap().split_once("listening on ").map(|(_, url)| url.trim().to_owned()))
            .unwrap();
        // A full pipe would stop the server.
        std::thread::spawn(move || log.for_each(drop));
        Self { process, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn check(page: &str) {
    execute(page, &place(), &[]);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A directory that looks like the repository's to commands.
fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    for name in ["docs", "aos-testkit"] {
        std::os::unix::fs::symlink(root().join(name), place.path().join(name)).unwrap();
    }
    place
}

fn execute(page: &str, place: &TempDir, settings: &[(&str, &str)]) {
    let blocks = blocks(&std::fs::read_to_string(root().join(page)).unwrap());
    assert!(blocks.len() > 3, "{page} has lost its commands");
    let server = Server::start(place.path(), settings);
    let replaced = |script: &str| {
        let commands = script
            .replace(SERVE, "true")
            .replace("target/release/aos-server", BINARY)
            .replace("http://127.0.0.1:8000", &server.url);
        assert!(!commands.contains(":8000"), "{page}: an address that this test doesn't replace: {commands}");
        commands
    };
    let mut bash = Command::new("bash");
    bash.current_dir(place.path()).env("AOS_URL", &server.url);
    run(page, &blocks, replaced, &mut bash);
}
