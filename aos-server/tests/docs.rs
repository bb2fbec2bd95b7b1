//! Runs the shell commands of the README and of pages of the book, in order, against a real server.
//!
//! A `sh` block is run by bash. The `text` block that follows it, if any, lists lines that its output has, in this
//! order: `…` stands for anything within a line, and `<hash>` for the same 64 hex digits wherever it stands on a page.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]
#![cfg(unix)]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use aos_testkit::service::claude::MockClaude;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_aos-server");
const SERVE: &str = "cargo run --release -p aos-server";
const MARK: &str = "@@@ block";

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
    check("docs/src/security.md");
}

#[test]
fn schedules() {
    check("docs/src/schedules.md");
}

/// A block of commands, and the lines that its output must have.
#[derive(Debug, Default)]
struct Block {
    script: String,
    expected: Vec<String>,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut fence: Option<String> = None;
    // Whether nothing but text has stood between a block of commands and here.
    let mut may_expect = false;
    for line in page.lines() {
        match (&fence, line.strip_prefix("```")) {
            (None, Some(language)) => {
                match language {
                    "sh" => blocks.push(Block::default()),
                    "text" => {}
                    _ => may_expect = false,
                }
                fence = Some(language.to_owned());
            }
            (Some(language), Some(_)) => {
                may_expect = language == "sh";
                fence = None;
            }
            (Some(language), None) if language == "sh" => {
                let block = blocks.last_mut().unwrap();
                block.script.push_str(line);
                block.script.push('\n');
            }
            (Some(language), None) if language == "text" && may_expect => {
                blocks.last_mut().unwrap().expected.push(line.trim().to_owned());
            }
            _ => {}
        }
    }
    blocks
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
    let mut script = String::from("exec 2>&1\n");
    for block in &blocks {
        let commands = block
            .script
            .replace(SERVE, "true")
            .replace("target/release/aos-server", BINARY)
            .replace("http://127.0.0.1:8000", &server.url);
        assert!(!commands.contains(":8000"), "{page}: an address that this test doesn't replace: {commands}");
        write!(script, "echo '{MARK}'\n{commands}\necho\n").unwrap();
    }
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(place.path())
        .env("AOS_URL", &server.url)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let outputs: Vec<_> = output.split(&format!("{MARK}\n")).skip(1).collect();
    assert_eq!(outputs.len(), blocks.len(), "{output}");
    let mut hash = None;
    for (block, output) in blocks.iter().zip(outputs) {
        let mut lines = output.lines();
        for expected in &block.expected {
            let found = lines.by_ref().any(|line| fits(line, expected, &mut hash));
            assert!(found, "{page}: after\n{}\n{expected:?} is not, or not in this place, in\n{output}", block.script);
        }
    }
}

/// Whether the line has the parts between the `…` of `expected`, in this order.
fn fits(line: &str, expected: &str, hash: &mut Option<String>) -> bool {
    let mut rest = line;
    for part in expected.split('…') {
        let (before, after) = part.split_once("<hash>").map_or((part, None), |(b, a)| (b, Some(a)));
        let Some(at) = rest.find(before) else { return false };
        rest = &rest[at + before.len()..];
        let Some(after) = after else { continue };
        let Some(found) = rest.get(..64).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit())) else {
            return false;
        };
        if hash.get_or_insert_with(|| found.to_owned()) != found || !rest[64..].starts_with(after) {
            return false;
        }
        rest = &rest[64 + after.len()..];
    }
    true
}
