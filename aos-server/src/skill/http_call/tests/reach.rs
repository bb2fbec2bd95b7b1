//! What may be reached.

use super::*;

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
