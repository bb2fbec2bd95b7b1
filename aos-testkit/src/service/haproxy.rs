//! A private HAProxy.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use super::install::{ensure, installed};
use super::process::Process;
use super::{directory, run};

/// A load balancer of this process alone.
pub struct Haproxy {
    _process: Process,
}

impl Haproxy {
    /// Starts a load balancer with this configuration, which has it listen on `port` of 127.0.0.1.
    ///
    /// # Errors
    /// Programs that are not there and can't be installed; a configuration that it refuses, with what it says.
    pub fn start(configuration: &str, port: u16) -> io::Result<Self> {
        let directory = directory("haproxy")?;
        let file = directory.join("haproxy.cfg");
        fs::write(&file, configuration)?;
        let process = Process::start(Command::new(program()?).arg("-f").arg(&file), &directory, port)?;
        Ok(Self { _process: process })
    }

    /// Has a configuration checked without starting anything.
    ///
    /// # Errors
    /// Programs that are not there and can't be installed; a configuration with which something is wrong, be it only a
    /// warning, with what is said about it.
    pub fn check(configuration: &str) -> io::Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), configuration)?;
        run(Command::new(program()?).args(["-c", "-dW", "-f"]).arg(file.path())).map(drop)
    }
}

fn program() -> io::Result<PathBuf> {
    ensure(&["haproxy"], || installed("haproxy"))
}
