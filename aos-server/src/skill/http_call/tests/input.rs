//! What goes out.

use super::*;

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
async fn once_differs_in_what_happens_after_a_crash() {
    let server = Server::always(response("200 OK", &[], b"")).await;
    let skill = HttpCall::new(AllowList::parse("127.0.0.0/8").unwrap()).unwrap();
    let once = skill.once().unwrap();
    assert_eq!(once.contract().version.to_string(), "http_call_once@1.0.0");
    assert_eq!((skill.contract().crash, once.contract().crash), (CrashClass::Idempotent, CrashClass::Once));
    assert_eq!(skill.contract().volatile, once.contract().volatile);
    run_with(&once, json!({"method": "POST", "url": server.url("/")})).await.unwrap();
    assert_eq!(header(&server.requests().pop().unwrap(), "idempotency-key"), Some("key-1"));
    let closed = HttpCall::new(AllowList::default()).unwrap().once().unwrap();
    assert_eq!(run_with(&closed, json!({"url": server.url("/")})).await.unwrap_err().code, codes::HTTP_BLOCKED);
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
    assert_eq!(contract.crash, CrashClass::Idempotent);
    assert_eq!(contract.determinism, aos_core::skill::Determinism::Recorded);
    assert!(
        contract.volatile.contains(&"/elapsed_ms".to_owned())
            && contract.volatile.contains(&"/headers/date".to_owned())
    );
    assert_eq!(contract.input_schema["required"], json!(["url"]));
    assert_eq!(contract.input_schema["additionalProperties"], json!(false));
    assert!(contract.hash().is_ok());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(10_000))]

    #[test]
    fn any_url_header_and_query_is_taken_or_named(url in "(https?://)?\\PC{0,30}", name in "\\PC{0,12}", value in "\\PC{0,12}") {
        let input = json!({"url": url, "headers": {&name: &value}, "query": {&name: &value}, "body": &value, "response_headers": []});
        let input: Input = serde_json::from_value(input).unwrap();
        match input.check("key", None) {
            Ok(request) => {
                // What goes out is judged, and can't smuggle a second request.
                let _ = Guard::default().url(&request.url);
                assert!(request.headers.values().all(|value| !value.as_bytes().contains(&b'\n')));
            }
            Err(failure) => assert_eq!(failure.code, codes::INVALID_INPUT, "{failure}"),
        }
    }
}
