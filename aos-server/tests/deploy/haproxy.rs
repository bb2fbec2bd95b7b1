//! The load balancer's configuration.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aos_server::http::params::MAX_WAIT;
use aos_server::server::LEAVE_AFTER;
use aos_testkit::service::{Haproxy, free_port};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::operator_support::balancer;
use crate::support::{read, seconds};

const FILE: &str = "aos-server/deploy/haproxy/haproxy.cfg";

#[test]
fn haproxy_takes_the_configuration() {
    Haproxy::check(&read(FILE)).unwrap();
    let wrong = read(FILE).replace("option redispatch 1", "option redispach 1");
    assert!(Haproxy::check(&wrong).unwrap_err().to_string().contains("redispach"));
}

/// The value after these words.
fn value(words: &str) -> String {
    let text = read(FILE);
    let after = text.split_once(words).unwrap_or_else(|| panic!("no {words:?}")).1;
    after.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn times_fit_those_of_the_server() {
    for timeout in ["timeout client ", "timeout server "] {
        assert!(seconds(&value(timeout)) > MAX_WAIT, "{timeout}: a request that waits is broken off");
    }
    let ms = |words: &str| Duration::from_millis(value(words).strip_suffix("ms").unwrap().parse().unwrap());
    let fall: u32 = value(" fall ").parse().unwrap();
    let noticed = seconds(&value(" inter ")) + ms(" fastinter ") * (fall - 1);
    assert!(noticed * 2 <= LEAVE_AFTER, "a server that ends is noticed after {noticed:?}");
    assert_eq!(value("meth GET uri "), "/health/ready");
}

/// A server that is ready with this status, and answers or breaks off every other request; gives its port and how many
/// there were.
fn server(ready: u16, answers: bool) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let (port, seen) = (listener.local_addr().unwrap().port(), Arc::<AtomicUsize>::default());
    let (listener, count) = (tokio::net::TcpListener::from_std(listener).unwrap(), Arc::clone(&seen));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut request = vec![0; 4_096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let is_check = request[..length].starts_with(b"GET /health/ready ");
                if !is_check && length > 0 {
                    count.fetch_add(1, Ordering::SeqCst);
                }
                if is_check || answers {
                    let status = if is_check { ready } else { 200 };
                    let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    (port, seen)
}

#[tokio::test]
async fn only_what_does_the_same_once_and_twice_is_asked_again() {
    const REQUESTS: usize = 10;
    let ((good, answered), (bad, broken)) = (server(200, true), server(200, false));
    let (api, state) = (free_port().unwrap(), free_port().unwrap());
    let _balancer = Haproxy::start(&balancer(&[good, bad], api, state), api).unwrap();
    let http = reqwest::Client::new();
    for (method, key, is_repeated) in
        [("GET", None, true), ("POST", Some("k"), true), ("POST", None, false), ("DELETE", None, false)]
    {
        answered.store(0, Ordering::SeqCst);
        broken.store(0, Ordering::SeqCst);
        let mut failed = 0;
        for _ in 0..REQUESTS {
            let request = http.request(method.parse().unwrap(), format!("http://127.0.0.1:{api}/v1/runs"));
            let request = key.iter().fold(request, |request, key| request.header("idempotency-key", *key));
            // No answer at all is one: the client has to decide.
            failed += usize::from(request.send().await.map_or(true, |answer| answer.status() != 200));
        }
        let (answered, broken) = (answered.load(Ordering::SeqCst), broken.load(Ordering::SeqCst));
        assert!(broken > 0, "{method}: no request was broken off");
        let expected = if is_repeated { (REQUESTS, 0) } else { (REQUESTS - broken, broken) };
        assert_eq!((answered, failed), expected, "{method}, key {key:?}: {broken} broken off");
    }
}

#[tokio::test]
async fn an_answer_that_says_why_is_better_than_none() {
    let (one, other) = (server(503, true), server(200, true));
    let (api, state) = (free_port().unwrap(), free_port().unwrap());
    let gone = free_port().unwrap();
    let _balancer = Haproxy::start(&balancer(&[one.0, gone], api, state), api).unwrap();
    let (http, url) = (reqwest::Client::new(), format!("http://127.0.0.1:{state}/;csv"));
    until_down(&http, &url, 3).await;
    for _ in 0..4 {
        let answer = http.get(format!("http://127.0.0.1:{api}/v1/runs")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "none is ready, and one is there");
    }
    // While one is ready, the others get nothing.
    let (api, state) = (free_port().unwrap(), free_port().unwrap());
    let seen = one.1.swap(0, Ordering::SeqCst);
    assert!(seen >= 4);
    let _balancer = Haproxy::start(&balancer(&[one.0, other.0], api, state), api).unwrap();
    let url = format!("http://127.0.0.1:{state}/;csv");
    until_down(&http, &url, 1).await;
    one.1.store(0, Ordering::SeqCst);
    for _ in 0..4 {
        assert_eq!(http.get(format!("http://127.0.0.1:{api}/v1/runs")).send().await.unwrap().status(), 200);
    }
    assert_eq!((one.1.load(Ordering::SeqCst), other.1.load(Ordering::SeqCst) >= 4), (0, true));
}

/// Waits until the balancer's statistics, which may be there a moment after the rest, say that so many lines are down.
async fn until_down(http: &reqwest::Client, url: &str, lines: usize) {
    for _ in 0..1_500 {
        if let Ok(answer) = http.get(url).send().await
            && let Ok(text) = answer.text().await
            && text.matches(",DOWN,").count() >= lines
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the balancer does not notice that its replicas are not ready");
}
