//! `replay` and `golden verify` on files that are no golden files, or of programs that are not here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod cli_support;

use cli_support::Place;

const SAGA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../aos-testkit/fixtures/golden/order_saga.jsonl");

#[test]
fn runs_of_rust_code_are_checked_as_far_as_possible() {
    let place = Place::new();
    place
        .aos(&["replay", SAGA])
        .exits(2)
        .prints("ERR_WORKFLOW_NOT_FOUND")
        .prints("the journal is whole")
        .prints("golden_tests!");
    let text = std::fs::read_to_string(SAGA).unwrap();
    place.write("bad.jsonl", text.replacen("\"index\":3", "\"index\":4", 1));
    place.aos(&["replay", "bad.jsonl"]).exits(2).prints("ERR_JOURNAL_CORRUPT").prints("entry 3");
}

#[test]
fn damage_is_named_and_exits_with_2() {
    let place = Place::new();
    let good = std::fs::read_to_string(SAGA).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    for (what, bytes, says) in [
        ("empty", Vec::new(), "ERR_JOURNAL_CORRUPT"),
        ("cut by a line", lines[..lines.len() - 1].join("\n").into_bytes(), "it was cut short or added to"),
        ("with a line more", format!("{good}{}\n", lines[5]).into_bytes(), "it was cut short or added to"),
        ("cut within a line", good.as_bytes()[..good.len() - 20].to_vec(), "ERR_JOURNAL_CORRUPT"),
        ("of a later format", good.replacen("\"golden\":1", "\"golden\":2", 1).into_bytes(), "ERR_JOURNAL_VERSION"),
        ("with an entry of a later format", good.replacen("\"v\":1", "\"v\":2", 1).into_bytes(), "ERR_JOURNAL_VERSION"),
        ("something else", b"{\"hello\": \"world\"}\n".to_vec(), "ERR_JOURNAL_CORRUPT"),
        ("not text", vec![0xff; 100], "not UTF-8"),
    ] {
        place.write("bad.jsonl", bytes);
        for args in [&["replay", "bad.jsonl"][..], &["golden", "verify", "bad.jsonl"]] {
            let done = place.aos(args);
            assert_eq!(done.code, 2, "a file that is {what}: {done:?}");
            assert!(done.out.contains(says) && !done.out.contains("Hash: "), "a file that is {what}: {done:?}");
        }
        let json = place.aos(&["replay", "bad.jsonl", "-o", "json"]).exits(2).json();
        assert_eq!(json[0]["ok"], false);
        assert!(json[0]["error"]["code"].is_string(), "{json}");
    }
    place.aos(&["replay", "nowhere.jsonl"]).exits(2).prints("nowhere.jsonl can't be read");
    place.aos(&["replay", "."]).exits(2).prints("can't be read");
    place.aos(&["golden", "verify", "nowhere"]).exits(2).says("nowhere can't be read");
    std::fs::create_dir(place.path("none")).unwrap();
    place.aos(&["golden", "verify", "none"]).exits(2).says("there is no *.jsonl in none");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let place = Place::new();
    let good = std::fs::read(SAGA).unwrap();
    let header = good.iter().position(|byte| *byte == b'\n').unwrap();
    // Somewhere in every line after the header; the header's own fields are judged by a replay.
    for at in (header + 1..good.len() - 1).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 7);
        place.write("bad.jsonl", &bad);
        let done = place.aos(&["replay", "bad.jsonl"]);
        assert!(done.code == 2 && !done.out.contains("journal is whole"), "byte {at}: {done:?}");
    }
}
