//! Snapshots: export, import, rollback.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::workflow::Plan;

fn workflow(registry: &Registry, version: &str, pins: &[&str]) {
    let mut plan = PlanBuilder::code("w", version).unwrap();
    for pin in pins {
        plan = plan.skill(&Resolver::skill(registry, pin).unwrap()).unwrap();
    }
    registry.register_plan(json!(null), plan.build(), NOW).unwrap();
}

fn disabled(registry: &Registry) -> Vec<String> {
    let records = registry.list();
    records.iter().filter(|record| !record.status().is_enabled()).map(|record| record.subject().to_string()).collect()
}

#[test]
fn a_snapshot_depends_on_the_content_alone() {
    let one = registry(&["a@1.0.0", "b@2.0.0"]);
    let other = Registry::build("acme".parse().unwrap(), Arc::new(crate::skill::schema::Unchecked));
    for version in ["b@2.0.0", "a@1.0.0"] {
        other.register_remote(contract(version), Timestamp::from_millis(99)).unwrap();
    }
    let (one, other) = (one.snapshot().unwrap(), other.snapshot().unwrap());
    assert_eq!(one.to_string(), other.to_string());
    assert_eq!(RegistrySnapshot::parse(&one.to_string()).unwrap(), one);
    assert_eq!(one.hash().to_string(), "ae5235c1600435b7b729e8056ac3b1dddd67a0b25fbd834586c73f9b6b841071");
}

#[test]
fn a_snapshot_that_was_tampered_with_is_refused() {
    let text = registry(&["a@1.0.0"]).snapshot().unwrap().to_string();
    for (from, to, part) in [
        ("a@1.0.0", "a@1.0.1", "changed by hand"),
        ("\"v\":1", "\"v\":2", "format version 2"),
        ("\"v\":1,", "", "the field v"),
        ("\"pure\"", "\"harmless\"", "harmless"),
        ("\"hash\":\"", "\"hash\":\"0", "64 lower-case hex digits"),
        ("\"workflows\":[]", "\"flows\":[]", "flows"),
    ] {
        let failure = RegistrySnapshot::parse(&text.replacen(from, to, 1)).unwrap_err();
        assert_eq!(failure.code, codes::INVALID_REQUEST, "{to}");
        assert!(failure.message.contains(part), "{part}: {}", failure.message);
    }
    assert_eq!(RegistrySnapshot::parse("{").unwrap_err().code, codes::INVALID_JSON);
    assert_eq!(RegistrySnapshot::parse("[]").unwrap_err().code, codes::INVALID_REQUEST);
}

#[test]
fn an_import_adds_what_is_missing_and_keeps_what_is_here() {
    let from = registry(&["a@1.0.0", "a@1.1.0", "b@1.0.0"]);
    from.disable(&subject("a@1.1.0"), "broken there", NOW).unwrap();
    workflow(&from, "1.0.0", &["a@1.0.0"]);
    let to = registry(&["a@1.0.0", "b@1.0.0"]);
    to.disable(&subject("b@1.0.0"), "broken here", NOW).unwrap();

    let snapshot = from.snapshot().unwrap();
    let preview = to.preview_import(&snapshot, NOW).unwrap();
    assert_eq!(to.list().len(), 2, "a preview changes nothing");
    let report = to.import(&snapshot, NOW).unwrap();
    assert_eq!(report, preview);
    let names = |subjects: &[Subject]| subjects.iter().map(Subject::to_string).collect::<Vec<_>>();
    assert_eq!(names(&report.added), ["skill a@1.1.0", "workflow w@1.0.0"]);
    assert_eq!(names(&report.unchanged), ["skill a@1.0.0"]);
    assert_eq!(names(&report.kept), ["skill b@1.0.0"]);
    assert_eq!(report.changes.len(), 2);
    assert_eq!(disabled(&to), ["skill a@1.1.0", "skill b@1.0.0"]);
    assert!(to.import(&snapshot, NOW).unwrap().changes.is_empty());
}

