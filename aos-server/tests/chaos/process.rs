//! The real binary as a process: started, stopped and let go on, killed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

pub struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: Log,
}

/// What a process has written, to the end of its life and beyond.
type Log = Arc<Mutex<Vec<String>>>;

/// A command of the binary that listens on a free port, with nothing in its environment but what it takes to log.
pub fn aos(command: &str) -> Command {
    let mut aos = Command::new(env!("CARGO_BIN_EXE_aos-server"));
    aos.args([command, "--port", "0"]).env_clear().env("LOG_LEVEL", "warn,aos_server::command=info");
    aos
}

impl Process {
    /// Starts a command; it does not answer yet.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let log = Log::default();
        let (err, kept) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        // Read to the end, so that the process never waits for a reader.
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
            let line = line.unwrap_or_else(|error| panic!("the process does not start ({error}):\n{}", self.log()));
            if let Some((_, address)) = line.split_once(" on http://") {
                return format!("http://{}", address.trim());
            }
        }
    }

    /// Stops it, with all its threads.
    pub fn stop(&self) {
        self.signal("STOP");
        // The signal stops one thread, which stops the others when it gets to run.
        while !self.threads().all(|state| state == "T") {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "{name} could not be sent");
    }

    /// The state of each of its threads, as the kernel abbreviates it.
    fn threads(&self) -> impl Iterator<Item = String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        tasks.filter_map(|task| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).ok()?;
            // After the name, which may hold anything.
            Some(stat.rsplit(") ").next()?.split(' ').next()?.to_owned())
        })
    }

    /// Kills it without warning; gives what it has written. It must have been alive until then, and sane.
    pub fn kill(mut self) -> String {
        self.check();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log()
    }

    /// Checks that it is alive and sane.
    pub fn check(&mut self) {
        let (ended, log) = (self.child.try_wait().unwrap(), self.log());
        assert!(ended.is_none(), "the process ended by itself ({ended:?}):\n{log}");
        assert!(!log.contains("panicked"), "the process panicked:\n{log}");
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
