//! A private Postgres.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::install::{ensure, is_root, on_path};
use super::{at_the_end, directory, free_port, run};

/// A Postgres server of this process alone: user `aos`, no password, on a port of 127.0.0.1.
pub struct Postgres {
    programs: PathBuf,
    directory: PathBuf,
    port: u16,
    next: AtomicU64,
    /// Stops the server when the pipe to it closes.
    _end: Child,
}

/// A database of a [`Postgres`].
#[derive(Clone, Debug)]
pub struct Database {
    /// `postgres://aos@127.0.0.1:port/name`.
    pub url: String,
    /// Its name.
    pub name: String,
}

impl Postgres {
    /// The server that all tests of this process share, with `fsync` off: the machine will not lose power.
    ///
    /// # Panics
    /// When there is no Postgres and none can be installed or started: a test must not pass without one.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| {
            let started = Self::start(&["fsync=off", "synchronous_commit=on", "max_connections=400"]);
            #[expect(clippy::panic, reason = "a test without its service has to fail")]
            started.unwrap_or_else(|error| panic!("no Postgres for the tests: {error}"))
        })
    }

    /// Starts a server with these settings (`name=value`) beside the usual ones.
    ///
    /// # Errors
    /// Programs that are not there and can't be installed; a server that doesn't start, with its log.
    pub fn start(settings: &[&str]) -> io::Result<Self> {
        let programs = ensure(&["postgresql"], programs)?;
        let directory = directory("postgres")?;
        let port = free_port()?;
        let data = directory.join("data");
        let log = directory.join("log");
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&directory))?;
        }
        let mut initdb = as_postgres(&programs.join("initdb"));
        run(initdb.arg("-D").arg(&data).args([
            "-U",
            "aos",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]))?;
        let mut options =
            format!("-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='{}'", directory.display());
        for setting in settings {
            options.push_str(&format!(" -c {setting}"));
        }
        let mut start = as_postgres(&programs.join("pg_ctl"));
        start.arg("-D").arg(&data).arg("-l").arg(&log).args(["-s", "-w", "-o", &options, "start"]);
        if let Err(error) = start_detached(&mut start) {
            let log = fs::read_to_string(&log).unwrap_or_default();
            return Err(io::Error::other(format!("{error}\n{log}")));
        }
        let file = data.join("postmaster.pid");
        let stop = format!("p=$(head -1 '{}'); kill -QUIT $p; while kill -0 $p; do sleep 0.05; done", file.display());
        Ok(Self { programs, _end: at_the_end(&stop, &directory)?, directory, port, next: AtomicU64::new(0) })
    }

    /// A new, empty database.
    ///
    /// # Errors
    /// What `createdb` reports.
    pub fn database(&self) -> io::Result<Database> {
        let name = format!("test_{}", self.next.fetch_add(1, Ordering::Relaxed));
        run(self.client("createdb").arg(&name))?;
        Ok(Database { url: format!("postgres://aos@127.0.0.1:{}/{name}", self.port), name })
    }

    /// What `psql` prints for some SQL in a database, unaligned and without headings.
    ///
    /// # Errors
    /// What `psql` reports.
    pub fn sql(&self, database: &str, sql: &str) -> io::Result<String> {
        run(self.client("psql").args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql]))
    }

    /// Stops the server, as `mode` of `pg_ctl` says (`smart`, `fast` or `immediate`), and starts it again.
    ///
    /// # Errors
    /// What `pg_ctl` reports.
    pub fn restart(&self, mode: &str) -> io::Result<()> {
        let mut restart = as_postgres(&self.programs.join("pg_ctl"));
        restart.arg("-D").arg(self.directory.join("data")).arg("-l").arg(self.directory.join("log"));
        start_detached(restart.args(["-s", "-w", "-m", mode, "restart"]))
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A client program that connects to this server.
    pub fn client(&self, program: &str) -> Command {
        let mut client = Command::new(self.programs.join(program));
        client.args(["-h", "127.0.0.1", "-U", "aos", "-p"]).arg(self.port.to_string());
        client
    }
}

/// The directory of the newest installed version's programs.
fn programs() -> Option<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").ok().into_iter().flatten().flatten();
    let debian = installed
        .filter_map(|version| Some((version.file_name().to_str()?.parse::<u32>().ok()?, version.path().join("bin"))))
        .filter(|(_, programs)| programs.join("initdb").is_file())
        .max();
    debian.map(|(_, programs)| programs).or_else(|| on_path("initdb")?.parent().map(Path::to_owned))
}

/// A command of a user that Postgres accepts: it refuses to be run by root.
pub(super) fn as_postgres(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program).current_dir("/");
    command
}

/// Runs a command that leaves a server behind, which must not inherit a pipe that somebody reads to its end.
fn start_detached(command: &mut Command) -> io::Result<()> {
    use std::process::Stdio;
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?} failed ({status})"))) }
}
