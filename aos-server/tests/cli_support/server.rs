//! The real server, on a port of its own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Done, Place, run};

/// A server that runs until it is dropped.
pub struct Server {
    pub child: Child,
    pub url: String,
    pub first_screen: String,
    pub place: Place,
}

impl Server {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// One that is started with these arguments.
    pub fn with(args: &[&str]) -> Self {
        let place = Place::new();
        let (child, url, first_screen) = start(&place, args);
        Self { child, url, first_screen, place }
    }

    /// Runs a client command against it.
    pub fn aos(&self, args: &[&str]) -> Done {
        self.place.aos(&[args, &["--url", &self.url][..]].concat())
    }

    /// Creates a run of an inline definition.
    pub fn create(&self, definition: Value, input: Value) -> String {
        let body = json!({"workflow": definition, "input": input}).to_string();
        let url = format!("{}/v1/runs", self.url);
        let done =
            curl(&["-sS", "--fail-with-body", &url, "-H", "content-type: application/json", "-d", &body]).exits(0);
        done.json()["id"].as_str().unwrap().to_owned()
    }

    /// Ends it as an operator does; gives its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[allow(clippy::zombie_processes, reason = "a test that fails here ends anyway")]
pub fn start(place: &Place, args: &[&str]) -> (Child, String, String) {
    let mut command = place.command(&[&["serve", "--port", "0"][..], args].concat());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = mpsc::channel();
    let err = BufReader::new(child.stderr.take().unwrap());
    // Read to the end, so that the server never waits for a reader.
    std::thread::spawn(move || err.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
    let mut screen = String::new();
    loop {
        let line = lines.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|e| panic!("{e} after:\n{screen}"));
        screen = format!("{screen}{line}\n");
        if line.contains("curl ") {
            let after = screen.split("http://127.0.0.1:").nth(1).unwrap();
            let port: String = after.chars().take_while(char::is_ascii_digit).collect();
            return (child, format!("http://127.0.0.1:{port}"), screen);
        }
    }
}

fn curl(args: &[&str]) -> Done {
    run(Command::new("curl").args(args), b"")
}
