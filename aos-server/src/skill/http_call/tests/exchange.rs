//! Answers, well-behaved and not.

use super::*;

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
