//! `doctor`

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod cli_support;

use std::net::TcpListener;

use cli_support::{Place, run};
use serde_json::Value;

fn check<'a>(checks: &'a Value, name: &str) -> &'a Value {
    checks.as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

#[test]
fn a_good_place_passes_and_is_left_as_it_was() {
    let place = Place::new();
    let text = place.aos(&["doctor", "--port", "0"]).exits(0).prints("✓ settings").prints("✓ determinism").out;
    assert!(!text.contains('✗'), "{text}");
    let checks = place.aos(&["doctor", "--port", "0", "-o", "json"]).exits(0).json();
    assert_eq!(check(&checks, "data directory")["found"], "aos-data will be created");
    assert!(checks.as_array().unwrap().iter().all(|check| check["level"] == "ok"), "{checks}");
    assert_eq!(std::fs::read_dir(place.root()).unwrap().count(), 0);
}

#[test]
fn what_is_wrong_is_named_with_advice() {
    let place = Place::new();
    let bad = place.write("bad.db", "this is no database at all");
    place.write("file", "");
    let torn = place.write("torn.db", torn_database(&place));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (args, code, name, level, found) in [
        (&["--db", &bad][..], 3, "database", "error", "bad.db is not a SQLite file"),
        (&["--db", &torn], 3, "database", "error", "torn.db is damaged"),
        (&["--db", "/proc/aos/x.db"], 3, "data directory", "error", "nothing can be written in /proc"),
        (&["--db", "file/x.db"], 3, "data directory", "error", "file"),
        (&["--port", &port], 0, "port", "warning", "is taken"),
        (&["--host", "192.0.2.1", "--set", "AOS_ALLOW_INSECURE=1"], 2, "port", "error", "can't be listened on"),
        (&["--port", "x"], 2, "settings", "error", "PORT (command line)"),
        (&["--set", "LOG_LEVLE=info"], 2, "settings", "error", "did you mean LOG_LEVEL?"),
    ] {
        let base =
            if name == "port" { &["doctor", "-o", "json"][..] } else { &["doctor", "-o", "json", "--set", "PORT=0"] };
        let checks = place.aos(&[base, args].concat()).exits(code).json();
        let check = check(&checks, name);
        assert_eq!(check["level"], level, "{args:?}: {check}");
        assert!(check["found"].as_str().unwrap().contains(found), "{args:?}: {check}");
        assert!(check["advice"].is_string(), "{args:?}: {check}");
    }
}

/// A database whose second half is lost.
fn torn_database(place: &Place) -> Vec<u8> {
    let path = place.path("whole.db");
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(40000));").unwrap();
    drop(conn);
    place
        .aos(&["doctor", "--set", "PORT=0", "--db", "whole.db"])
        .exits(0)
        .prints("whole.db is a SQLite file, and whole");
    let bytes = std::fs::read(path).unwrap();
    bytes[..bytes.len() / 2].to_vec()
}

#[test]
fn redis_is_looked_at_and_never_stops_a_start() {
    let (place, redis) = (Place::new(), aos_testkit::service::Redis::start(&["maxmemory=100mb"]).unwrap());
    let (plain, tls) = (redis.url(), format!("rediss://127.0.0.1:{}", redis.port()));
    let socket = format!("unix://{}", redis.socket().display());
    let nobody = "redis://:hunter2@127.0.0.1:1".to_owned();
    let doctor = |url: &str| {
        let done = run(place.command(&["doctor", "--port", "0", "-o", "json"]).env("REDIS_URL", url), b"").exits(0);
        assert!(!done.out.contains("hunter2"), "{}", done.out);
        check(&done.json(), "redis").clone()
    };
    for (url, level, found) in [
        (&plain, "ok", "answers, and takes writes"),
        (&socket, "ok", "answers, and takes writes"),
        (&nobody, "warning", "Redis at 127.0.0.1:1 is of no use: Connection refused"),
        (&format!("redis://:hunter2@127.0.0.1:{}", redis.port()), "warning", "authentication failed"),
        // The other end doesn't speak TLS; this one does.
        (&tls, "warning", "is of no use: "),
    ] {
        let check = doctor(url);
        let says = check["found"].as_str().unwrap().to_lowercase();
        assert!(check["level"] == level && says.contains(&found.to_lowercase()), "{url}: {check}");
        assert!(!says.contains("no connection has been made yet"), "{url}: {check}");
        assert_eq!(check["advice"].is_string(), level == "warning", "{check}");
    }
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    assert!(doctor(&plain)["advice"].as_str().unwrap().contains("maxmemory"));
}

#[test]
fn unknown_keys_are_warnings() {
    let place = Place::new();
    let mut command = place.command(&["doctor", "--port", "0"]);
    command.env("AOS_HTTP_ALOW", "x").env("FORCE_STUB_ADAPTERS", "1");
    let done = run(&mut command, b"").exits(0);
    for part in ["! settings: AOS_HTTP_ALOW", "did you mean AOS_HTTP_ALLOW?", "did you mean FORCE_STUB_ADAPTER?"] {
        assert!(done.out.contains(part), "{part}: {}", done.out);
    }
}

#[test]
fn models_are_reported_as_they_would_answer() {
    let place = Place::new();
    for (key, value, says) in [
        ("FORCE_STUB_ADAPTER", "true", "goes to the stub"),
        ("DISABLE_LIVE_ADAPTERS", "true", "switched off"),
        ("ANTHROPIC_API_KEY", "sk-ant-hunter2", "an API key is set"),
        ("LOG_LEVEL", "info", "no API key is set"),
    ] {
        let done = run(place.command(&["doctor", "--port", "0"]).env(key, value), b"").exits(0).prints(says);
        assert!(!done.out.contains("hunter2"));
    }
}
