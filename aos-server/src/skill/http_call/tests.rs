//! The skill against real servers on loopback, written by hand so that they can misbehave.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aos_core::id::{EffectId, RunId, TenantId};
use aos_core::random::Seed;
use aos_core::{Code, codes};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::guard::tests::PRIVATE_HOSTS;
use super::*;

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

#[tokio::test]
async fn a_get_gives_json_and_selected_headers() {
    let headers = [
        ("Content-Type", "application/json"),
        ("ETag", "\"1\""),
        ("Set-Cookie", "secret"),
        ("X-Mine", "a"),
        ("X-Mine", "b"),
    ];
    let server = Server::always(response("200 OK", &headers, br#"{"b":2,"a":1.0}"#)).await;
    let output = run(json!({
        "url": server.url("/x?y=1#frag"),
        "query": {"q": "a b&c", "n": [1, true, 2.5]},
        "headers": {"Accept": "application/json"},
        "response_headers": ["X-Mine"],
    }))
    .await
    .unwrap();
    assert_eq!(output["body"], json!({"a": 1, "b": 2}));
    assert_eq!(
        (&output["status"], &output["body_kind"], &output["body_bytes"]),
        (&json!(200), &json!("json"), &json!(15))
    );
    assert_eq!(output["headers"], json!({"content-type": "application/json", "etag": "\"1\"", "x-mine": "a, b"}));
    assert_eq!(output["url"], json!(server.url("/x?y=1&n=1&n=true&n=2.5&q=a+b%26c")));
    assert!(output["elapsed_ms"].is_u64());
    let request = server.requests().remove(0);
    assert!(request.starts_with("GET /x?y=1&n=1&n=true&n=2.5&q=a+b%26c HTTP/1.1\r\n"), "{request}");
    assert_eq!(header(&request, "accept"), Some("application/json"));
    assert_eq!(header(&request, "idempotency-key"), None);
    assert!(header(&request, "user-agent").is_some_and(|agent| agent.starts_with("aos-http-call/")));
}

#[tokio::test]
async fn what_changes_something_carries_the_idempotency_key() {
    let server = Server::always(response("201 Created", &[], b"")).await;
    for (method, carries) in [
        ("GET", false),
        ("HEAD", false),
        ("OPTIONS", false),
        ("POST", true),
        ("PUT", true),
        ("PATCH", true),
        ("DELETE", true),
    ] {
        let output = run(json!({"method": method, "url": server.url("/")})).await.unwrap();
        assert_eq!((&output["status"], &output["body_kind"]), (&json!(201), &json!("empty")));
        let request = server.requests().pop().unwrap();
        assert!(request.starts_with(method));
        assert_eq!(header(&request, "idempotency-key"), carries.then_some("key-1"), "{method}");
    }
    run(json!({"method": "POST", "url": server.url("/"), "headers": {"Idempotency-Key": "mine"}})).await.unwrap();
    assert_eq!(header(&server.requests().pop().unwrap(), "idempotency-key"), Some("mine"));
}

#[tokio::test]
async fn bodies_are_sent_as_text_or_json() {
    let server = Server::always(response("200 OK", &[], b"")).await;
    for (input, content_type, body) in [
        (json!({"body": {"b": [1, null], "a": "é"}}), "application/json", r#"{"a":"é","b":[1,null]}"#),
        (json!({"body": "plain é"}), "text/plain; charset=utf-8", "plain é"),
        (json!({"body": false}), "application/json", "false"),
        (json!({"body": "<x/>", "headers": {"content-type": "application/xml"}}), "application/xml", "<x/>"),
    ] {
        let mut input = input;
        input["url"] = server.url("/").into();
        input["method"] = "POST".into();
        run(input).await.unwrap();
        let request = server.requests().pop().unwrap();
        assert_eq!(header(&request, "content-type"), Some(content_type));
        assert!(request.ends_with(&format!("\r\n\r\n{body}")), "{request}");
    }
}

#[tokio::test]
async fn error_statuses_are_failures() {
    for (status, headers, expect, failure) in [
        ("404 Not Found", vec![], json!([]), Some((false, None))),
        ("400 Bad Request", vec![("Retry-After", "3")], json!([]), Some((false, None))),
        ("500 Internal Server Error", vec![], json!([]), Some((true, None))),
        ("503 Service Unavailable", vec![("Retry-After", "7")], json!([]), Some((true, Some(7_000)))),
        (
            "429 Too Many Requests",
            vec![("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT")],
            json!([]),
            Some((true, Some(0))),
        ),
        ("429 Too Many Requests", vec![("Retry-After", "soon")], json!([]), Some((true, None))),
        ("503 Service Unavailable", vec![("Retry-After", "99999999999")], json!([]), Some((true, Some(86_400_000)))),
        ("408 Request Timeout", vec![], json!([]), Some((true, None))),
        ("404 Not Found", vec![], json!([200, 404]), None),
        ("200 OK", vec![], json!([201]), Some((false, None))),
        ("304 Not Modified", vec![], json!([]), None),
    ] {
        let server =
            Server::always(response(status, &headers, if status.starts_with("304") { b"" } else { b"why" })).await;
        let result = run(json!({"url": server.url("/?token=hunter2"), "expect_status": expect})).await;
        let Some((retryable, retry_after_ms)) = failure else {
            assert!(result.is_ok(), "{status}: {result:?}");
            continue;
        };
        let failure = result.unwrap_err();
        assert_eq!(
            (&failure.code, failure.retryable, failure.retry_after_ms),
            (&codes::HTTP_STATUS, retryable, retry_after_ms),
            "{status}"
        );
        assert_eq!(
            (failure.details["status"].to_string().as_str(), &failure.details["body"]),
            (&status[..3], &json!("why"))
        );
        assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    }
}

#[tokio::test]
async fn an_error_body_is_cut_and_never_hides_the_status() {
    let long = vec![b'x'; 1_000_000];
    let broken = Reply::Bytes(b"HTTP/1.1 500 Oops\r\ncontent-length: 99\r\n\r\npart".to_vec());
    for (reply, starts) in [(response("500 Oops", &[], &long), "xxxx"), (broken, "part")] {
        let server = Server::always(reply).await;
        let failure = run(json!({"url": server.url("/"), "max_bytes": 10})).await.unwrap_err();
        assert_eq!(failure.code, codes::HTTP_STATUS);
        let excerpt = failure.details["body"].as_str().unwrap();
        assert!(excerpt.starts_with(starts) && excerpt.len() < 3_000, "{}", excerpt.len());
    }
}

/// Servers that misbehave, with the failure that names it; `POST` may be repeated only when it was never sent.
#[tokio::test]
async fn misbehaving_servers_are_named() {
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let bomb = gzip(&vec![0; 50_000_000]);
    assert!(bomb.len() < 100_000);
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let chunk = [b"1000\r\n".as_slice(), &[b'x'; 0x1000], b"\r\n"].concat();
    let ok = |more: &str| format!("HTTP/1.1 200 OK\r\n{more}").into_bytes();
    let long_header = ok(&format!("x: {}\r\n\r\n", "y".repeat(3_000_000)));
    let many_headers = ok(&format!("{}\r\n", "x: y\r\n".repeat(5_000)));
    type Case = (&'static str, Reply, Code, bool, bool);
    let cases: Vec<Case> = vec![
        ("says nothing", Reply::Stall(vec![]), codes::TIMEOUT, true, false),
        ("stalls in the headers", Reply::Stall(ok("x: y")), codes::TIMEOUT, true, false),
        ("stalls in the body", Reply::Stall(ok("content-length: 9\r\n\r\nx")), codes::TIMEOUT, true, false),
        ("sends headers for ever", Reply::Endless(ok(""), b"x: y\r\n".to_vec()), codes::HTTP_FAILED, true, false),
        ("sends a body for ever", Reply::Endless(ok("\r\n"), vec![b'x'; 4_096]), codes::HTTP_TOO_LARGE, false, false),
        ("sends chunks for ever", Reply::Endless(chunked.clone(), chunk), codes::HTTP_TOO_LARGE, false, false),
        (
            "sends a gzip bomb",
            response("200 OK", &[("content-encoding", "gzip")], &bomb),
            codes::HTTP_TOO_LARGE,
            false,
            false,
        ),
        ("cuts the body", Reply::Bytes(ok("content-length: 99\r\n\r\npart")), codes::HTTP_FAILED, true, false),
        ("cuts a chunk", Reply::Bytes([chunked, b"ff\r\npart".to_vec()].concat()), codes::HTTP_FAILED, true, false),
        (
            "cuts gzip",
            response("200 OK", &[("content-encoding", "gzip")], &gzip(b"hello hello")[..15]),
            codes::HTTP_FAILED,
            true,
            false,
        ),
        (
            "calls text gzip",
            response("200 OK", &[("content-encoding", "gzip")], b"not gzip at all"),
            codes::HTTP_FAILED,
            true,
            false,
        ),
        ("closes at once", Reply::Bytes(vec![]), codes::HTTP_FAILED, true, false),
        ("speaks no HTTP", Reply::Bytes(b"220 smtp.example ESMTP\r\n".to_vec()), codes::HTTP_FAILED, true, false),
        ("sends a huge header", Reply::Bytes(long_header), codes::HTTP_FAILED, true, false),
        ("sends many headers", Reply::Bytes(many_headers), codes::HTTP_FAILED, true, false),
    ];
    for (what, reply, code, get_retryable, post_retryable) in cases {
        let server = Server::always(reply).await;
        for (method, retryable) in [("GET", get_retryable), ("POST", post_retryable)] {
            let timeout_ms = if code == codes::TIMEOUT { 200 } else { 50_000 };
            let input =
                json!({"method": method, "url": server.url("/"), "timeout_ms": timeout_ms, "max_bytes": 100_000});
            let failure = run(input).await.unwrap_err();
            assert_eq!(
                (&failure.code, failure.retryable),
                (&code, retryable),
                "{method} from one that {what}: {failure}"
            );
        }
    }
}

#[tokio::test]
async fn what_was_never_sent_may_be_retried() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let failure = run(json!({"method": "POST", "url": format!("http://{address}/?key=hunter2")})).await.unwrap_err();
    assert_eq!(
        (&failure.code, failure.retryable, &failure.details["sent"]),
        (&codes::HTTP_FAILED, true, &json!(false))
    );
    assert!(failure.message.contains("refused") && !failure.message.contains("hunter2"), "{failure}");
}

#[tokio::test]
async fn compressed_and_encoded_bodies_are_read() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all("{\"n\": 1}".as_bytes()).unwrap();
    let gzipped = encoder.finish().unwrap();
    let server = Server::always(response(
        "200 OK",
        &[("content-encoding", "gzip"), ("content-type", "application/json")],
        &gzipped,
    ))
    .await;
    let output = run(json!({"url": server.url("/"), "max_bytes": 8})).await.unwrap();
    assert_eq!((&output["body"], &output["body_bytes"]), (&json!({"n": 1}), &json!(8)));
    let server = Server::always(response("200 OK", &[("content-type", "image/png")], b"\x89PNG")).await;
    let output = run(json!({"url": server.url("/")})).await.unwrap();
    assert_eq!(
        (&output["body"], &output["body_base64"], &output["body_kind"]),
        (&json!(null), &json!("iVBORw=="), &json!("binary"))
    );
}

#[tokio::test]
async fn redirects_are_followed_as_browsers_do() {
    let server = Server::start(|request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        match path.strip_prefix('/').and_then(|path| path.parse::<u16>().ok()) {
            Some(status) => response(&format!("{status} Moved"), &[("location", "end?x=1#frag")], b""),
            None => response("200 OK", &[], b"end"),
        }
    })
    .await;
    for (status, method, then, body) in [
        (301, "POST", "GET", ""),
        (302, "POST", "GET", ""),
        (303, "PUT", "GET", ""),
        (303, "HEAD", "HEAD", ""),
        (301, "PUT", "PUT", "data"),
        (307, "POST", "POST", "data"),
        (308, "PATCH", "PATCH", "data"),
    ] {
        let input = json!({"method": method, "url": server.url(&format!("/{status}")), "body": if method == "HEAD" { json!(null) } else { json!("data") }, "headers": {"authorization": "Bearer x"}});
        let output = run(input).await.unwrap();
        assert_eq!((&output["url"], &output["redirects"]), (&json!(server.url("/end?x=1")), &json!(1)));
        let request = server.requests().pop().unwrap();
        assert!(request.starts_with(&format!("{then} /end?x=1 ")), "{status} {method}: {request}");
        assert!(request.ends_with(&format!("\r\n\r\n{body}")), "{status} {method}: {request}");
        // The same origin keeps credentials.
        assert_eq!(header(&request, "authorization"), Some("Bearer x"));
        assert_eq!(header(&request, "content-type").is_some(), !body.is_empty());
    }
    let output = run(json!({"url": server.url("/302"), "max_redirects": 0})).await.unwrap();
    assert_eq!((&output["status"], &output["headers"]["location"]), (&json!(302), &json!("end?x=1#frag")));
}

#[tokio::test]
async fn redirect_loops_end() {
    let server = Server::always(response("302 Found", &[("location", "/again")], b"")).await;
    let failure = run(json!({"url": server.url("/"), "max_redirects": 3})).await.unwrap_err();
    assert_eq!((&failure.code, failure.retryable, server.requests().len()), (&codes::HTTP_FAILED, false, 4));
    assert!(failure.message.contains("more than 3 times"), "{failure}");
}

#[tokio::test]
async fn credentials_stay_with_their_origin() {
    let other = Server::always(response("200 OK", &[], b"")).await;
    let target = other.url("/");
    let server = Server::start(move |_| response("307 Moved", &[("location", &target)], b"")).await;
    let headers =
        json!({"Authorization": "Bearer hunter2", "Cookie": "hunter2", "X-Api-Key": "hunter2", "Accept": "text/plain"});
    run(json!({"method": "POST", "url": server.url("/"), "headers": headers, "body": "data"})).await.unwrap();
    let (first, second) = (server.requests().remove(0), other.requests().remove(0));
    assert_eq!(first.matches("hunter2").count(), 3);
    assert!(!second.contains("hunter2"), "{second}");
    assert_eq!(header(&second, "accept"), Some("text/plain"));
    assert!(second.ends_with("data"));
}

#[tokio::test]
async fn every_private_address_is_blocked_direct_and_behind_a_redirect() {
    let server = Server::start(|request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let index: usize = path.trim_start_matches('/').parse().unwrap();
        response("302 Found", &[("location", &format!("http://{}/", PRIVATE_HOSTS[index]))], b"")
    })
    .await;
    // Only the redirecting server itself is open.
    let skill = HttpCall::new(AllowList::parse(&server.address.to_string()).unwrap()).unwrap();
    for (index, host) in PRIVATE_HOSTS.iter().enumerate() {
        for url in [format!("http://{host}/"), server.url(&format!("/{index}"))] {
            let failure = run_with(&skill, json!({"url": url})).await.unwrap_err();
            assert_eq!((&failure.code, failure.retryable), (&codes::HTTP_BLOCKED, false), "{host} by {url}: {failure}");
            assert!(failure.message.contains("AOS_HTTP_ALLOW"), "{failure}");
        }
    }
    assert_eq!(server.requests().len(), PRIVATE_HOSTS.len());
}

