//! What the runs act upon: a small HTTP server that counts requests by path and idempotency key, and is never killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a path was asked under a key.
pub type Counts = BTreeMap<String, BTreeMap<String, u32>>;

pub struct Ledger {
    pub address: SocketAddr,
    counts: Arc<Mutex<Counts>>,
}

impl Ledger {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::<Mutex<Counts>>::default();
        let seen = Arc::clone(&counts);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&seen);
                // An error means that the server was killed in the middle of a request.
                std::thread::spawn(move || answer(&stream, &seen));
            }
        });
        Self { address, counts }
    }

    /// What has been asked since the last call.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut self.counts.lock().unwrap())
    }
}

fn answer(stream: &TcpStream, counts: &Mutex<Counts>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (path, key) = read(&mut reader)?;
        *counts.lock().unwrap().entry(path.clone()).or_default().entry(key).or_default() += 1;
        // Long enough for a kill to fall between a deed and its answer.
        std::thread::sleep(Duration::from_millis(if path == "/once" { 15 } else { 1 }));
        let (status, body) = match path.as_str() {
            "/down" => ("503 Service Unavailable", r#"{"why":"closed"}"#),
            _ => ("200 OK", r#"{"done":true}"#),
        };
        let (length, kind) = (body.len(), "content-type: application/json");
        let response = format!("HTTP/1.1 {status}\r\n{kind}\r\ncontent-length: {length}\r\n\r\n{body}");
        (&mut &*stream).write_all(response.as_bytes()).ok()?;
    }
}

/// Path and idempotency key of the next request, read to its end.
fn read(reader: &mut impl BufRead) -> Option<(String, String)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut key, mut length) = (String::new(), 0);
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name {
            "idempotency-key" => value.clone_into(&mut key),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    reader.take(length).read_to_end(&mut Vec::new()).ok()?;
    Some((path, key))
}
