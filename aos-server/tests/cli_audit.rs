//! The audit log as an auditor meets it: what was changed in it by hand is found.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod cli_support;

use std::path::{Path, PathBuf};

use cli_support::{Done, Place};
use rusqlite::Connection;

/// Of RFC 8410, section 10.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";
/// Another one.
const OTHER: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuA=
-----END PUBLIC KEY-----
";

/// A database on which somebody works with a key to sign with.
struct Log {
    place: Place,
}

impl Log {
    fn new() -> Self {
        let place = Place::new();
        place.write("audit.pem", PRIVATE);
        place.write("audit.pub", PUBLIC);
        place.write("other.pub", OTHER);
        place.aos(&["migrate", "--db", "aos.db"]).exits(0);
        Self { place }
    }

    /// Runs a command on the database, as Ada.
    fn aos(&self, args: &[&str]) -> Done {
        let args = [args, &["--db", "aos.db", "--set", "AOS_AUDIT_KEY_FILE=audit.pem"]].concat();
        cli_support::run(self.place.command(&args).env("USER", "Ada"), b"")
    }

    fn turn(&self, to: &str) {
        self.aos(&["switch", to, "pause_claims", "--reason", "maintenance"]).exits(0);
    }

    fn verify(&self, args: &[&str]) -> Done {
        self.aos(&[&["audit", "verify"], args].concat())
    }

    fn db(&self) -> PathBuf {
        self.place.path("aos.db")
    }
}

/// Does what the database refuses to do: whoever owns the file can take its refusal away.
fn forge(db: &Path, sql: &str) {
    let connection = Connection::open(db).unwrap();
    let refused = connection.execute_batch(sql).unwrap_err().to_string();
    assert!(refused.contains("append-only"), "{refused}");
    let mut triggers = String::new();
    for table in ["audit", "audit_checkpoint"] {
        for what in ["changed", "removed"] {
            triggers.push_str(&format!("DROP TRIGGER IF EXISTS {table}_is_not_{what};"));
        }
    }
    connection.execute_batch(&format!("{triggers} {sql}")).unwrap();
}