#[tokio::test]
async fn redirects_to_other_schemes_or_nowhere_are_refused() {
    for (location, code) in [
        ("file:///etc/passwd", codes::HTTP_BLOCKED),
        ("ftp://example.com/", codes::HTTP_BLOCKED),
        ("http://user:pw@example.com/", codes::HTTP_BLOCKED),
        ("http://[::1", codes::HTTP_FAILED),
        ("http://", codes::HTTP_FAILED),
        ("//169.254.169.254/latest/meta-data/", codes::HTTP_BLOCKED),
    ] {
        let server = Server::start(move |_| response("302 Found", &[("location", location)], b"")).await;
        let skill = HttpCall::new(AllowList::parse(&server.address.to_string()).unwrap()).unwrap();
        let failure = run_with(&skill, json!({"url": server.url("/")})).await.unwrap_err();
        assert_eq!(failure.code, code, "{location}: {failure}");
    }
}

#[tokio::test]
async fn names_connect_only_to_addresses_that_are_allowed() {
    let server = Server::always(response("200 OK", &[], b"")).await;
    let port = server.address.port();
    for (allow, addresses, passes) in [
        (String::new(), &["127.0.0.1"][..], false),
        (String::new(), &["::1", "::ffff:127.0.0.1", "10.0.0.1", "64:ff9b::7f00:1"], false),
        (format!("127.0.0.1:{port}"), &["127.0.0.1"], true),
        // The first address would refuse the connection in its own way; it must not even be tried.
        (format!("127.0.0.1:{port}"), &["127.0.0.2", "169.254.169.254", "127.0.0.1"], true),
        (format!("127.0.0.1:{}", port ^ 1), &["127.0.0.1"], false),
        ("rebind.test".into(), &["127.0.0.1"], true),
        (format!("rebind.test:{port}"), &["127.0.0.1"], true),
        ("*.test".into(), &["127.0.0.1"], true),
        ("other.test".into(), &["127.0.0.1"], false),
    ] {
        let skill = HttpCall::with_lookup(AllowList::parse(&allow).unwrap(), lookup(addresses)).unwrap();
        let result = run_with(&skill, json!({"url": format!("http://rebind.test:{port}/")})).await;
        match result {
            Ok(_) => assert!(passes, "{allow} {addresses:?}"),
            Err(failure) => {
                assert!(!passes && failure.code == codes::HTTP_BLOCKED, "{allow} {addresses:?}: {failure}");
                assert!(failure.message.contains(&format!("add rebind.test:{port} to")), "{failure}");
            }
        }
    }
    let failure =
        run_with(&HttpCall::with_lookup(AllowList::default(), lookup(&[])).unwrap(), json!({"url": "http://x.test/"}))
            .await
            .unwrap_err();
    assert_eq!((failure.code, failure.retryable), (codes::HTTP_FAILED, true));
    let failure = run_with(
        &HttpCall::new(AllowList::default()).unwrap(),
        json!({"url": server.url("/").replace("127.0.0.1", "localhost")}),
    )
    .await
    .unwrap_err();
    assert_eq!(failure.code, codes::HTTP_BLOCKED, "{failure}");
}

