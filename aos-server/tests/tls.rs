//! The server with a certificate of its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod cli_support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aos_testkit::service;
use cli_support::server::curl;
use cli_support::{Done, Place};

/// Against hangs only.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a certificate for localhost, its own authority.
fn make_certificate(place: &Place, name: &str) {
    let openssl = service::program("openssl", "openssl").unwrap();
    let (certificate, key) = (place.path(&format!("{name}.crt")), place.path(&format!("{name}.key")));
    let done = Command::new(openssl)
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// A server that shows `shown.crt`.
struct Server {
    place: Place,
    child: Child,
    port: u16,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let place = Place::new();
        make_certificate(&place, "first");
        for name in ["crt", "key"] {
            std::fs::copy(place.path(&format!("first.{name}")), place.path(&format!("shown.{name}"))).unwrap();
        }
        let files = ["--port", "0", "--set", "AOS_TLS_CERT_FILE=shown.crt", "--set", "AOS_TLS_KEY_FILE=shown.key"];
        let mut command = place.command(&[args, &files].concat());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let (_, rest) = line.split_once(" on https://127.0.0.1:")?;
            rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|port| port.parse().ok())
        });
        // Read to the end, so that the server never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { port: port.unwrap_or_else(|| panic!("the server does not listen")), place, child }
    }

    fn get(&self, authority: &str, path: &str) -> Done {
        let authority = self.place.path(&format!("{authority}.crt"));
        let url = format!("https://localhost:{}{path}", self.port);
        curl(&["-sS", "--cacert", authority.to_str().unwrap(), &url])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn requests_are_encrypted_and_commands_can_be_told_whom_to_trust() {
    let server = Server::start(&["serve"]);
    server.get("first", "/health").exits(0).prints("\"status\"");
    // Nobody who does not know the authority.
    make_certificate(&server.place, "other");
    assert_ne!(server.get("other", "/health").code, 0);
    // Nothing that is not encrypted.
    let mut plain = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    plain.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // Cut off, perhaps.
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));

    let url = format!("https://localhost:{}", server.port);
    let mut command = server.place.command(&["queue", "--url", &url]);
    cli_support::run(command.env("SSL_CERT_FILE", server.place.path("shown.crt")), b"").exits(0);
    server.place.aos(&["queue", "--url", &url]).exits(3).says("invalid peer certificate").says("SSL_CERT_FILE");
}

/// Who connects and says nothing does not keep others out.
#[test]
fn silent_callers_hold_nobody_up() {
    let server = Server::start(&["worker"]);
    let silent: Vec<_> = (0..64).map(|_| TcpStream::connect(("127.0.0.1", server.port)).unwrap()).collect();
    server.get("first", "/metrics").exits(0).prints("aos_");
    drop(silent);
}

#[test]
fn a_certificate_is_replaced_while_the_server_runs() {
    let server = Server::start(&["serve"]);
    make_certificate(&server.place, "second");
    let show = |name: &str, as_name: &str| {
        std::fs::copy(server.place.path(name), server.place.path(as_name)).unwrap();
    };
    // In between the two do not belong together, and the first one stays.
    show("second.crt", "shown.crt");
    std::thread::sleep(Duration::from_secs(3));
    server.get("first", "/health").exits(0);
    show("second.key", "shown.key");
    let begun = Instant::now();
    while server.get("second", "/health").code != 0 {
        assert!(begun.elapsed() < PATIENCE, "the second certificate is never shown");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn files_that_are_no_certificate_and_key_stop_the_start() {
    let place = Place::new();
    make_certificate(&place, "first");
    make_certificate(&place, "second");
    place.write("empty", "");
    for (certificate, key, expected) in [
        ("first.crt", "", "AOS_TLS_KEY_FILE has to be set as well"),
        ("", "first.key", "AOS_TLS_CERT_FILE has to be set as well"),
        ("first.crt", "second.key", "second.key is no key for the certificate in first.crt"),
        ("nowhere", "first.key", "nowhere can't be read"),
        ("empty", "first.key", "empty holds no certificate in PEM"),
        ("first.key", "first.key", "first.key holds no certificate in PEM"),
        ("first.crt", "empty", "empty is not what it should be in PEM"),
        ("first.crt", "first.crt", "first.crt is not what it should be in PEM"),
    ] {
        let mut args = vec!["serve".to_owned(), "--port=0".to_owned()];
        for (name, file) in [("CERT", certificate), ("KEY", key)] {
            if !file.is_empty() {
                args.extend(["--set".to_owned(), format!("AOS_TLS_{name}_FILE={file}")]);
            }
        }
        place.aos(&args).exits(2).says(expected);
    }
}