#[test]
fn a_log_is_searched_and_whole() {
    let log = Log::new();
    log.verify(&[]).exits(0).prints("whole: 0 record(s)");
    log.aos(&["audit", "checkpoint"]).exits(1).says("AOS_AUDIT_KEY_FILE");
    log.aos(&["audit", "search"]).exits(0).prints("no records");
    log.turn("on");
    log.turn("off");
    let found = log.aos(&["audit", "search"]).exits(0);
    assert_eq!(found.out.lines().count(), 4, "{}", found.out);
    let line = found.out.lines().next_back().unwrap();
    for part in ["1  ", "asked", "Ada at the database", "turnSwitch", "/v1/switches/pause_claims", "maintenance"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    for (args, expected) in [
        (&["maintenance", "--limit", "1"][..], 1),
        (&["--actor", "Ada at the database", "--stage", "done"], 2),
        (&["--action", "createKey"], 0),
        (&["--since", "2020-01-01", "--until", "2999-01-01T00:00:00Z"], 4),
    ] {
        let found = log.aos(&[&["audit", "search", "-o", "json"], args].concat()).exits(0).json();
        assert_eq!(found.as_array().unwrap().len(), expected, "{args:?}");
    }
    log.verify(&[]).exits(0).prints("whole: 4 record(s)").prints("signed until record 4").prints("--public-key");
    let verdict = log.verify(&["--public-key", "audit.pub", "-o", "json"]).exits(0).json();
    assert_eq!((&verdict["records"], &verdict["checkpoints"]), (&4.into(), &2.into()), "{verdict}");
    log.verify(&["--public-key", "other.pub"]).exits(1).prints("broken: none of 4 record(s) is signed by 19bf44");
    let reason = "a long\nstory ".repeat(50);
    log.aos(&["switch", "on", "pause_claims", "--reason", &reason]).exits(0);
    let found = log.aos(&["audit", "search", "--stage", "asked", "--limit", "1"]).exits(0);
    assert_eq!(found.out.lines().count(), 1, "{}", found.out);
    assert!(found.out.len() < 400 && found.out.trim_end().ends_with('…'), "{}", found.out);
    log.aos(&["audit", "top-cost"]).exits(0).prints("no calls");
}

#[test]
fn what_was_changed_by_hand_is_found() {
    for (sql, expected) in [
        ("UPDATE audit SET actor = 'Bob' WHERE seq = 3", "broken: record 3 was changed"),
        ("DELETE FROM audit WHERE seq = 2", "broken: record 2 is missing: 3 comes in its place"),
        ("DELETE FROM audit WHERE seq > 4", "broken: records after 4 are missing: there is a checkpoint of record 6"),
        ("DELETE FROM audit WHERE seq = 1", "broken: record 1 is missing"),
        (
            "UPDATE audit_checkpoint SET signature = replace(signature, '0', '1') WHERE seq = 4",
            "broken: the signature of a checkpoint of record 4",
        ),
        ("UPDATE audit_checkpoint SET seq = 5 WHERE seq = 4", "broken: the signature of a checkpoint of record 5"),
    ] {
        let log = Log::new();
        ["on", "off", "on"].iter().for_each(|to| log.turn(to));
        forge(&log.db(), sql);
        log.verify(&["--public-key", "audit.pub"]).exits(1).prints(expected);
    }
}

/// Hashes are computed by anybody. Signatures are not.
#[test]
fn records_without_a_signature_are_told() {
    let log = Log::new();
    log.turn("on");
    log.verify(&["--public-key", "audit.pub"]).exits(0).prints("signed until record 2");
    log.place.aos(&["switch", "off", "pause_claims", "--reason", "x", "--db", "aos.db"]).exits(0);
    let verdict = log.verify(&["--public-key", "audit.pub"]).exits(0).prints("whole: 4 record(s)");
    verdict.prints("signed until record 2").prints("the 2 record(s) after that are signed by nobody");
}

/// Whoever removes the end of the log, its checkpoints and all, has not removed a checkpoint that is kept elsewhere.
#[test]
fn a_checkpoint_kept_elsewhere_tells_of_an_end_that_is_gone() {
    let log = Log::new();
    ["on", "off", "on"].iter().for_each(|to| log.turn(to));
    let kept = log.aos(&["audit", "checkpoint"]).exits(0).out;
    log.place.write("kept.json", &kept);
    let pinned = ["--public-key", "audit.pub", "--checkpoint", "kept.json"];
    log.verify(&pinned).exits(0);
    forge(&log.db(), "DELETE FROM audit WHERE seq > 4; DELETE FROM audit_checkpoint WHERE seq > 4");
    log.verify(&pinned[..2]).exits(0).prints("whole: 4 record(s)");
    log.verify(&pinned).exits(1).prints("records after 4 are missing: there is a checkpoint of record 6");
    // Written anew, it is another one.
    log.turn("off");
    log.verify(&pinned).exits(1).prints("record 6 is another one than 19bf44");
}

#[test]
fn mistakes_are_told() {
    let log = Log::new();
    log.place.write("text.json", "{}");
    log.turn("on");
    log.place.write("kept.json", log.aos(&["audit", "checkpoint"]).exits(0).out);
    for (args, expected) in [
        (&["verify", "--public-key", "nowhere"][..], "openssl pkey -pubout"),
        (&["verify", "--public-key", "audit.pem"], "openssl pkey -pubout"),
        (&["verify", "--checkpoint", "nowhere"], "can't be read"),
        (&["verify", "--checkpoint", "text.json"], "holds no checkpoint"),
        (&["verify", "--checkpoint", "kept.json", "--public-key", "other.pub"], "is of the key 19bf44"),
        (&["search", "--stage", "maybe"], "expected one of asked, done, failed"),
        (&["search", "--since", "soon"], "expected a day such as"),
    ] {
        log.aos(&[&["audit"], args].concat()).exits(2).says(expected);
    }
    let done = log.place.aos(&["serve", "--set", "AOS_AUDIT_KEY_FILE=audit.pub"]).exits(2).says("AOS_AUDIT_KEY_FILE");
    assert!(done.err.contains("openssl genpkey"), "{}", done.err);
}
