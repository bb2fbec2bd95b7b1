//! The plainest of HTTP clients: it shows what really comes over the wire.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use aos_testkit::service::MockClaude;
use serde_json::{Value, json};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a mock.
pub struct Client {
    connection: BufReader<TcpStream>,
    pub headers: Vec<(&'static str, String)>,
}

/// What came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Whether the body came to its end.
    pub whole: bool,
}

impl Client {
    pub fn new(claude: &MockClaude) -> Self {
        let connection = TcpStream::connect(claude.address()).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let headers = vec![("x-api-key", claude.key().to_owned()), ("anthropic-version", "2023-06-01".to_owned())];
        Self { connection: BufReader::new(connection), headers }
    }

    /// Sends a request and does not wait.
    pub fn send(&mut self, method: &str, path: &str, body: &str) -> io::Result<()> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: mock\r\ncontent-length: {}\r\n", body.len());
        self.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        self.connection.get_mut().write_all(format!("{head}\r\n{body}").as_bytes())
    }

    pub fn call(&mut self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        self.send(method, path, body)?;
        self.receive()
    }

    pub fn messages(&mut self, body: &Value) -> Answer {
        self.call("POST", "/v1/messages", &body.to_string()).unwrap()
    }

    pub fn receive(&mut self) -> io::Result<Answer> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("no answer"))?;
        let mut headers = Vec::new();
        while let Some((name, value)) = self.line()?.split_once(": ") {
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut answer = Answer { status, headers, body: String::new(), whole: false };
        let mut body = Vec::new();
        answer.whole = match answer.header("content-length").map(|length| length.parse::<usize>().unwrap()) {
            Some(length) => self.read(length, &mut body) == length,
            None => self.chunks(&mut body).unwrap_or(false),
        };
        answer.body = String::from_utf8(body).unwrap();
        Ok(answer)
    }

    /// Whether the other end has closed or reset the connection.
    pub fn is_over(&mut self) -> bool {
        !matches!(self.connection.fill_buf(), Ok([_, ..]))
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let line = self.line()?;
            let Ok(length) = usize::from_str_radix(&line, 16) else { return Ok(false) };
            if self.read(length, body) < length {
                return Ok(false);
            }
            self.line()?;
            if length == 0 {
                return Ok(true);
            }
        }
    }

    /// Reads that many bytes, or as many as come.
    fn read(&mut self, length: usize, into: &mut Vec<u8>) -> usize {
        let before = into.len();
        // What came before a reset counts.
        let _ = self.connection.by_ref().take(length as u64).read_to_end(into);
        into.len() - before
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.connection.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The events of a stream: name and data.
    pub fn events(&self) -> Vec<(String, Value)> {
        let texts = self.body.split("\n\n").filter(|text| !text.is_empty());
        texts
            .map(|text| {
                let (name, data) = text.split_once('\n').unwrap();
                let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                (name.strip_prefix("event: ").unwrap().to_owned(), data)
            })
            .collect()
    }

    pub fn event_names(&self) -> String {
        self.events().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// A request that asks for `text` to be repeated, with these fields in place of its own.
pub fn ask(text: &str, fields: Value) -> Value {
    let mut body = json!({
        "model": "claude-sonnet-4-6", "max_tokens": 1_000, "messages": [{"role": "user", "content": text}]
    });
    for (field, value) in fields.as_object().unwrap() {
        body[field] = value.clone();
    }
    body
}
