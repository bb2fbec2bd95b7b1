//! The behaviour of a registry, seen from outside.

mod sync;
mod transfer;

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::codes;
use crate::skill::{Skill, SkillCall, SkillContract, SkillSource, TypedSkill};
use crate::time::Timestamp;
use crate::workflow::{PlanBuilder, Resolver};

const NOW: Timestamp = Timestamp::EPOCH;

fn contract(version: &str) -> SkillContract {
    let (id, version) = version.split_once('@').unwrap();
    SkillContract::pure(id, version).unwrap()
}

fn skill(contract: SkillContract) -> Arc<dyn Skill> {
    Arc::new(TypedSkill::untyped(contract, |call| async move { Ok(call.input.into()) }))
}

fn registry(versions: &[&str]) -> Registry {
    let registry = Registry::new();
    for version in versions {
        assert_eq!(registry.register(skill(contract(version)), NOW).unwrap().changes.len(), 1);
    }
    registry
}

fn subject(version: &str) -> Subject {
    Subject::Skill(version.parse().unwrap())
}

pub(crate) fn call(input: serde_json::Value) -> SkillCall {
    SkillCall {
        run: crate::id::RunId::new("r").unwrap(),
        tenant: Default::default(),
        workflow: None,
        api_key: None,
        trace: None,
        effect: crate::id::EffectId::new("e").unwrap(),
        attempt: 1,
        idempotency_key: "k".into(),
        input: crate::Payload::new(input).unwrap(),
        seed: crate::random::Seed::default(),
        deadline: None,
    }
}

#[test]
fn resolves_to_the_highest_enabled_version_that_fits() {
    let registry = registry(&["a@1.0.0", "a@1.2.0", "a@1.10.0", "a@2.0.0", "a@3.0.0-rc.1", "b@0.1.0"]);
    registry.disable(&subject("a@1.10.0"), "broken", NOW).unwrap();
    for (requirement, selected) in [
        ("a", "a@2.0.0"),
        ("a@^1", "a@1.2.0"),
        ("a@1", "a@1.2.0"),
        ("a@1.0.0", "a@1.0.0"),
        ("a@3.0.0-rc.1", "a@3.0.0-rc.1"),
        ("a@*", "a@2.0.0"),
        ("b", "b@0.1.0"),
    ] {
        assert_eq!(Resolver::skill(&registry, requirement).unwrap().version.to_string(), selected, "{requirement}");
    }
}

#[test]
fn what_can_not_be_resolved_says_why() {
    let registry = registry(&["http_call@1.0.0", "echo@1.0.0"]);
    registry.disable(&subject("echo@1.0.0"), "under repair", NOW).unwrap();
    for (requirement, code, part) in [
        ("htp_call", codes::SKILL_NOT_FOUND, "did you mean \"http_call\"?"),
        ("postgres", codes::SKILL_NOT_FOUND, "registered are echo, http_call"),
        ("http_call@^2", codes::SKILL_NOT_FOUND, "registered are 1.0.0"),
        ("echo", codes::SKILL_DISABLED, "echo@1.0.0 is disabled: under repair"),
        ("echo@latest", codes::INVALID_REQUEST, "expected id, id@1.2.3 or id@^1.2"),
    ] {
        let failure = Resolver::skill(&registry, requirement).unwrap_err();
        assert_eq!(failure.code, code, "{requirement}");
        assert!(failure.message.contains(part), "{}", failure.message);
    }
    let failure = Resolver::workflow(&registry, "a").unwrap_err();
    assert_eq!(failure.code, codes::WORKFLOW_NOT_FOUND);
}

#[test]
fn registering_again_changes_nothing_and_keeps_the_status() {
    let registry = registry(&["a@1.0.0"]);
    registry.disable(&subject("a@1.0.0"), "broken", NOW).unwrap();
    let again = registry.register(skill(contract("a@1.0.0")), Timestamp::from_millis(5)).unwrap();
    assert!(again.changes.is_empty());
    assert_eq!(registry.get(&subject("a@1.0.0")).unwrap().status().reason(), Some("broken"));
}

#[test]
fn another_contract_under_the_same_version_is_a_conflict_that_names_the_difference() {
    let registry = registry(&["a@1.0.0"]);
    let other = contract("a@1.0.0").schemas(json!({"type": "object"}), json!(true));
    let failure = registry.register_remote(other, NOW).unwrap_err();
    assert_eq!(failure.code, codes::CONFLICT);
    assert!(failure.message.contains("/input_schema/type") && failure.message.contains("2.0.0 or higher"), "{failure}");
    assert_eq!(failure.details["diff"]["level"], "breaking");
}

