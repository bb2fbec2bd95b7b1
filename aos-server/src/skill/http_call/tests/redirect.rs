//! Redirects.

use super::*;

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
