//! `replay` and `golden …`: files that hold, drift, are damaged, or are none.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod cli_support;

use std::process::Command;

use cli_support::{Place, run};
use serde_json::Value;

const EXTRACT: &str = r#"
id: extract
steps:
  - {id: fetch, skill: echo, params: {title: "Dune", "price": 9}}
  - {id: label, skill: echo, params: "{{ steps.fetch.output.title }} costs {{ steps.fetch.output.price }}"}
  - {id: nap, sleep: 1ms}
output: {label: "{{ steps.label.output }}"}
"#;

/// A place with a golden file.
fn place() -> (Place, String) {
    let place = Place::new();
    place.write("extract.yaml", EXTRACT);
    let done = place.aos(&["run", "extract.yaml", "--golden", "good.jsonl", "-o", "json"]).exits(0);
    (place, done.json()["content_hash"].as_str().unwrap().to_owned())
}

/// The golden file with one change of its text, its chain made whole again where `rechain` says so.
fn changed(place: &Place, from: &str, to: &str, rechain: bool) {
    let text = place.read("good.jsonl");
    assert!(text.contains(from), "{from} is not in {text}");
    let mut lines: Vec<String> = text.replacen(from, to, 1).lines().map(str::to_owned).collect();
    if rechain {
        let mut header: Value = serde_json::from_str(&lines[0]).unwrap();
        let first = 1 + usize::try_from(header["blobs"].as_u64().unwrap()).unwrap();
        let mut chain = aos_core::canonical::Hash::ZERO;
        for line in &mut lines[first..] {
            let mut entry: Value = serde_json::from_str(line).unwrap();
            entry["prev"] = chain.to_string().into();
            *line = aos_core::canonical::to_string(entry).unwrap();
            chain = aos_core::canonical::Hash::of(line.as_bytes());
        }
        header["chain_hash"] = chain.to_string().into();
        lines[0] = aos_core::canonical::to_string(header).unwrap();
    }
    place.write("bad.jsonl", lines.join("\n") + "\n");
}

#[test]
fn replay_prints_the_hash_of_the_run() {
    let (place, hash) = place();
    assert_eq!(place.aos(&["replay", "good.jsonl"]).exits(0).out, format!("Hash: {hash}\n"));
    assert_eq!(place.aos_with(&["replay", "-"], place.read("good.jsonl")).exits(0).out, format!("Hash: {hash}\n"));
    let two = place.aos(&["replay", "good.jsonl", "good.jsonl"]).exits(0).out;
    assert_eq!(two, format!("Hash: {hash}  good.jsonl\nHash: {hash}  good.jsonl\n"));
    let json = place.aos(&["replay", "good.jsonl", "-o", "json"]).exits(0).json();
    assert_eq!((json[0]["ok"].as_bool(), json[0]["content_hash"].as_str()), (Some(true), Some(hash.as_str())));
    assert!(json[0]["entries"].as_u64() > Some(4) && json[0]["effects"].as_u64() == Some(3), "{json}");
}

#[test]
fn replay_needs_no_network_no_settings_and_no_home() {
    let (place, hash) = place();
    let offline = Command::new("unshare").args(["-n", "true"]).status().is_ok_and(|status| status.success());
    let binary = env!("CARGO_BIN_EXE_aos-server");
    let mut command = if offline { Command::new("unshare") } else { Command::new(binary) };
    if offline {
        command.args(["-n", binary]);
    }
    command.args(["replay", "good.jsonl"]).current_dir(place.root()).env("PORT", "nonsense").env_remove("HOME");
    assert_eq!(run(&mut command, b"").exits(0).out, format!("Hash: {hash}\n"));
}

#[test]
fn drift_exits_with_1_and_shows_the_difference() {
    let (place, _) = place();
    changed(&place, "Dune costs 9", "Dune costs 8", true);
    let done = place.aos(&["replay", "bad.jsonl"]).exits(1);
    let done = done
        .prints("ERR_DRIFT")
        .prints("drift of class input at entry ")
        .prints("effect label")
        .prints("Dune costs 8")
        .prints("Dune costs 9");
    assert!(!done.out.contains("Hash: "));
    let json = place.aos(&["replay", "bad.jsonl", "-o", "json"]).exits(1).json();
    assert_eq!(json[0]["error"]["code"], "ERR_DRIFT");
    assert_eq!(
        (&json[0]["error"]["details"]["class"], &json[0]["error"]["details"]["effect"]),
        (&"input".into(), &"label".into())
    );
    assert!(json[0]["index"].is_u64());
    // One drifting file among good ones.
    place.aos(&["replay", "good.jsonl", "bad.jsonl"]).exits(1).prints("Hash: ").prints("ERR_DRIFT");
}

