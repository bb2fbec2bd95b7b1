//! Settings: the environment, an optional file, and flags that win over both.
//!
//! [`table`] lists every setting once; parsing, messages and the settings page come from it.

mod audit_key;
mod claude;
mod client;
mod database;
mod keys;
mod listen;
mod log;
mod openai;
mod page;
mod prices;
mod problem;
mod reader;
mod redis;
mod secret;
mod source;
pub mod table;
mod tls;
mod worker;

pub use claude::{AdapterSwitches, Claude};
pub use client::Client;
pub use database::Database;
pub use keys::{KeySource, WeightedKey, parse_keys};
pub use listen::{Access, Listen};
pub use log::Log;
pub use openai::OpenAi;
pub use page::settings_page;
pub use prices::over_builtin;
pub use problem::{ConfigError, Origin, Problem};
pub use secret::Secret;
pub use source::Sources;
pub use tls::CertificateFiles;
pub use worker::Worker;

use aos_core::llm::PriceBook;

use crate::audit::AuditKey;
use reader::Reader;
use source::Values;

/// Every setting, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the server listens.
    pub listen: Listen,
    /// The certificate that it shows; it speaks plain HTTP without one.
    pub tls: Option<CertificateFiles>,
    /// Where the state of record is kept.
    pub database: Database,
    /// The URL of a Redis, when there is one.
    pub redis: Option<Secret>,
    /// The Claude adapter.
    pub claude: Claude,
    /// The adapter for servers that speak OpenAI's chat completions.
    pub openai: OpenAi,
    /// What calls of models cost.
    pub prices: PriceBook,
    /// The operator's controls over adapters, as they stand at start.
    pub switches: AdapterSwitches,
    /// The in-process worker.
    pub worker: Worker,
    /// Logs and traces.
    pub log: Log,
    /// The server that client commands talk to, and the key they have for it.
    pub client: Client,
    /// What checkpoints of the audit log are signed with.
    pub audit_key: Option<AuditKey>,
    /// Oddities that do not stop the start (unknown keys), to be logged once logging works.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads settings from `sources` and from the file that `AOS_CONFIG` names.
    ///
    /// # Errors
    /// Every wrong setting at once.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(Values::merge(sources));
        let config = Self::read(&mut reader);
        let (problems, warnings) = reader.into_findings();
        match config {
            Some(config) if problems.is_empty() => Ok(Self { warnings, ..config }),
            _ => Err(ConfigError(problems)),
        }
    }

    /// Reads only what client commands need.
    ///
    /// # Errors
    /// What is wrong with these settings, or with the file that `AOS_CONFIG` names.
    pub fn load_client(sources: &Sources) -> Result<Client, ConfigError> {
        let mut reader = Reader::new(Values::merge(sources));
        let client = Client::read(&mut reader);
        client.ok_or_else(|| ConfigError(reader.into_findings().0))
    }

    fn read(reader: &mut Reader) -> Option<Self> {
        // Every part is read before the first `?`, so that all faults are found.
        let listen = Listen::read(reader);
        let tls = tls::read(reader);
        let database = Database::read(reader);
        let redis = redis::read(reader);
        let claude = Claude::read(reader);
        let openai = OpenAi::read(reader);
        let prices = prices::read(reader);
        let switches = AdapterSwitches::read(reader);
        let worker = Worker::read(reader);
        let log = Log::read(reader);
        let client = Client::read(reader);
        let audit_key = audit_key::read(reader);
        Some(Self {
            listen: listen?,
            tls: tls?,
            database: database?,
            redis: redis?,
            claude: claude?,
            openai: openai?,
            prices: prices?,
            switches: switches?,
            worker: worker?,
            log: log?,
            client: client?,
            audit_key: audit_key?,
            warnings: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests;
