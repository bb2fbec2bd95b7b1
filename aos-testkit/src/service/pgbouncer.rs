//! A private PgBouncer.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::install::{ensure, installed};
use super::postgres::{Database, Postgres, as_postgres};
use super::process::Process;
use super::{directory, free_port};

/// A pooler of this process alone before a [`Postgres`], in transaction mode.
pub struct PgBouncer {
    port: u16,
    _process: Process,
}

impl PgBouncer {
    /// Starts a pooler before `postgres` with these settings (`name=value`) beside the usual ones; it is told of every
    /// database there is or will be.
    ///
    /// # Errors
    /// Programs that are not there and can't be installed; a pooler that doesn't start, with its log.
    pub fn start(postgres: &Postgres, settings: &[&str]) -> io::Result<Self> {
        let program = ensure(&["pgbouncer"], || installed("pgbouncer"))?;
        let (directory, port) = (directory("pgbouncer")?, free_port()?);
        let file: PathBuf = directory.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=aos\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
             max_client_conn = 2000\n{}\n",
            postgres.port(),
            settings.join("\n")
        );
        fs::write(&file, text)?;
        // It refuses to be run by root, as Postgres does.
        let mut command = as_postgres(&program);
        let process = Process::start(command.arg(&file), &directory, port)?;
        Ok(Self { port, _process: process })
    }

    /// How a database is reached through it.
    pub fn url(&self, database: &Database) -> String {
        format!("postgres://aos@127.0.0.1:{}/{}", self.port, database.name)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
}
