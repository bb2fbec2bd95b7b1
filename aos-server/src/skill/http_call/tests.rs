//! The skill against real servers on loopback, written by hand so that they can misbehave.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aos_core::id::{EffectId, RunId, TenantId};
use aos_core::random::Seed;
use aos_core::skill::CrashClass;
use aos_core::{Code, codes};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::guard::tests::private_hosts;
use super::*;

mod exchange;
mod input;
mod reach;
mod redirect;

/// What a test server does once it has read a request.
#[derive(Clone)]
enum Reply {
    /// Sends this and closes.
    Bytes(Vec<u8>),
    /// Sends this and then nothing, for ever.
    Stall(Vec<u8>),
    /// Sends the first part once and the second part for ever.
    Endless(Vec<u8>, Vec<u8>),
}

struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, reply) = (Arc::clone(&requests), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&seen), Arc::clone(&reply)));
            }
        });
        Self { address, requests }
    }

    async fn always(reply: Reply) -> Self {
        Self::start(move |_| reply.clone()).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn answer(mut stream: TcpStream, seen: Arc<Mutex<Vec<String>>>, reply: Arc<impl Fn(&str) -> Reply>) {
    let mut bytes = Vec::new();
    let request = loop {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break text;
        }
    };
    seen.lock().unwrap().push(request.clone());
    match reply(&request) {
        Reply::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Reply::Stall(bytes) => {
            let _ = stream.write_all(&bytes).await;
            std::future::pending::<()>().await;
        }
        Reply::Endless(first, again) => {
            let _ = stream.write_all(&first).await;
            while stream.write_all(&again).await.is_ok() {}
        }
    }
}

fn response(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut bytes =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len()).into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    Reply::Bytes(bytes)
}

fn call(input: Value) -> SkillCall {
    SkillCall {
        run: RunId::new("r1").unwrap(),
        tenant: TenantId::default(),
        workflow: None,
        api_key: None,
        trace: None,
        effect: EffectId::new("fetch").unwrap(),
        attempt: 1,
        idempotency_key: "key-1".into(),
        input: Payload::new(input).unwrap(),
        seed: Seed::new(1),
        deadline: None,
    }
}

async fn run_with(skill: &HttpCall, input: Value) -> Result<Value, Failure> {
    // Far beyond every bound of these tests: a hang fails instead of blocking.
    let result = tokio::time::timeout(Duration::from_secs(60), skill.call(call(input))).await;
    result.expect("the skill hangs").map(|output| output.output.value().clone())
}

async fn run(input: Value) -> Result<Value, Failure> {
    run_with(&HttpCall::new(AllowList::parse("127.0.0.0/8").unwrap()).unwrap(), input).await
}

fn lookup(addresses: &'static [&'static str]) -> Lookup {
    Arc::new(move |_| {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Box::pin(async move { Ok(addresses) })
    })
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}
