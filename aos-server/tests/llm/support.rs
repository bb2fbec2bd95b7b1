//! A server that answers as a test says, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aos_core::llm::{Delta, Deltas, LlmAdapter, LlmAnswer, LlmCall, LlmFailure, LlmRequest};
use aos_core::random::Seed;
use aos_server::backend::claude::{ClaudeAdapter, Timeouts};
use aos_server::config::{KeySource, Secret};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// The key that tests use; it must be seen nowhere but in its header.
pub const KEY: &str = "sk-ant-canary-3f9a";

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The first line.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Value,
    /// Which connection it came over, from 0.
    pub connection: usize,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// What the server does next.
#[derive(Clone, Debug)]
pub enum Act {
    Send(Vec<u8>),
    Pause(Duration),
    /// Says nothing more and keeps the connection.
    Hang,
    /// Closes the connection.
    Close,
    /// Breaks the connection.
    Reset,
}

type Script = dyn Fn(&Asked, usize) -> Vec<Act> + Send + Sync;

/// The server.
pub struct Server {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Answers each request, counted from 0, with what `script` says.
    pub async fn new(script: impl Fn(&Asked, usize) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (script, remembered): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&asked));
        tokio::spawn(async move {
            let mut connection = 0;
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, connection, Arc::clone(&script), Arc::clone(&remembered)));
                connection += 1;
            }
        });
        Self { address, asked }
    }

    /// Answers every request the same way.
    pub async fn always(acts: Vec<Act>) -> Self {
        Self::new(move |_, _| acts.clone()).await
    }

    pub fn url(&self) -> Url {
        Url::parse(&format!("http://{}", self.address)).unwrap()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// An adapter `claude` for this server.
    pub fn claude(&self) -> ClaudeAdapter {
        self.claude_with(Timeouts::default())
    }

    pub fn claude_with(&self, timeouts: Timeouts) -> ClaudeAdapter {
        ClaudeAdapter::new(&self.url(), &key(), timeouts).unwrap()
    }
}

pub fn key() -> KeySource {
    KeySource::Value(Secret::new(KEY))
}

async fn serve(mut stream: TcpStream, connection: usize, script: Arc<Script>, asked: Arc<Mutex<Vec<Asked>>>) {
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer, connection).await {
        let index = {
            let mut asked = asked.lock().unwrap();
            asked.push(request.clone());
            asked.len() - 1
        };
        for act in script(&request, index) {
            match act {
                Act::Send(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Act::Pause(duration) => tokio::time::sleep(duration).await,
                Act::Hang => std::future::pending().await,
                Act::Close => return,
                Act::Reset => {
                    // Unread bytes would do; this is certain.
                    stream.set_zero_linger().unwrap();
                    return;
                }
            }
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>, connection: usize) -> Option<Asked> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).unwrap();
    let mut lines = head.split("\r\n").map(str::to_owned);
    let line = lines.next().unwrap();
    let headers: Vec<_> = lines
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        })
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, n)| n.parse().unwrap());
    while buffer.len() < head_end + 4 + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = serde_json::from_slice(&buffer[head_end + 4..head_end + 4 + length]).unwrap_or_default();
    buffer.drain(..head_end + 4 + length);
    Some(Asked { line, headers, body, connection })
}

/// A whole answer.
pub fn reply(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<Act> {
    let body = body.as_ref();
    let mut bytes = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    bytes.push_str("\r\n");
    vec![Act::Send([bytes.as_bytes(), body].concat())]
}

/// A whole answer in JSON.
pub fn json_reply(status: u16, headers: &[(&str, &str)], body: &Value) -> Vec<Act> {
    reply(status, &[headers, &[("content-type", "application/json")]].concat(), body.to_string())
}

/// The head of a streamed answer.
pub fn stream_head() -> Act {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nrequest-id: req_stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    Act::Send(head.into())
}

/// One chunk of a streamed answer.
pub fn chunk(bytes: &[u8]) -> Act {
    Act::Send([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
}

/// An event as Claude's streams have it.
pub fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap())
}

/// A streamed answer of these events, from beginning to end.
pub fn stream(events: &[Value]) -> Vec<Act> {
    chunked(events.iter().map(event))
}

/// A streamed answer in these chunks. The last one comes together with the end, as servers send it.
pub fn chunked(chunks: impl IntoIterator<Item = String>) -> Vec<Act> {
    let mut acts = vec![stream_head()];
    acts.extend(chunks.into_iter().map(|bytes| chunk(bytes.as_bytes())));
    if let Some(Act::Send(last)) = acts.last_mut() {
        last.extend_from_slice(b"0\r\n\r\n");
    }
    acts
}

/// An answer of Claude that says `text`.
pub fn message(text: &str) -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-4-6",
        "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 11, "output_tokens": 3}})
}

/// The events of a streamed answer that says `text`, word by word.
pub fn message_events(text: &str) -> Vec<Value> {
    let mut events = vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
            "content": [], "model": "claude-opus-4-6", "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 11, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
    ];
    events.extend(
        text.split_inclusive(' ').map(
            |word| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}),
        ),
    );
    events.extend([
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
            "usage": {"output_tokens": 3}}),
        json!({"type": "message_stop"}),
    ]);
    events
}

pub fn request() -> LlmRequest {
    LlmRequest::new("claude-opus-4-6", "hi")
}

pub fn call(request: LlmRequest) -> LlmCall {
    LlmCall::new(request, Seed::default())
}

/// A call whose answer is watched, and what watchers have seen.
pub fn watched(request: LlmRequest) -> (LlmCall, Arc<Mutex<Vec<Delta>>>) {
    let seen = Arc::<Mutex<Vec<Delta>>>::default();
    let sink = Arc::clone(&seen);
    let deltas = Deltas::new(move |delta| sink.lock().unwrap().push(delta));
    (LlmCall { deltas: Some(deltas), ..call(request) }, seen)
}

pub async fn ask(adapter: &dyn LlmAdapter, request: LlmRequest) -> Result<LlmAnswer, LlmFailure> {
    adapter.invoke(call(request)).await
}

/// Everything that a failure says, to look for a key in.
pub fn everything(failure: &LlmFailure) -> String {
    format!("{failure} {failure:?} {}", serde_json::to_string(&*failure.failure).unwrap())
}
