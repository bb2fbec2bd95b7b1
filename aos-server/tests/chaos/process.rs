//! The real server process: started on a directory, killed, started again.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

pub struct Server {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: Log,
}

/// What a server has written, to the end of its life and beyond.
type Log = Arc<Mutex<Vec<String>>>;

impl Server {
    /// Starts the binary; it does not answer yet.
    pub fn spawn(directory: &Path, ledger: SocketAddr) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_aos-server"))
            .args(["serve", "--port", "0"])
            .current_dir(directory)
            .env_clear()
            .env("AOS_HTTP_ALLOW", ledger.to_string())
            .env("LOG_LEVEL", "error,aos_server::command::serve=info")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let log = Log::default();
        let (err, kept) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        // Read to the end, so that the server never waits for a reader.
        std::thread::spawn(move || {
            for line in err.lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line.clone());
                let _ = sender.send(line);
            }
        });
        Self { child, lines, log }
    }

    /// Waits until it listens; gives its URL.
    pub fn url(&self) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(60));
            let line = line.unwrap_or_else(|error| panic!("the server does not start ({error}):\n{}", self.log()));
            if let Some((_, url)) = line.split_once("listening on ") {
                return url.trim().to_owned();
            }
        }
    }

    /// Kills it without warning. It must have been alive until then, and without an error.
    pub fn kill(mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "the server ended by itself ({ended:?}):\n{}", self.log());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let log = self.log();
        assert!(!log.contains("ERROR") && !log.contains("panicked"), "the server had an error:\n{log}");
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
