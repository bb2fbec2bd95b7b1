//! A private Prometheus and a private Alertmanager, and the checks that come with each.

use std::fs;
use std::io;
use std::process::Command;

use super::process::Process;
use super::{directory, free_port, program, run};

/// A Prometheus of this process alone.
pub struct Prometheus {
    port: u16,
    _process: Process,
}

impl Prometheus {
    /// Starts it with this configuration. Names of files in it are absolute.
    ///
    /// # Errors
    /// Programs that are not there and can't be installed; a configuration that it refuses, with what it says.
    pub fn start(configuration: &str) -> io::Result<Self> {
        let directory = directory("prometheus")?;
        let (file, port) = (directory.join("prometheus.yml"), free_port()?);
        fs::write(&file, configuration)?;
        let mut command = Command::new(program("prometheus", "prometheus")?);
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        Ok(Self { port, _process: Process::start(&mut command, &directory, port)? })
    }

    /// Its URL, `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What `promtool` prints.
    ///
    /// # Errors
    /// Programs that are not there and can't be installed; what `promtool` has found wrong.
    pub fn promtool(args: &[&str]) -> io::Result<String> {
        run(Command::new(program("promtool", "prometheus")?).args(args))
    }
}

/// An Alertmanager of this process alone.
pub struct Alertmanager {
    port: u16,
    _process: Process,
}

impl Alertmanager {
    /// Starts it with this configuration. Names of files in it are absolute.
    ///
    /// # Errors
    /// As [`Prometheus::start`].
    pub fn start(configuration: &str) -> io::Result<Self> {
        let directory = directory("alertmanager")?;
        let (file, port) = (directory.join("alertmanager.yml"), free_port()?);
        fs::write(&file, configuration)?;
        let mut command = Command::new(program("prometheus-alertmanager", "prometheus-alertmanager")?);
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.path={}", directory.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        // There is one of it.
        command.arg("--cluster.listen-address=");
        Ok(Self { port, _process: Process::start(&mut command, &directory, port)? })
    }

    /// Its URL, `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What `amtool` prints.
    ///
    /// # Errors
    /// Programs that are not there and can't be installed; what `amtool` has found wrong.
    pub fn amtool(args: &[&str]) -> io::Result<String> {
        run(Command::new(program("amtool", "prometheus-alertmanager")?).args(args))
    }
}
