//! What the runs act upon: a small HTTP server that counts requests by path and idempotency key, and is never killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How often a path was asked under a key.
pub type Counts = BTreeMap<String, BTreeMap<String, u32>>;

pub struct Ledger {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// How long a request takes.
    takes: Duration,
    counts: Mutex<Counts>,
    /// Whether requests to `/held` wait for their answers.
    holds: Mutex<bool>,
    released: Condvar,
}

impl Ledger {
    /// A ledger that takes so long for a request, and a little longer for one to `/once`: for a fault to fall between
    /// a deed and its answer.
    pub fn start(takes: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (counts, holds) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { takes, counts, holds, released: Condvar::new() });
        let ledger = Self { address, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                // An error means that whoever asked was killed in the middle of a request.
                std::thread::spawn(move || shared.answer(&stream));
            }
        });
        ledger
    }

    /// What has been asked so far.
    pub fn counts(&self) -> Counts {
        self.shared.counts.lock().unwrap().clone()
    }

    /// The same, and begins anew.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut self.shared.counts.lock().unwrap())
    }

    /// How often `/held` has been asked under each key.
    pub fn held(&self) -> BTreeMap<String, u32> {
        self.shared.counts.lock().unwrap().get("/held").cloned().unwrap_or_default()
    }

    /// Lets requests to `/held` wait from now on, or answers all of them.
    pub fn hold(&self, hold: bool) {
        *self.shared.holds.lock().unwrap() = hold;
        self.shared.released.notify_all();
    }
}

impl Shared {
    fn answer(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let (path, key) = read(&mut reader)?;
            *self.counts.lock().unwrap().entry(path.clone()).or_default().entry(key).or_default() += 1;
            if path == "/held" {
                drop(self.released.wait_while(self.holds.lock().unwrap(), |holds| *holds).unwrap());
            }
            let longer = if path == "/once" { Duration::from_millis(15) } else { Duration::ZERO };
            std::thread::sleep(self.takes + longer);
            let (status, body) = match path.as_str() {
                "/down" => ("503 Service Unavailable", r#"{"why":"closed"}"#),
                _ => ("200 OK", r#"{"done":true}"#),
            };
            let (length, kind) = (body.len(), "content-type: application/json");
            let response = format!("HTTP/1.1 {status}\r\n{kind}\r\ncontent-length: {length}\r\n\r\n{body}");
            (&mut &*stream).write_all(response.as_bytes()).ok()?;
        }
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
