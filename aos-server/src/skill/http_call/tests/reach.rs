//! What may be reached.

use super::*;

/// Three ways to every one of them: named in the URL, behind a redirect, and by a name that was another address's when it
/// was looked up before. Whatever of this machine they are, nobody connects.
#[tokio::test]
async fn every_private_address_is_blocked_direct_redirected_and_rebound() {
    // Of all addresses of this machine, those of IPv4 included.
    let canary = TcpListener::bind("[::]:0").await.unwrap();
    let port = canary.local_addr().unwrap().port();
    let server = Server::start(move |request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let (way, index) = path.trim_start_matches('/').split_once('/').unwrap();
        let index: usize = index.parse().unwrap();
        let host = if way == "named" { private_hosts()[index].0.to_owned() } else { format!("r{index}.test") };
        let status = ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"][index % 4];
        response(status, &[("location", &format!("http://{host}:{port}/"))], b"")
    })
    .await;
    let here = server.address;
    // A name is the redirecting server's at first, and from then on the address of its row.
    let known: Mutex<Vec<String>> = Mutex::default();
    let rebinding: Lookup = Arc::new(move |name| {
        let index: usize = name.trim_start_matches('r').trim_end_matches(".test").parse().unwrap();
        let mut known = known.lock().unwrap();
        let address = if known.contains(&name) { private_hosts()[index].1 } else { here.ip() };
        known.push(name);
        Box::pin(async move { Ok(vec![address]) })
    });
    // Only the redirecting server itself is open.
    let skill = HttpCall::with_lookup(AllowList::parse(&here.to_string()).unwrap(), rebinding).unwrap();
    let rows = private_hosts();
    for (index, (host, address)) in rows.iter().enumerate() {
        for url in [
            format!("http://{host}:{port}/"),
            server.url(&format!("/named/{index}")),
            format!("http://r{index}.test:{}/rebound/{index}", here.port()),
        ] {
            let failure = run_with(&skill, json!({"url": url})).await.unwrap_err();
            assert_eq!((&failure.code, failure.retryable), (&codes::HTTP_BLOCKED, false), "{host} by {url}: {failure}");
            assert!(failure.message.contains("AOS_HTTP_ALLOW"), "{failure}");
            assert!(failure.message.contains(&address.to_string()), "{host} by {url}: {failure}");
        }
    }
    assert_eq!(server.requests().len(), 2 * rows.len());
    let connected = tokio::time::timeout(Duration::ZERO, canary.accept()).await;
    assert!(connected.is_err(), "somebody connected: {connected:?}");
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
