//! `doctor`: checks that a server would start here and do its work, and says what to do if not.

mod database;
mod determinism;
mod postgres;
mod redis;

use std::net::TcpListener;
use std::path::Path;
use std::time::SystemTime;

use aos_core::Failure;
use serde::Serialize;

use super::settings;
use super::ui::{self, CommandResult, Exit, Ui, styled};
use crate::cli::ServeArgs;
use crate::config::{Config, ConfigError, Database, Listen, Sources};
use crate::skill;

/// 2025-01-01: a machine with an earlier date has no time.
const EARLIEST_S: u64 = 1_735_689_600;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    level: Level,
    /// What was found.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Ok,
    Warning,
    Error,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, level: Level::Ok, found: found.into(), advice: None, exit: Exit::Yes }
    }

    fn warning(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Warning, advice: Some(advice.into()), ..Self::ok(name, found) }
    }

    fn error(name: &'static str, exit: Exit, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Error, advice: Some(advice.into()), exit, ..Self::ok(name, found) }
    }
}

pub async fn run(ui: &Ui, sources: Sources, args: &ServeArgs) -> CommandResult {
    let mut checks = Vec::new();
    match settings::for_server(sources, args) {
        Ok(config) => {
            checks.push(Check::ok("settings", "every setting is well-formed"));
            let advice = "correct the name, or unset it";
            checks.extend(config.warnings.iter().map(|warning| Check::warning("settings", warning.as_str(), advice)));
            match &config.database {
                Database::Sqlite(path) => {
                    checks.push(directory(path));
                    checks.push(database::check(path));
                }
                Database::Postgres(url) => checks.push(postgres::check(url).await),
            }
            if let Some(url) = &config.redis {
                checks.push(redis::check(url).await);
            }
            checks.push(port(&config.listen));
            checks.push(adapters(&config));
            checks.push(http_call(&config));
        }
        Err(ConfigError(problems)) => checks.extend(problems.iter().map(|problem| {
            let advice = problem
                .example
                .as_ref()
                .map_or_else(|| "unset it".to_owned(), |example| format!("for example {example}"));
            Check::error(
                "settings",
                Exit::Usage,
                format!("{} ({}): {}", problem.key, problem.origin, problem.fault),
                advice,
            )
        })),
    }
    checks.push(clock());
    checks.push(match determinism::check().await {
        Ok(found) => Check::ok("determinism", found),
        Err(found) => {
            Check::error("determinism", Exit::No, found, "do not trust this build on this machine; please report it")
        }
    });
    ui.result(&checks, |out| {
        for check in &checks {
            let mark = match check.level {
                Level::Ok => styled(ui::GOOD, "✓"),
                Level::Warning => styled(ui::WARN, "!"),
                Level::Error => styled(ui::BAD, "✗"),
            };
            writeln!(out, "{mark} {}: {}", check.name, check.found)?;
            if let Some(advice) = &check.advice {
                writeln!(out, "  {}", styled(ui::DIM, format!("→ {advice}")))?;
            }
        }
        Ok(())
    })?;
    Ok(checks.iter().map(|check| check.exit).max().unwrap_or(Exit::Yes))
}

/// Whether files can be made where the data is to be.
fn directory(database: &Path) -> Check {
    let parent = database.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A directory that is missing is made by the server: then its nearest parent must be writable.
    let Some(there) = parent.ancestors().map(or_here).find(|path| path.exists()) else {
        return Check::error(
            "data directory",
            Exit::Unreachable,
            format!("{} does not exist", parent.display()),
            "create it",
        );
    };
    let probe = there.join(format!(".aos-doctor-{}", std::process::id()));
    let written = std::fs::OpenOptions::new().write(true).create_new(true).open(&probe);
    let _ = std::fs::remove_file(&probe);
    match written {
        Ok(_) if there == parent => Check::ok("data directory", format!("{} is writable", parent.display())),
        Ok(_) => Check::ok("data directory", format!("{} will be created", parent.display())),
        Err(e) => Check::error(
            "data directory",
            Exit::Unreachable,
            format!("nothing can be written in {}: {e}", there.display()),
            "give the server's user the right to write there, or set DATABASE_URL to another place",
        ),
    }
}

fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

fn port(listen: &Listen) -> Check {
    let address = listen.address();
    match TcpListener::bind(address) {
        Ok(_) => Check::ok("port", format!("{address} is free")),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => Check::warning(
            "port",
            format!("{address} is taken, perhaps by a server that runs already"),
            "ask it with `aos-server runs list`, or start with another --port",
        ),
        Err(e) => Check::error(
            "port",
            Exit::Usage,
            format!("{address} can't be listened on: {e}"),
            "set HOST and PORT to an address of this machine",
        ),
    }
}

fn adapters(config: &Config) -> Check {
    let (key, switches) = (config.claude.api_key.is_some(), config.switches);
    let found = match (key, switches.disable_live, switches.force_stub) {
        (_, _, true) => "every model call goes to the stub (FORCE_STUB_ADAPTER)",
        (_, true, false) => "live adapters are switched off (DISABLE_LIVE_ADAPTERS); the stub answers",
        (false, false, false) => "no API key is set; the stub answers",
        (true, false, false) => "an API key is set",
    };
    Check::ok("models", found)
}

fn http_call(config: &Config) -> Check {
    match skill::http_call::HttpCall::new(config.worker.http_allow.clone()) {
        Ok(_) => Check::ok("http_call", "TLS is set up"),
        Err(Failure { message, .. }) => Check::error(
            "http_call",
            Exit::No,
            message,
            "install the system's CA certificates (package ca-certificates)",
        ),
    }
}

fn clock() -> Check {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if seconds >= EARLIEST_S {
        return Check::ok("clock", format!("it is {}", crate::clock::now()));
    }
    Check::warning("clock", format!("it is {}, which can't be", crate::clock::now()), "set the machine's clock")
}
