//! Keys: where they go, how they are replaced, and where they never appear.

use std::io;
use std::sync::{Arc, Mutex};

use aos_core::codes;
use aos_core::llm::{LlmAdapter, Sent};
use aos_server::backend::claude::{ClaudeAdapter, Timeouts};
use aos_server::config::KeySource;
use serde_json::json;

use crate::support::*;

/// A server that takes the keys in `valid`, and says which came in a refusal.
async fn gate(valid: Arc<Mutex<Vec<&'static str>>>) -> Server {
    Server::new(move |asked, _| {
        let key = asked.header("x-api-key").unwrap();
        if valid.lock().unwrap().contains(&key) {
            return json_reply(200, &[], &message("hi"));
        }
        let words = format!("invalid x-api-key {key}: {}", "x".repeat(460));
        json_reply(401, &[], &json!({"type": "error", "error": {"type": "authentication_error", "message": words}}))
    })
    .await
}

fn keys_of(server: &Server) -> Vec<String> {
    server.asked().iter().map(|asked| asked.header("x-api-key").unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_key_is_replaced_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, "old\n").unwrap();
    let valid = Arc::new(Mutex::new(vec!["old"]));
    let server = gate(Arc::clone(&valid)).await;
    let adapter = ClaudeAdapter::new(&server.url(), &KeySource::File(path.clone()), Timeouts::default()).unwrap();
    ask(&adapter, request()).await.unwrap();
    // The file changes, and the old key dies: a call that would have used it gets through with the new one.
    std::fs::write(&path, "new\n").unwrap();
    *valid.lock().unwrap() = vec!["new"];
    ask(&adapter, request()).await.unwrap();
    ask(&adapter, request()).await.unwrap();
    assert_eq!(keys_of(&server), ["old", "old", "new", "new"]);
    // The next key is not known to the provider yet: the one before goes on.
    std::fs::write(&path, "next\n").unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    ask(&adapter, request()).await.unwrap();
    ask(&adapter, request()).await.unwrap();
    assert_eq!(keys_of(&server)[4..], ["next", "new", "new"]);
}

#[tokio::test]
async fn a_refused_request_is_sent_once_more_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    std::fs::write(&path, "sk-one\nsk-two\nsk-three\n").unwrap();
    let valid = Arc::new(Mutex::new(vec![]));
    let server = gate(Arc::clone(&valid)).await;
    let adapter = ClaudeAdapter::new(&server.url(), &KeySource::File(path), Timeouts::default()).unwrap();
    let failure = ask(&adapter, request()).await.unwrap_err();
    assert_eq!((failure.code(), failure.sent), (&codes::LLM_AUTH_FAILED, Sent::Refused));
    assert!(!failure.failure.retryable);
    assert_eq!(keys_of(&server), ["sk-one", "sk-two"]);
    assert!(!everything(&failure).contains("sk-"), "{failure:?}");
    // The third is tried by the next call, and found good.
    valid.lock().unwrap().push("sk-three");
    ask(&adapter, request()).await.unwrap();
    assert_eq!(keys_of(&server)[2..], ["sk-three"]);
}

#[tokio::test]
async fn calls_in_flight_keep_their_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, "old").unwrap();
    let mut acts = vec![stream_head()];
    let events = message_events("one two");
    acts.extend(events[..4].iter().map(|data| chunk(event(data).as_bytes())));
    acts.push(Act::Pause(std::time::Duration::from_millis(1_200)));
    acts.extend(events[4..].iter().map(|data| chunk(event(data).as_bytes())));
    acts.push(Act::Send(b"0\r\n\r\n".to_vec()));
    let server = Server::new(move |asked, _| {
        if asked.header("x-api-key") == Some("old") { acts.clone() } else { json_reply(200, &[], &message("new")) }
    })
    .await;
    let adapter = ClaudeAdapter::new(&server.url(), &KeySource::File(path.clone()), Timeouts::default()).unwrap();
    let (asked, _) = watched(request());
    let in_flight = adapter.invoke(asked);
    let meanwhile = async {
        std::fs::write(&path, "new").unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        ask(&adapter, request()).await.unwrap()
    };
    let (old, new) = tokio::join!(in_flight, meanwhile);
    assert_eq!((old.unwrap().response.text().as_str(), new.response.text().as_str()), ("one two", "new"));
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_key_is_seen_in_its_header_only() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let mut said = Vec::new();
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let echo =
                format!("{{\"type\":\"error\",\"error\":{{\"type\":\"{KEY}\",\"message\":\"your key {KEY} is\"}}}}");
            let events = message_events("one");
            let broken = format!("data: {{\"type\": \"message_stop\", \"index\": \"{KEY}\"}}\n\n");
            for acts in [
                json_reply(200, &[], &message("hi")),
                reply(401, &[("x-request-id", "r")], echo.clone()),
                reply(400, &[], echo.clone()),
                reply(502, &[], format!("<p>{KEY}</p>")),
                reply(200, &[], format!("<p>{KEY}</p>")),
                reply(200, &[], format!("{{\"content\": \"{KEY}\"}}")),
                reply(307, &[("location", &format!("http://127.0.0.1/{KEY}"))], ""),
                vec![Act::Reset],
                vec![stream_head(), chunk(event(&events[0]).as_bytes()), chunk(broken.as_bytes())],
                vec![stream_head(), chunk(format!("data: {echo}\n\n").as_bytes())],
            ] {
                let server = Server::always(acts).await;
                let adapter = server.claude();
                for asked in [call(request()), watched(request()).0] {
                    match adapter.invoke(asked).await {
                        Ok(answer) => said.push(format!("{answer:?}")),
                        Err(failure) => said.push(everything(&failure)),
                    }
                }
                let asked = server.asked();
                assert!(asked.iter().all(|asked| asked.header("x-api-key") == Some(KEY)));
                let elsewhere = |asked: &Asked| {
                    let headers = asked.headers.iter().filter(|(name, _)| name != "x-api-key");
                    format!("{} {headers:?} {}", asked.line, asked.body, headers = headers.collect::<Vec<_>>())
                };
                said.extend(asked.iter().map(elsewhere));
            }
        });
    });
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(!log.contains(KEY), "the log has the key");
    for text in said {
        assert!(!text.contains(KEY), "{text}");
    }
}
