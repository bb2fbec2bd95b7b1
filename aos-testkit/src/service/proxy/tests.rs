//! Each control, before a service that sends back what it gets.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{Proxy, Way};

/// Longer than any wait that ends.
const LONG: Duration = Duration::from_secs(30);

/// Long enough to see that nothing comes.
const A_WHILE: Duration = Duration::from_millis(100);

/// A service that sends back what it gets, and a proxy before it; what each of its connections got, once it has ended.
fn echo() -> (Proxy, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).unwrap();
    let (ended, got) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let ended = ended.clone();
            thread::spawn(move || {
                let (mut got, mut piece) = (Vec::new(), [0; 1024]);
                while let Ok(read @ 1..) = (&stream).read(&mut piece) {
                    got.extend_from_slice(&piece[..read]);
                    let _ = (&stream).write_all(&piece[..read]);
                }
                let _ = ended.send(String::from_utf8(got).unwrap());
            });
        }
    });
    (proxy, got)
}

fn connect(proxy: &Proxy) -> TcpStream {
    let client = TcpStream::connect(proxy.address()).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    client
}

fn say(mut client: &TcpStream, text: &str) {
    client.write_all(text.as_bytes()).unwrap();
}

fn hears(mut client: &TcpStream, text: &str) {
    let mut answer = vec![0; text.len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), text);
}

fn hears_nothing(client: &TcpStream) {
    client.set_read_timeout(Some(A_WHILE)).unwrap();
    let error = (&*client).read(&mut [0]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    client.set_read_timeout(Some(LONG)).unwrap();
}

/// Asserts that the connection ends after `text`.
fn ends_after(mut client: &TcpStream, text: &str) {
    let mut rest = Vec::new();
    // An end with bytes under way comes as a reset.
    if let Err(error) = client.read_to_end(&mut rest) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert_eq!(String::from_utf8(rest).unwrap(), text);
}

#[test]
fn everything_passes_both_ways_and_so_does_the_end() {
    let (proxy, got) = echo();
    let client = connect(&proxy);
    let long = "x".repeat(100_000);
    let sent = long.clone();
    let writer = client.try_clone().unwrap();
    let writing = thread::spawn(move || say(&writer, &sent));
    hears(&client, &long);
    writing.join().unwrap();
    assert_eq!(proxy.connections(), 1);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    ends_after(&client, "");
    assert_eq!(got.recv_timeout(LONG).unwrap(), long);
    assert_eq!(proxy.cuts(), 0);
}

#[test]
fn what_is_held_back_goes_once_it_may() {
    type Fault = fn(&Proxy);
    let faults: [(&str, Fault); 2] =
        [("delay", |proxy| proxy.delay(Duration::from_secs(3_600))), ("black hole", Proxy::black_hole)];
    for (fault, begin) in faults {
        let (proxy, got) = echo();
        let old = connect(&proxy);
        say(&old, "before");
        hears(&old, "before");
        begin(&proxy);
        say(&old, " after");
        hears_nothing(&old);
        let new = connect(&proxy);
        say(&new, "new");
        hears_nothing(&new);
        let gone = connect(&proxy);
        say(&gone, "gone");
        drop(gone);
        assert!(got.recv_timeout(A_WHILE).is_err(), "{fault}: the service learned of an end");
        proxy.pass();
        hears(&old, " after");
        hears(&new, "new");
        assert_eq!(got.recv_timeout(LONG).unwrap(), "gone", "{fault}");
    }
}

#[test]
fn a_short_delay_passes() {
    let (proxy, _got) = echo();
    proxy.delay(Duration::from_millis(20));
    let client = connect(&proxy);
    say(&client, "late");
    hears(&client, "late");
}

#[test]
fn a_cut_closes_what_there_is_and_refusing_closes_what_comes() {
    let (proxy, got) = echo();
    let client = connect(&proxy);
    say(&client, "one");
    hears(&client, "one");
    proxy.cut();
    ends_after(&client, "");
    assert_eq!(got.recv_timeout(LONG).unwrap(), "one");
    assert_eq!((proxy.cuts(), proxy.connections()), (1, 0));

    let client = connect(&proxy);
    say(&client, "two");
    hears(&client, "two");
    proxy.refuse();
    ends_after(&client, "");
    ends_after(&connect(&proxy), "");
    proxy.pass();
    let client = connect(&proxy);
    say(&client, "three");
    hears(&client, "three");
    drop(proxy);
    ends_after(&client, "");
}

#[test]
fn stranded_connections_stay_so_and_new_ones_pass() {
    let (proxy, _got) = echo();
    let old = connect(&proxy);
    say(&old, "one");
    hears(&old, "one");
    proxy.strand();
    proxy.pass();
    say(&old, "two");
    hears_nothing(&old);
    let new = connect(&proxy);
    say(&new, "three");
    hears(&new, "three");
    hears_nothing(&old);
    proxy.cut_stranded();
    ends_after(&old, "");
    say(&new, "four");
    hears(&new, "four");
}

#[test]
fn a_connection_is_cut_after_so_many_bytes() {
    // What is said, what the service gets, what the client hears.
    let table = [
        (Way::ToClient, 0, "commit", ""),
        (Way::ToClient, 4, "commit", "comm"),
        (Way::ToService, 0, "", ""),
        (Way::ToService, 4, "comm", "comm"),
    ];
    for (way, bytes, gets, hears_at_most) in table {
        let (proxy, got) = echo();
        let client = connect(&proxy);
        say(&client, "begin ");
        hears(&client, "begin ");
        proxy.cut_after(way, bytes);
        say(&client, "commit");
        let mut rest = Vec::new();
        let _ = (&client).read_to_end(&mut rest);
        let heard = String::from_utf8(rest).unwrap();
        // The answer to the first half of a request may be lost with the connection.
        let is_exact = way == Way::ToClient;
        assert!(hears_at_most.starts_with(&heard) && (!is_exact || heard == hears_at_most), "{way:?} {bytes}: {heard}");
        assert_eq!(got.recv_timeout(LONG).unwrap(), format!("begin {gets}"), "{way:?} {bytes}");
        assert_eq!(proxy.cuts(), 1, "{way:?} {bytes}");
        let next = connect(&proxy);
        say(&next, "goes on");
        hears(&next, "goes on");
    }
}
