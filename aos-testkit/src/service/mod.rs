//! Throw-away services for tests: a private Postgres, a pooler before it, a private Redis, a load balancer, a Prometheus and
//! an Alertmanager on free ports, with their data in a temporary directory; a Claude API; and what makes trouble for those
//! who use them: a proxy, a wrong clock.
//!
//! What is not installed is installed first, where that is possible; a test never passes because a service is missing.
//!
//! A service ends with the test process, however that ends: a small shell waits for the other end of a pipe to close.

#[cfg(feature = "claude")]
pub mod claude;
mod haproxy;
mod install;
mod pgbouncer;
mod postgres;
mod process;
mod prometheus;
mod proxy;
mod redis;
mod wrong_clock;

use std::fs::DirBuilder;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "claude")]
pub use claude::MockClaude;
pub use haproxy::Haproxy;
pub use pgbouncer::PgBouncer;
pub use postgres::{Database, Postgres};
pub use prometheus::{Alertmanager, Prometheus};
pub use proxy::{Proxy, Way};
pub use redis::Redis;
pub use wrong_clock::wrong_clock;

/// A program of a Debian package, which is installed when it is missing.
///
/// # Errors
/// A program that is not there and can't be installed.
pub fn program(name: &str, package: &str) -> io::Result<PathBuf> {
    install::ensure(&[package], || install::installed(name))
}

/// A port of 127.0.0.1 on which nothing listens now.
///
/// # Errors
/// What the system reports.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A new directory that other users may pass through, so that the `postgres` user reaches what is in it.
fn directory(name: &str) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("aos-test-{name}-{}-{number}", std::process::id()));
    DirBuilder::new().mode(0o711).create(&path)?;
    // Whatever the umask made of it.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o711))?;
    Ok(path)
}

/// Runs a command to its end; its output is in the error when it fails.
fn run(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        io::Error::new(error.kind(), format!("{} can't be started: {error}", command.get_program().display()))
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    Err(io::Error::other(format!("{command:?} failed ({}):\n{out}{err}", output.status)))
}

/// Does `command` (of a shell) and removes `directory` once this process has ended, however it ends.
fn at_the_end(command: &str, directory: &Path) -> io::Result<Child> {
    // Signals of the terminal are not for the shell: it outlives this process by a moment.
    let script = format!("trap '' INT TERM HUP; read -r _; {command}; rm -rf '{}'", directory.display());
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.spawn()
}