#[test]
fn a_new_version_is_compared_with_the_one_below_it() {
    let registry = registry(&["a@1.0.0", "a@3.0.0"]);
    let breaking = |version| contract(version).schemas(json!({"type": "object"}), json!(true));
    let diff = registry.register_remote(breaking("a@1.1.0"), NOW).unwrap().diff.unwrap();
    assert_eq!((diff.from.to_string().as_str(), diff.sufficient), ("1.0.0", false));
    assert!(diff.to_string().contains("needs 2.0.0 or higher"), "{diff}");
    assert!(registry.register_remote(breaking("a@4.0.0"), NOW).unwrap().diff.unwrap().sufficient);
    assert_eq!(registry.register_remote(contract("a@0.1.0"), NOW).unwrap().diff, None);
}

#[test]
fn a_disabled_skill_fails_its_calls_with_the_reason() {
    let registry = registry(&["a@1.0.0"]);
    let version = "a@1.0.0".parse().unwrap();
    let run = || pollster::block_on(SkillSource::skill(&registry, &version).unwrap().call(call(json!(1))));
    assert!(run().is_ok());
    registry.disable(&subject("a@1.0.0"), "leaks keys", NOW).unwrap();
    let failure = run().unwrap_err();
    assert_eq!(failure.code, codes::SKILL_DISABLED);
    assert!(failure.message.contains("leaks keys"));
    registry.enable(&subject("a@1.0.0"), NOW).unwrap();
    assert!(run().is_ok());
}

#[test]
fn a_remote_skill_resolves_and_has_no_code_until_it_is_registered() {
    let registry = Registry::new();
    registry.register_remote(contract("a@1.0.0"), NOW).unwrap();
    let version = "a@1.0.0".parse().unwrap();
    assert!(Resolver::skill(&registry, "a").is_ok());
    assert!(SkillSource::skill(&registry, &version).is_none() && !registry.has_code(&version));
    assert!(registry.register(skill(contract("a@1.0.0")), NOW).unwrap().changes.is_empty());
    assert!(SkillSource::skill(&registry, &version).is_some() && registry.has_code(&version));
}

#[test]
fn changes_carry_what_an_audit_log_needs() {
    let registry = registry(&["a@1.0.0"]);
    let changes = registry.disable(&subject("a@1.0.0"), "broken", Timestamp::from_millis(7)).unwrap();
    assert_eq!(
        serde_json::to_value(changes[0].audit()).unwrap(),
        json!({"action": "disable", "at": 7, "subject": {"skill": "a@1.0.0"}, "status": {"disabled": "broken"}})
    );
    assert!(registry.disable(&subject("a@1.0.0"), "broken", NOW).unwrap().is_empty());
    let failure = registry.enable(&subject("b@1.0.0"), NOW).unwrap_err();
    assert_eq!(failure.code, codes::SKILL_NOT_FOUND);
}

#[test]
fn workflows_of_code_are_registered_by_their_plan() {
    let registry = registry(&["a@1.0.0"]);
    let plan = |version| PlanBuilder::code("w", version).unwrap();
    assert_eq!(registry.register_plan(json!(null), plan("1.0.0").build(), NOW).unwrap().len(), 1);
    assert!(registry.register_plan(json!(null), plan("1.0.0").build(), NOW).unwrap().is_empty());
    let other = plan("1.0.0").skill(&contract("a@1.0.0")).unwrap().build();
    let failure = registry.register_plan(json!(null), other, NOW).unwrap_err();
    assert_eq!(failure.code, codes::CONFLICT);
    assert!(failure.message.contains("/plan/skills"), "{failure}");
    registry.register_plan(json!(null), plan("1.1.0").build(), NOW).unwrap();
    assert_eq!(Resolver::workflow(&registry, "w@^1").unwrap().workflow.to_string(), "w@1.1.0");
}

#[test]
fn a_fork_changes_on_its_own() {
    let registry = registry(&["a@1.0.0"]);
    let fork = registry.fork();
    let shared = registry.clone();
    fork.disable(&subject("a@1.0.0"), "x", NOW).unwrap();
    assert!(Resolver::skill(&registry, "a").is_ok());
    shared.disable(&subject("a@1.0.0"), "x", NOW).unwrap();
    assert!(Resolver::skill(&registry, "a").is_err());
}
