//! A server that stays in the foreground, and ends when it is dropped or with this process.

use std::fs::{self, File};
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::at_the_end;

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server.
pub(super) struct Process {
    server: Child,
    /// Holds its number while it lives.
    file: PathBuf,
    /// Kills it when the pipe to it closes.
    _end: Child,
}

impl Process {
    /// Starts a server that listens on `port` of 127.0.0.1, and waits until it does. `directory` is its own.
    pub(super) fn start(command: &mut Command, directory: &Path, port: u16) -> io::Result<Self> {
        let (file, log) = (directory.join("pid"), directory.join("log"));
        let end = at_the_end(&format!("kill -KILL $(cat '{}')", file.display()), directory)?;
        let out = File::create(&log)?;
        let server = command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn()?;
        let mut process = Self { server, file, _end: end };
        fs::write(&process.file, process.server.id().to_string())?;
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = process.server.try_wait()?;
            if ended.is_some() || began.elapsed() > PATIENCE {
                let how =
                    ended.map_or_else(|| format!("does not listen on {port}"), |status| format!("ended ({status})"));
                let log = fs::read_to_string(&log).unwrap_or_default();
                return Err(io::Error::other(format!("{} {how}:\n{log}", command.get_program().display())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        // Nobody may be killed who has got the same number since.
        let _ = fs::remove_file(&self.file);
    }
}