#[test]
fn an_import_with_conflicts_names_them_all_and_brings_nothing_in() {
    let from = registry(&["a@1.0.0", "b@1.0.0", "c@1.0.0", "new@1.0.0"]);
    workflow(&from, "1.0.0", &["a@1.0.0"]);
    workflow(&from, "2.0.0", &["new@1.0.0"]);
    let to = Registry::new();
    for version in ["a@1.0.0", "b@1.0.0"] {
        to.register_remote(contract(version).schemas(json!({"type": "object"}), json!(true)), NOW).unwrap();
    }
    let failure = to.import(&from.snapshot().unwrap(), NOW).unwrap_err();
    assert_eq!(failure.code, codes::CONFLICT);
    let conflicts: Vec<ImportConflict> = serde_json::from_value(failure.details["conflicts"].clone()).unwrap();
    let subjects: Vec<_> = conflicts.iter().map(|conflict| conflict.subject.to_string()).collect();
    assert_eq!(subjects, ["skill a@1.0.0", "skill b@1.0.0", "workflow w@1.0.0"]);
    assert!(conflicts[0].diff.is_some() && conflicts[2].why.contains("pins skill a@1.0.0"), "{conflicts:?}");
    assert_eq!(to.list().len(), 2);
}

#[test]
fn a_workflow_whose_skills_are_nowhere_is_refused() {
    let from = registry(&["a@1.0.0"]);
    workflow(&from, "1.0.0", &["a@1.0.0"]);
    let mut value: Value = serde_json::from_str(&from.snapshot().unwrap().to_string()).unwrap();
    value["skills"] = json!([]);
    value.as_object_mut().unwrap().remove("hash");
    value["hash"] = json!(crate::Payload::new(value.clone()).unwrap().hash());
    let snapshot = RegistrySnapshot::parse(&value.to_string()).unwrap();
    let failure = Registry::new().import(&snapshot, NOW).unwrap_err();
    assert!(failure.message.contains("neither here nor in the snapshot"), "{failure}");
}

#[test]
fn a_rollback_makes_requirements_select_what_they_did() {
    let registry = registry(&["a@1.0.0", "b@1.0.0"]);
    workflow(&registry, "1.0.0", &["a@1.0.0"]);
    let snapshot = registry.snapshot().unwrap();
    registry.register(skill(contract("a@1.1.0")), NOW).unwrap();
    registry.disable(&subject("b@1.0.0"), "x", NOW).unwrap();
    workflow(&registry, "1.1.0", &["a@1.1.0"]);

    let changes = registry.rollback(&snapshot, NOW).unwrap();
    assert_eq!(changes.len(), 3);
    assert!(changes.iter().all(|change| change.action == Action::Rollback));
    for (requirement, selected) in [("a", "a@1.0.0"), ("b", "b@1.0.0")] {
        assert_eq!(Resolver::skill(&registry, requirement).unwrap().version.to_string(), selected);
    }
    assert_eq!(Resolver::workflow(&registry, "w").unwrap().workflow.to_string(), "w@1.0.0");
    let failure = Resolver::skill(&registry, "a@1.1.0").unwrap_err();
    assert!(failure.message.contains("rolled back to snapshot"), "{failure}");
    assert!(registry.rollback(&snapshot, NOW).unwrap().is_empty());
}

#[test]
fn a_rollback_brings_pins_back() {
    let registry = registry(&["a@1.0.0", "a@1.1.0"]);
    let plan =
        |pin: &str| -> Arc<Plan> { PlanBuilder::code("w", "1.0.0").unwrap().skill(&contract(pin)).unwrap().build() };
    registry.register_plan(json!({"id": "w"}), plan("a@1.0.0"), NOW).unwrap();
    let snapshot = registry.snapshot().unwrap();
    let version = "w@1.0.0".parse().unwrap();
    let changes = registry.repin(&version, |_, _| Ok(plan("a@1.1.0")), NOW).unwrap();
    assert_eq!((changes.len(), changes[0].action), (1, Action::Repin));
    assert!(registry.repin(&version, |_, _| Ok(plan("a@1.1.0")), NOW).unwrap().is_empty());
    registry.rollback(&snapshot, NOW).unwrap();
    assert_eq!(registry.plan(&version).unwrap(), plan("a@1.0.0"));
}

proptest! {
    #[test]
    fn mutated_snapshots_are_refused_and_never_panic(at in 0_usize..2_000, byte in any::<u8>()) {
        let registry = registry(&["a@1.0.0", "b@1.0.0"]);
        workflow(&registry, "1.0.0", &["a@1.0.0"]);
        let text = registry.snapshot().unwrap().to_string();
        let mut bytes = text.clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(mutated) = String::from_utf8(bytes) && mutated != text {
            prop_assert!(RegistrySnapshot::parse(&mutated).is_err());
        }
    }
}
