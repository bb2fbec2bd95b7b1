//! Runs the runbook, from its first command to its last, against real processes: those of `docker-compose.yml`, with a
//! Postgres, a Redis and a provider of this test's own. What is executed is what an operator types; only ports differ.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]
#![cfg(unix)]

#[path = "../docs_support/mod.rs"]
mod docs_support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use aos_testkit::service::claude::MockClaude;
use aos_testkit::service::{self, Postgres, Redis};
use docs_support::{blocks, run};
use tempfile::TempDir;

const PAGE: &str = "docs/src/runbook.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn page() -> String {
    fs::read_to_string(root().join(PAGE)).unwrap()
}

/// Processes that are left when the shell has ended.
struct Deployment {
    state: TempDir,
}

impl Drop for Deployment {
    fn drop(&mut self) {
        for service in ["backend", "worker"] {
            if let Ok(pid) = fs::read_to_string(self.state.path().join(format!("{service}.pid"))) {
                let _ = Command::new("kill").args(["-KILL", pid.trim()]).status();
            }
        }
    }
}

#[test]
fn every_command_does_what_the_page_says() {
    // A database user of its own, so that the lines of the page work as they stand; a password is not asked for.
    let postgres = Postgres::start(&[]).unwrap();
    postgres.sql("postgres", "CREATE ROLE nova SUPERUSER LOGIN").unwrap();
    postgres.sql("postgres", "CREATE DATABASE nova_aos OWNER nova").unwrap();
    let (redis, claude) = (Redis::start(&[]).unwrap(), MockClaude::start().unwrap());
    claude.add_key("new", "sk-ant-new-key");
    let deployment = Deployment { state: tempfile::tempdir().unwrap() };
    let state = deployment.state.path();
    let (place, bin, logs) = (state.join("place"), state.join("bin"), state.join("logs"));
    for directory in [&place, &bin, &logs] {
        fs::create_dir(directory).unwrap();
    }
    for name in ["docs", "aos-testkit", "docker-compose.yml"] {
        symlink(root().join(name), place.join(name)).unwrap();
    }
    let aos = Path::new(env!("CARGO_BIN_EXE_aos-server"));
    symlink(aos, bin.join("aos-server")).unwrap();
    let docker = bin.join("docker");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runbook/docker"), &docker).unwrap();
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
    let port = service::free_port().unwrap().to_string();
    let (postgres_port, redis_port) = (postgres.port().to_string(), redis.port().to_string());
    let url = format!("http://127.0.0.1:{port}");
    let replaced = |script: &str| {
        script
            .replace("http://localhost:8000", &url)
            .replace("-p 5433", &format!("-p {postgres_port}"))
            .replace("localhost:5433", &format!("localhost:{postgres_port}"))
            .replace("redis-cli -h localhost", &format!("redis-cli -h 127.0.0.1 -p {redis_port}"))
            .replace("/var/log/aos", logs.to_str().unwrap())
    };
    let mut path: Vec<PathBuf> = vec![bin.clone(), service::program("jq", "jq").unwrap().parent().unwrap().into()];
    path.push(PathBuf::from(postgres.client("psql").get_program()).parent().unwrap().into());
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    let mut bash = Command::new("bash");
    bash.current_dir(&place)
        .env_clear()
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("HOME", state)
        .env("USER", "ada")
        .env("ANTHROPIC_API_KEY", claude.key())
        .env("RUNBOOK_STATE", state)
        .env("RUNBOOK_LOGS", &logs)
        .env("RUNBOOK_AOS", aos)
        .env("RUNBOOK_PORT", &port)
        .env("RUNBOOK_POSTGRES", &postgres_port)
        .env("RUNBOOK_REDIS", &redis_port)
        .env("RUNBOOK_PROVIDER", claude.base_url());
    let page = page();
    let blocks = blocks(&page);
    assert!(blocks.len() > 20, "the runbook has lost its commands: {}", blocks.len());
    let says_nothing = |expected: &String| expected.trim_matches('…').is_empty();
    let silent: Vec<_> = blocks.iter().filter(|b| b.expected.iter().all(says_nothing)).map(|b| b.line).collect();
    assert!(silent.is_empty(), "nobody says what the commands at these lines print: {silent:?}");
    run(PAGE, &blocks, replaced, &mut bash);
}

/// Whoever is woken by an alert finds what to do.
#[test]
fn every_alert_has_its_section() {
    let page = page();
    let anchors: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### ").or_else(|| line.strip_prefix("## ")))
        .map(|title| title.to_lowercase().replace(' ', "-").replace(['`', ',', '\''], ""))
        .collect();
    let rules = fs::read_to_string(root().join("aos-server/deploy/prometheus/rules/alerts.yml")).unwrap();
    let linked: BTreeSet<_> = rules.lines().filter_map(|line| line.split_once("runbook.md#")).map(|(_, a)| a).collect();
    assert!(linked.len() >= 15, "{linked:?}");
    let missing: Vec<_> = linked.iter().filter(|anchor| !anchors.contains(**anchor)).collect();
    assert!(missing.is_empty(), "{missing:?} in {anchors:?}");
}
