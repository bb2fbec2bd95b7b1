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

/// A server that says that it is ready, and answers or breaks off every other request; gives its port and how many
/// there were.
fn server(answers: bool) -> (u16, Arc<AtomicUsize>) {
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
                    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
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
    let ((good, answered), (bad, broken)) = (server(true), server(false));
    let (api, state) = (free_port().unwrap(), free_port().unwrap());
    let _balancer = Haproxy::start(&balancer(&[good, bad], api, state), api).unwrap();
    let http = reqwest::Client::new();
    for (method, key, is_repeated) in
        [("GET", None, true), ("POST", Some("k"), true), ("POST", None, false), ("DELETE", None, false)]
    {
        (answered.store(0, Ordering::SeqCst), broken.store(0, Ordering::SeqCst));
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
