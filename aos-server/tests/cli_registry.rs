//! `registry diff` on files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod cli_support;

use aos_core::registry::Registry;
use aos_core::skill::SkillContract;
use aos_core::time::Timestamp;
use cli_support::Place;
use serde_json::{Value, json};

fn snapshot(skills: &[(&str, Value)]) -> String {
    let registry = Registry::new();
    for (version, input) in skills {
        let contract = SkillContract::pure("greet", version).unwrap().schemas(input.clone(), json!(true));
        registry.register_remote(contract, Timestamp::EPOCH).unwrap();
    }
    registry.snapshot().unwrap().to_string()
}

fn open() -> Value {
    json!({"type": "object", "properties": {"name": {"type": "string"}}})
}

fn strict() -> Value {
    json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]})
}

#[test]
fn differences_are_listed_and_breaking_ones_fail() {
    for (old, new, code, prints) in [
        (&[("1.0.0", open())][..], &[("1.0.0", open())][..], 0, &["no difference"][..]),
        (&[("1.0.0", open())], &[("1.0.0", open()), ("1.0.1", open())], 0, &["added greet@1.0.1"]),
        (&[("1.0.0", open())], &[("1.0.0", open()), ("2.0.0", strict())], 0, &["added greet@2.0.0", "is sufficient"]),
        (
            &[("1.0.0", open())],
            &[("1.0.0", open()), ("1.1.0", strict())],
            1,
            &["added greet@1.1.0", "is too low", "needs 2.0.0"],
        ),
        (&[("1.0.0", open())], &[("1.0.0", strict())], 1, &["changed greet@1.0.0", "breaking"]),
        (&[("1.0.0", open()), ("2.0.0", open())], &[("1.0.0", open())], 1, &["removed greet@2.0.0"]),
        // Each new version is held against the one before it, new or not.
        (&[], &[("1.0.0", open()), ("1.1.0", strict())], 1, &["added greet@1.0.0", "is too low"]),
    ] {
        let place = Place::new();
        place.write("old.json", snapshot(old));
        place.write("new.json", snapshot(new));
        let done = prints
            .iter()
            .fold(place.aos(&["registry", "diff", "old.json", "new.json"]).exits(code), |done, text| done.prints(text));
        assert!(done.err.is_empty(), "{}", done.err);
        let json = place.aos(&["registry", "diff", "old.json", "new.json", "-o", "json"]).exits(code).json();
        assert!(json["added"].is_array() && json["removed"].is_array() && json["changed"].is_array(), "{json}");
    }
}

#[test]
fn what_is_no_snapshot_is_named() {
    let place = Place::new();
    place.write("good.json", snapshot(&[("1.0.0", open())]));
    place.write("edited.json", snapshot(&[("1.0.0", open())]).replace("string", "number"));
    place.write("other.json", "{}");
    place.write("broken.json", "{");
    for (bad, says) in [
        ("edited.json", "it was changed by hand"),
        ("other.json", "the field v (format version) is missing"),
        ("broken.json", "ERR_INVALID_JSON: broken.json"),
        ("nowhere.json", "nowhere.json can't be read"),
    ] {
        place.aos(&["registry", "diff", "good.json", bad]).exits(2).says(says);
        place.aos(&["registry", "diff", bad, "good.json"]).exits(2).says(says);
    }
}
