//! API keys as an operator meets them: the first one, those made with it, and what nobody must ever read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod cli_support;

use std::time::{Duration, Instant};

use cli_support::server::Server;
use cli_support::{Done, Place};

/// Against hangs only.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a command with a key.
fn with_key(server: &Server, key: &str, args: &[&str]) -> Done {
    let set = format!("AOS_API_KEY={key}");
    server.place.aos(&[args, &["--url", &server.url, "--set", &set]].concat())
}

/// The word that is a key, in what somebody was shown.
fn key_in(text: &str) -> String {
    text.split_whitespace()
        .find(|word| word.starts_with("aos_"))
        .unwrap_or_else(|| panic!("no key in {text}"))
        .to_owned()
}

/// The name of a key.
fn id_of(key: &str) -> &str {
    key.split('_').nth(1).unwrap()
}

#[test]
fn the_first_key_is_shown_once_and_makes_others() {
    let mut server = Server::with(&["--host", "0.0.0.0", "--set", "LOG_FILE=server.log", "--set", "LOG_LEVEL=trace"]);
    let first = key_in(&server.first_screen);
    server.aos(&["runs", "list"]).exits(2).says("no API key was sent").says("set AOS_API_KEY");
    with_key(&server, &first, &["runs", "list"]).exits(0);

    let made =
        with_key(&server, &first, &["keys", "create", "nightly reports", "--scope", "run", "--by", "Ada"]).exits(0);
    let second = made.out.trim().to_owned();
    assert_eq!(key_in(&second), second);
    with_key(&server, &second, &["runs", "list"]).exits(0);
    with_key(&server, &second, &["keys", "list"]).exits(2).says("has the scope run, and this needs admin");
    with_key(&server, "aos_0", &["runs", "list"]).exits(2).says("is none");
    with_key(&server, &first, &["keys"]).exits(0).prints("nightly reports").prints("by Ada").prints("admin");
    let audit = with_key(&server, &first, &["audit", "search", "--action", "createKey"]).exits(0);
    assert!(audit.out.contains("the server, at its start") && audit.out.contains(id_of(&second)), "{}", audit.out);
    with_key(&server, &first, &["keys", "revoke", &second]).exits(0).prints("revoked");
    with_key(&server, &second, &["runs", "list"]).exits(2).says("was revoked");

    // Whoever has the file needs no key.
    let db = server.place.path("aos-data/aos.db");
    let db = db.to_str().unwrap();
    let list = server.place.aos(&["keys", "list", "--db", db, "-o", "json"]).exits(0);
    assert_eq!(list.json().as_array().unwrap().len(), 2);
    assert_eq!(server.stop(), Some(0));

    // Nothing that is kept has a key in it, and the next start shows none.
    let log = server.place.read("server.log");
    let file = std::fs::read(server.place.path("aos-data/aos.db")).unwrap();
    for key in [&first, &second] {
        let secret = key.rsplit('_').next().unwrap();
        assert!(!log.contains(secret), "the log has a key");
        assert!(!list.out.contains(secret), "the list has a key");
        assert!(!file.windows(secret.len()).any(|part| part == secret.as_bytes()), "the database has a key");
    }
    assert!(log.contains(" key="), "log lines say whose request it was");
    let (mut process, _, screen) = cli_support::server::start(&server.place, &["--host", "0.0.0.0"]);
    assert!(!screen.contains("aos_"), "{screen}");
    process.kill().unwrap();
    process.wait().unwrap();
}

/// What has been done in the database holds in a running server soon after.
#[test]
fn keys_made_and_revoked_beside_a_server_are_obeyed() {
    let server = Server::start();
    let db = server.place.path("aos-data/aos.db");
    let db = db.to_str().unwrap();
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "{what} never came to be");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    server.aos(&["queue"]).exits(0);
    let key = key_in(&server.place.aos(&["keys", "create", "ops", "--scope", "read", "--db", db]).exits(0).out);
    until("a server that wants keys", &|| server.aos(&["queue"]).code == 2);
    with_key(&server, &key, &["queue"]).exits(0);
    server.place.aos(&["keys", "revoke", &key, "--db", db]).exits(0);
    until("a server that refuses the key", &|| with_key(&server, &key, &["queue"]).code == 2);
}

#[test]
fn mistakes_are_told() {
    let place = Place::new();
    for (args, expected) in [
        (&["keys", "create", "x"][..], "--scope"),
        (&["keys", "create", "x", "--scope", "root"], "expected one of read, run, admin"),
        (&["keys", "create", "x", "--scope", "run", "--expires-in", "soon"], "expected a duration such as 90d"),
        (&["keys", "create", "x", "--scope", "run", "--expires-in", "0s"], "expected a duration such as 90d"),
        (&["keys", "list", "--set", "AOS_API_KEY=two words"], "AOS_API_KEY"),
    ] {
        let done = place.aos(args).exits(2).says(expected);
        assert!(!done.err.contains("two words"), "{}", done.err);
    }
}