#[test]
fn damage_exits_with_2_and_is_named() {
    let (place, _) = place();
    let good = place.read("good.jsonl");
    let lines: Vec<&str> = good.lines().collect();
    let swapped = {
        let mut lines = lines.clone();
        lines.swap(2, 3);
        lines.join("\n")
    };
    let mut doubled = lines.clone();
    doubled.push(lines[lines.len() - 1]);
    for (what, bytes, says) in [
        ("empty", Vec::new(), "ERR_JOURNAL_CORRUPT"),
        ("cut by a line", lines[..lines.len() - 1].join("\n").into_bytes(), "it was cut short or added to"),
        ("with a line more", doubled.join("\n").into_bytes(), "it was cut short or added to"),
        ("cut within a line", good.as_bytes()[..good.len() - 20].to_vec(), "ERR_JOURNAL_CORRUPT"),
        ("with lines swapped", swapped.into_bytes(), "ERR_JOURNAL_CORRUPT"),
        ("of a later format", good.replacen("\"golden\":1", "\"golden\":2", 1).into_bytes(), "ERR_JOURNAL_VERSION"),
        ("with an entry of a later format", good.replacen("\"v\":1", "\"v\":2", 1).into_bytes(), "ERR_JOURNAL_VERSION"),
        ("something else", b"{\"hello\": \"world\"}\n".to_vec(), "ERR_JOURNAL_CORRUPT"),
        ("not text", vec![0xff; 100], "not UTF-8"),
    ] {
        place.write("bad.jsonl", bytes);
        let done = place.aos(&["replay", "bad.jsonl"]);
        assert_eq!(done.code, 2, "a file that is {what}: {done:?}");
        assert!(done.out.contains(says) && !done.out.contains("Hash: "), "a file that is {what}: {done:?}");
        assert_eq!(place.aos(&["golden", "verify", "bad.jsonl"]).code, 2, "{what}");
        assert_eq!(place.aos(&["golden", "bless", "bad.jsonl"]).code, 2, "{what}");
    }
    place.aos(&["replay", "nowhere.jsonl"]).exits(2).prints("nowhere.jsonl can't be read");
    place.aos(&["replay", "."]).exits(2).prints("can't be read");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let (place, _) = place();
    let good = place.read("good.jsonl").into_bytes();
    // Every 37th byte, so that the test stays quick; 37 is prime to the length of every repeated pattern in a line.
    for at in (0..good.len() - 1).step_by(37) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 7);
        // What people write about a file is not part of what it proves.
        place.write("bad.jsonl", &bad);
        let done = place.aos(&["replay", "bad.jsonl"]);
        assert!(matches!(done.code, 1 | 2), "byte {at} of {}: {done:?}", String::from_utf8_lossy(&bad));
    }
}

#[test]
fn verify_takes_files_and_directories() {
    let (place, hash) = place();
    std::fs::create_dir_all(place.path("golden/deep")).unwrap();
    std::fs::create_dir_all(place.path("none")).unwrap();
    for name in ["golden/b.jsonl", "golden/a.jsonl", "golden/deep/c.jsonl"] {
        std::fs::copy(place.path("good.jsonl"), place.path(name)).unwrap();
    }
    place.write("golden/readme.txt", "not a golden file");
    let done = place.aos(&["golden", "verify", "golden"]).exits(0).prints("3 golden files, 3 hold, 0 do not");
    let order: Vec<_> = done.out.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(order[..3], ["golden/a.jsonl", "golden/b.jsonl", "golden/deep/c.jsonl"]);
    assert!(done.out.contains(&hash));
    changed(&place, "Dune costs 9", "Dune costs 8", true);
    place
        .aos(&["golden", "verify", "golden", "bad.jsonl"])
        .exits(1)
        .prints("✗ bad.jsonl: ERR_DRIFT")
        .prints("4 golden files, 3 hold, 1 do not");
    let json = place.aos(&["golden", "verify", "golden", "bad.jsonl", "-o", "json"]).exits(1).json();
    assert_eq!(json.as_array().unwrap().iter().filter(|verdict| verdict["ok"] == true).count(), 3);
    place.aos(&["golden", "verify", "none"]).exits(2).says("there is no *.jsonl in none");
    place.aos(&["golden", "verify", "nowhere"]).exits(2).says("nowhere can't be read");
}

#[test]
fn record_runs_a_definition() {
    let (place, hash) = place();
    let done = place.aos(&["golden", "record", "--definition", "extract.yaml", "--note", "a book"]).exits(0);
    assert!(done.out.starts_with("{\"blobs\":0,") && done.out.contains("\"note\":\"a book\""), "{}", done.out);
    place.write("stdout.jsonl", &done.out);
    assert_eq!(place.aos(&["replay", "stdout.jsonl"]).exits(0).out, format!("Hash: {hash}\n"));
    let done = place
        .aos(&["golden", "record", "--definition", "extract.yaml", "--to", "new.jsonl", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!((done["file"].as_str(), done["content_hash"].as_str()), (Some("new.jsonl"), Some(hash.as_str())));
    place
        .aos(&["golden", "record", "--definition", "extract.yaml", "--to", "no/such/dir.jsonl"])
        .exits(2)
        .says("can't be written");
    place.aos(&["golden", "record", "--definition", "nowhere.yaml"]).exits(2).says("nowhere.yaml");
}

#[test]
fn bless_accepts_what_the_program_does_now() {
    let (place, hash) = place();
    let good = place.read("good.jsonl");
    place.aos(&["golden", "bless", "good.jsonl"]).exits(0).prints("unchanged good.jsonl");
    assert_eq!(place.read("good.jsonl"), good);
    // The recorded input of a step is not what the program asks for: it is asked anew.
    changed(&place, "Dune costs 9", "Dune costs 8", true);
    let done = place.aos(&["golden", "bless", "bad.jsonl", "-o", "json"]).exits(0).json();
    assert_eq!((done[0]["changed"].as_bool(), done[0]["content_hash"].as_str()), (Some(true), Some(hash.as_str())));
    assert_eq!(place.aos(&["replay", "bad.jsonl"]).exits(0).out, format!("Hash: {hash}\n"));
}
