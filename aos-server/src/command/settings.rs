//! Settings for commands: the environment, `--set`, and the flags that stand for settings.

use std::sync::Arc;

use aos_core::Failure;
use aos_core::registry::Registry;

use super::ui::{CommandError, Exit};
use crate::cli::{ServeArgs, Target};
use crate::config::{self, Config, ConfigError, Sources, table};
use crate::llm::{self, Surroundings};
use crate::skill;
use crate::telemetry::Metrics;

/// The environment of this process with what `--set` says.
pub fn sources(set: &[(String, String)]) -> Sources {
    let mut sources = Sources::from_process();
    sources.flags.extend(set.iter().cloned());
    sources
}

/// The settings of a server.
///
/// # Errors
/// Every wrong setting.
pub fn for_server(sources: Sources, args: &ServeArgs) -> Result<Config, ConfigError> {
    let db = args.db.as_deref().map(database_url);
    let sources = sources
        .flag(&table::HOST, args.host.as_deref())
        .flag(&table::PORT, args.port.as_deref())
        .flag(&table::DATABASE_URL, db);
    Config::load(&sources)
}

/// The settings of a worker without an API: it takes any free port for its health and metrics when none is set.
///
/// # Errors
/// Every wrong setting.
pub fn for_worker(sources: Sources, args: &ServeArgs) -> Result<Config, ConfigError> {
    let sources = sources.or_default(&table::PORT, "0");
    for_server(sources, args)
}

/// The settings of a command that listens nowhere: those about listening don't stop it.
///
/// # Errors
/// Every other wrong setting.
pub fn without_listening(sources: Sources, db: Option<&str>) -> Result<Config, CommandError> {
    let sources = sources
        .without(&[
            table::HOST,
            table::PORT,
            table::DRAIN_DELAY,
            table::ALLOW_INSECURE,
            table::TLS_CERT_FILE,
            table::TLS_KEY_FILE,
        ])
        .flag(&table::DATABASE_URL, db.map(database_url));
    Config::load(&sources).map_err(wrong)
}

/// The server that client commands talk to; other settings don't stop them.
///
/// # Errors
/// A URL that is none, or a key that can't be sent.
pub fn server(sources: Sources, target: &Target) -> Result<config::Client, CommandError> {
    Config::load_client(&sources.flag(&table::URL, target.url.as_deref())).map_err(wrong)
}

/// Wrong settings are wrong usage.
pub fn wrong(error: ConfigError) -> CommandError {
    CommandError::new(Exit::Usage, Failure::from(error)).hint("`aos-server doctor` checks every setting")
}

/// The URL that is meant: as it is, or that of a SQLite file. What looks like a URL is one: it may hold a password, and
/// must not be shown as the name of a file.
fn database_url(db: &str) -> String {
    if db.contains("://") || db.starts_with("sqlite:") { db.to_owned() } else { format!("sqlite://{db}") }
}

/// The skills that one-shot runs have: those of a server with the same settings.
///
/// # Errors
/// TLS that can't be set up on this machine; keys that can't be read.
pub fn skills(config: &Config) -> Result<Registry, CommandError> {
    let around = Surroundings::alone(Arc::new(config.prices.clone()), &Metrics::new()?);
    Ok(skill::registry(config, &llm::adapters(config, &around)?)?)
}