#[tokio::test]
async fn wrong_inputs_are_explained() {
    let many: serde_json::Map<_, _> = (0..65).map(|n| (format!("x{n}"), json!(""))).collect();
    for (input, says) in [
        (json!({}), "url"),
        (json!({"url": "example.com/x"}), "needs a scheme"),
        (json!({"url": "http://"}), "/url"),
        (json!({"url": "http://x", "metod": "GET"}), "metod"),
        (json!({"url": "http://x", "method": "BREW"}), "BREW"),
        (json!({"url": "http://x", "timeout_ms": 0}), "/timeout_ms is 0: expected 1 to 600000"),
        (json!({"url": "http://x", "max_bytes": 10_000_001}), "/max_bytes"),
        (json!({"url": "http://x", "max_redirects": 21}), "/max_redirects"),
        (json!({"url": "http://x", "headers": {"host": "y"}}), "/headers/host can't be set"),
        (json!({"url": "http://x", "headers": {"Content-Length": "1"}}), "belongs to the connection"),
        (json!({"url": "http://x", "headers": {"a b": "y"}}), "not a header name"),
        (json!({"url": "http://x", "headers": {"a": "y\r\nb: hunter2"}}), "/headers/a has a value"),
        (json!({"url": "http://x", "headers": {"a": "1", "A": "2"}}), "twice"),
        (json!({"url": "http://x", "headers": many}), "expected at most 64"),
        (json!({"url": "http://x", "headers": {"a": "y".repeat(20_000)}}), "expected at most 16384"),
        (json!({"url": "http://x", "response_headers": [""]}), "not a header name"),
        (json!({"url": "http://x", "query": {"a": [[1]]}}), "list within a list"),
        (json!({"url": format!("http://x/{}", "y".repeat(20_000))}), "expected at most 16384"),
    ] {
        let failure = run(input).await.unwrap_err();
        assert_eq!((&failure.code, failure.retryable), (&codes::INVALID_INPUT, false), "{says}: {failure}");
        assert!(failure.message.contains(says) && !failure.message.contains("hunter2"), "{says}: {failure}");
    }
    let failure = run(json!({"url": "http://x", "body": "y".repeat(10_000_001)})).await.unwrap_err();
    assert_eq!(failure.code, codes::PAYLOAD_TOO_LARGE);
}

#[test]
fn the_contract_says_what_the_skill_is() {
    let skill = HttpCall::new(AllowList::default()).unwrap();
    let contract = skill.contract();
    assert_eq!(contract.version.to_string(), "http_call@1.0.0");
    assert_eq!(contract.crash, aos_core::skill::CrashClass::Idempotent);
    assert_eq!(contract.determinism, aos_core::skill::Determinism::Recorded);
    assert!(
        contract.volatile.contains(&"/elapsed_ms".to_owned())
            && contract.volatile.contains(&"/headers/date".to_owned())
    );
    assert_eq!(contract.input_schema["required"], json!(["url"]));
    assert_eq!(contract.input_schema["additionalProperties"], json!(false));
    assert!(contract.hash().is_ok());
}
