//! What can happen to a request on its way: phases that take too long, connections that break, redirects.

use std::time::Duration;

use aos_core::llm::{LlmAdapter, LlmCall, Sent};
use aos_core::time::Timestamp;
use aos_core::{Code, codes};
use aos_server::backend::claude::{ClaudeAdapter, Timeouts};
use tokio::net::TcpListener;
use url::Url;

use crate::support::*;

const SHORT: Duration = Duration::from_millis(150);

/// Long enough to send a request in, on a machine that is busy.
const SOON: Duration = Duration::from_secs(2);

async fn outcome(server: &Server, timeouts: Timeouts, asked: LlmCall) -> (Code, Sent, bool) {
    let failure = server.claude_with(timeouts).invoke(asked).await.unwrap_err();
    assert!(!everything(&failure).contains(KEY));
    (failure.code().clone(), failure.sent, failure.failure.retryable)
}

#[tokio::test]
async fn every_phase_has_an_end() {
    let long = Timeouts::default();
    let late = (codes::LLM_TIMEOUT, Sent::Unknown, true);
    let silent = Server::always(vec![Act::Hang]).await;
    let plain = Timeouts { plain: SHORT, ..long };
    assert_eq!(outcome(&silent, plain, call(request())).await, late);
    let first_byte = Timeouts { first_byte: SHORT, ..long };
    assert_eq!(outcome(&silent, first_byte, watched(request()).0).await, late);

    let stops = Server::always(vec![stream_head(), Act::Hang]).await;
    let idle = Timeouts { idle: SHORT, ..long };
    assert_eq!(outcome(&stops, idle, watched(request()).0).await, late);
    let half =
        Server::always(vec![Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".into()), Act::Hang]).await;
    assert_eq!(outcome(&half, idle, call(request())).await, late);

    // Never idle for long, and never done: a slow loris.
    let ping = chunk(b"event: ping\ndata: {\"type\": \"ping\"}\n\n");
    let mut acts = vec![stream_head()];
    acts.extend((0..1_000).flat_map(|_| [ping.clone(), Act::Pause(Duration::from_millis(20))]));
    let loris = Server::always(acts).await;
    let stream = Timeouts { stream: SHORT, ..long };
    assert_eq!(outcome(&loris, stream, watched(request()).0).await, late);
    let mut acts = vec![Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".into())];
    acts.extend((0..1_000).flat_map(|_| [Act::Send(b" ".into()), Act::Pause(Duration::from_millis(20))]));
    let loris = Server::always(acts).await;
    assert_eq!(outcome(&loris, plain, call(request())).await, late);
}

#[tokio::test]
async fn the_deadline_of_a_call_is_kept() {
    let server = Server::always(vec![stream_head(), Act::Hang]).await;
    let adapter = server.claude();
    for (deadline, sent) in
        [(aos_server::clock::now().saturating_add(SOON), Sent::Unknown), (Timestamp::EPOCH, Sent::No)]
    {
        let asked = LlmCall { deadline: Some(deadline), ..watched(request()).0 };
        let failure = adapter.invoke(asked).await.unwrap_err();
        assert_eq!((failure.code(), failure.sent), (&codes::LLM_TIMEOUT, sent), "{failure}");
        assert!(failure.failure.message.contains("deadline"), "{failure}");
    }
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn not_sent_is_told_apart_from_unknown() {
    let unbound = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for url in [format!("http://{unbound}"), "http://name.invalid".into(), format!("https://{unbound}")] {
        let adapter = ClaudeAdapter::new(&Url::parse(&url).unwrap(), &key(), Timeouts::default()).unwrap();
        let failure = ask(&adapter, request()).await.unwrap_err();
        assert_eq!((failure.code(), failure.sent), (&codes::LLM_UNREACHABLE, Sent::No), "{url}: {failure}");
        assert!(failure.failure.retryable && failure.failure.message.contains("nothing was sent"), "{failure}");
    }
    let unknown = (codes::LLM_INTERRUPTED, Sent::Unknown, true);
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec();
    for acts in [
        vec![Act::Close],
        vec![Act::Reset],
        vec![Act::Send(half.clone()), Act::Close],
        vec![Act::Send(half), Act::Reset],
        vec![Act::Send(b"SSH-2.0-OpenSSH\r\n".to_vec()), Act::Close],
    ] {
        let server = Server::always(acts.clone()).await;
        assert_eq!(outcome(&server, Timeouts::default(), call(request())).await, unknown, "{acts:?}");
        assert_eq!(server.asked().len(), 1, "nothing is sent twice");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_not_used() {
    let mut acts = json_reply(200, &[], &message("hi"));
    acts.push(Act::Close);
    let server = Server::always(acts).await;
    let adapter = server.claude();
    for _ in 0..3 {
        ask(&adapter, request()).await.unwrap();
        tokio::time::sleep(SHORT).await;
    }
    let connections: Vec<_> = server.asked().iter().map(|asked| asked.connection).collect();
    assert_eq!(connections, [0, 1, 2]);
}

#[tokio::test]
async fn tls_is_demanded_where_the_url_says_so() {
    // It answers in plain text to a client that speaks TLS, so nothing of the request is ever sent.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("https://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.try_write(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let adapter = ClaudeAdapter::new(&url, &key(), Timeouts::default()).unwrap();
    let failure = ask(&adapter, request()).await.unwrap_err();
    assert_eq!((failure.code(), failure.sent), (&codes::LLM_UNREACHABLE, Sent::No), "{failure}");
}

#[tokio::test]
async fn redirects_are_refused_and_get_no_key() {
    let thief = Server::always(json_reply(200, &[], &message("thanks for the key"))).await;
    for status in [301, 302, 303, 307, 308] {
        let target = format!("http://{}/v1/messages?secret=1", thief.address);
        let server = Server::always(reply(status, &[("location", &target)], "")).await;
        let failure = ask(&server.claude(), request()).await.unwrap_err();
        assert_eq!((failure.code(), failure.sent), (&codes::LLM_UNREACHABLE, Sent::Refused), "{failure}");
        assert!(!failure.failure.retryable && failure.failure.message.contains("ANTHROPIC_BASE_URL"), "{failure}");
        assert!(!failure.failure.message.contains("secret"), "{failure}");
    }
    assert!(thief.asked().is_empty());
}

#[tokio::test]
async fn answers_are_bounded() {
    // It says that it is small, and is not.
    let head = Act::Send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".into());
    let mut acts = vec![head];
    acts.extend(std::iter::repeat_n(chunk(&[b' '; 1024 * 1024]), 65));
    let server = Server::always(acts).await;
    let (code, sent, _) = outcome(&server, Timeouts::default(), call(request())).await;
    assert_eq!((code, sent), (codes::LLM_INVALID_RESPONSE, Sent::Unknown));

    let mut acts = vec![stream_head(), chunk(b"data: ")];
    acts.extend(std::iter::repeat_n(chunk(&[b'x'; 1024 * 1024]), 17));
    let server = Server::always(acts).await;
    let (code, sent, _) = outcome(&server, Timeouts::default(), watched(request()).0).await;
    assert_eq!((code, sent), (codes::LLM_INVALID_RESPONSE, Sent::Unknown));
}

#[tokio::test]
async fn a_call_that_is_dropped_is_abandoned() {
    let server = Server::always(vec![Act::Hang]).await;
    let adapter = server.claude();
    let dropped = tokio::time::timeout(SHORT, ask(&adapter, request())).await;
    assert!(dropped.is_err());
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn the_path_of_the_base_url_is_kept() {
    for path in ["", "/", "/proxy/claude", "/proxy/claude/"] {
        let server = Server::always(json_reply(200, &[], &message("hi"))).await;
        let url = server.url().join(path).unwrap();
        let adapter = ClaudeAdapter::new(&url, &key(), Timeouts::default()).unwrap();
        ask(&adapter, request()).await.unwrap();
        let expected = format!("POST {}/v1/messages HTTP/1.1", path.trim_end_matches('/'));
        assert_eq!(server.asked()[0].line, expected);
    }
}
