//! Definitions: every mistake is found, at its place, all at once; and nothing panics.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
#![cfg(all(feature = "yaml", feature = "jsonschema"))]

use std::sync::Arc;

use aos_core::skill::SkillContract;
use aos_core::workflow::{Definition, Plan, Resolver, definition_schema};
use aos_core::{Failure, codes};
use proptest::prelude::*;
use serde_json::{Value, json};

fn mistakes(definition: Value) -> Vec<String> {
    match Definition::from_value(definition) {
        Ok(_) => Vec::new(),
        Err(error) => error.mistakes.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn each_mistake_is_named_with_its_place() {
    let step = |step: Value| json!({"id": "w", "steps": [step, {"id": "other", "set": 1}]});
    let agent = |fields: Value| {
        let mut agent = json!({"goal": "g", "model": "m"});
        agent.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        step(json!({"id": "a", "agent": agent}))
    };
    let table = [
        (json!([]), "/: found [], expected an object with `id` and `steps`"),
        (json!({"id": "w"}), "/steps: found nothing, expected an array of steps"),
        (json!({"id": "W", "steps": [{"id": "a", "set": 1}]}), "/id: found \"W\", expected 1 to 64 of"),
        (json!({"id": "w", "step": []}), "/step: found an unknown field, expected \"steps\", perhaps"),
        (
            json!({"id": "w", "version": "1", "steps": [{"id": "a", "set": 1}]}),
            "/version: found \"1\", expected a semantic version",
        ),
        (
            json!({"id": "w", "budget": 0.5, "steps": [{"id": "a", "set": 1}]}),
            "/budget: found 0.5, expected US dollars",
        ),
        (step(json!({"id": "a"})), "/steps/0: found none of them, expected exactly one of skill"),
        (step(json!({"id": "a", "set": 1, "sleep": 2})), "/steps/0: found sleep and set, expected exactly one"),
        (step(json!({"id": "other", "set": 1})), "/steps/1/id: found \"other\" again"),
        (step(json!({"id": "A", "set": 1})), "/steps/0/id: found \"A\""),
        (step(json!({"id": "a", "sleep": "5 s"})), "/steps/0/sleep: found \"5 s\", expected a duration"),
        (
            step(json!({"id": "a", "set": "{{ stps.other.output }}"})),
            "/steps/0/set: found the name \"stps\", expected a variable: \"steps\", perhaps",
        ),
        (
            step(json!({"id": "a", "set": "{{ steps.othr.output }}"})),
            "found \"steps.othr.output\", expected a step of this definition: \"other\", perhaps",
        ),
        (
            step(json!({"id": "a", "set": "{{ steps.other.outptu }}"})),
            "expected steps.other.output, .error or .skipped",
        ),
        (step(json!({"id": "a", "set": "{{ steps.a.output }}"})), "/steps/0: found a mention of \"a\" in itself"),
        (
            step(json!({"id": "a", "set": {"x": ["{{ 1 + }}"]}})),
            "/steps/0/set/x/0: \"{{ 1 + }}\" is not a template: syntax error",
        ),
        (step(json!({"id": "a", "set": 1, "if": "{{ (1 }}"})), "/steps/0/if: \"{{ (1 }}\" is not an expression"),
        (
            step(json!({"id": "a", "set": 1, "needs": ["othr"]})),
            "/steps/0/needs/0: found \"othr\", expected the id of a step: \"other\", perhaps",
        ),
        (
            step(json!({"id": "a", "set": 1, "on_error": "ignore"})),
            "/steps/0/on_error: found \"ignore\", expected fail, continue",
        ),
        (step(json!({"id": "a", "skill": "s", "retry": {"attempts": 3}})), "/steps/0/retry: found"),
        (step(json!({"id": "a", "skill": "s", "repeat": {"max": 3}})), "/steps/0/repeat/until: found nothing"),
        (
            step(json!({"id": "a", "skill": "s", "for_each": "[1]", "repeat": {"until": "true", "max": 3}})),
            "repeat together with for_each",
        ),
        (step(json!({"id": "a", "skill": "s", "params": "{{ item }}"})), "found the name \"item\""),
        (
            json!({"id": "w", "steps": [
                {"id": "a", "set": "{{ steps.b.output }}"}, {"id": "b", "set": 1, "needs": ["c"]}, {"id": "c", "set": "{{ steps.a.output }}"},
            ]}),
            "found a circle: a → b → c → a",
        ),
        (step(json!({"id": "a", "agent": "g"})), "/steps/0/agent: found \"g\", expected an agent: an object"),
        (agent(json!({"model": null})), "/steps/0/agent/model: found null, expected a string"),
        (agent(json!({"goals": "g"})), "/steps/0/agent/goals: found an unknown field, expected \"goal\", perhaps"),
        (agent(json!({"goal": "{{ stps }}"})), "/steps/0/agent/goal: found the name \"stps\""),
        (agent(json!({"max_tokens": 0})), "/steps/0/agent/max_tokens: found 0, expected a number of tokens"),
        (agent(json!({"temperature": "hot"})), "/steps/0/agent/temperature: found \"hot\", expected a number from 0"),
        (agent(json!({"options": []})), "/steps/0/agent/options: found [], expected an object"),
        (agent(json!({"system": 1})), "/steps/0/agent/system: found 1, expected a string"),
        (agent(json!({"max_turns": 0})), "/steps/0/agent/max_turns: found 0, expected a number from 1"),
        (agent(json!({"budget": 0.5})), "/steps/0/agent/budget: found 0.5, expected US dollars"),
        (agent(json!({"parallel": "no"})), "/steps/0/agent/parallel: found \"no\", expected true or false"),
        (agent(json!({"answer_schema": 1})), "/steps/0/agent/answer_schema: found 1, expected a JSON Schema"),
        (
            agent(json!({"approval_timeout": "soon"})),
            "/steps/0/agent/approval_timeout: found \"soon\", expected a duration",
        ),
        (agent(json!({"tools": "s"})), "/steps/0/agent/tools: found \"s\", expected an array of tools"),
        (agent(json!({"tools": [1]})), "/steps/0/agent/tools/0: found 1, expected a tool"),
        (agent(json!({"tools": [{"name": "x"}]})), "/steps/0/agent/tools/0/skill: found nothing"),
        (
            agent(json!({"tools": [{"skill": "s", "approved": true}]})),
            "/steps/0/agent/tools/0/approved: found an unknown",
        ),
        (agent(json!({"tools": [{"skill": "s", "name": "a.b"}]})), "/steps/0/agent/tools/0/name: found \"a.b\""),
        (agent(json!({"tools": [{"skill": "s", "params": "{{ input }}"}]})), "/steps/0/agent/tools/0/params: found"),
        (
            agent(json!({"tools": ["s", {"skill": "t", "params": {"a/b": "{{ nope }}"}}]})),
            "/steps/0/agent/tools/1/params/a~1b: found the name \"nope\"",
        ),
        (
            agent(json!({"tools": ["a.b@^1", {"skill": "a_b"}]})),
            "/steps/0/agent/tools/1: found the tool name \"a_b\" again",
        ),
        (
            step(json!({"id": "a", "agent": {"goal": "g", "model": "m"}, "params": {}})),
            "/steps/0/params: found params of a step with `agent`",
        ),
        (step(json!({"id": "a", "set": 9007199254740993_u64})), "/: the number 9007199254740993 at \"/steps/0/set\""),
    ];
    for (definition, expected) in table {
        let found = mistakes(definition.clone());
        assert!(
            found.iter().any(|mistake| mistake.contains(expected)),
            "{definition}\nexpected {expected}\nfound {found:#?}"
        );
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let found = mistakes(json!({
        "id": "W", "budgte": "1", "steps": [{"id": "a", "skil": "x"}, {"id": "b", "set": "{{ nope }}", "timeout": "soon"}],
    }));
    assert!(found.len() >= 5, "{found:#?}");
}

const REAL: &str = r#"
id: extract
budget: "0.50"
input: {type: object, properties: {url: {type: string}}}
steps:
  - {id: fetch, skill: http_call@^1, params: {url: "{{ input.url }}"}, retry: {max_attempts: 3}, timeout: 30s}
  - {id: each, skill: echo, for_each: "{{ steps.fetch.output.items }}", concurrency: 4, params: {n: "{{ item.name|upper }}"}}
  - {id: poll, skill: echo, repeat: {until: "output == 3", max: 5, pause: 1s}}
  - id: look
    agent:
      goal: "Compare {{ steps.each.output }}"
      model: m
      tools: [echo, {skill: http_call@^1, name: get, params: {url: "{{ input.url }}"}, approve: true}]
      max_turns: 3
      budget: "0.10"
      answer_schema: {type: object}
      approval_timeout: 1h
  - {id: done, signal: ok, if: "{{ steps.each.output|length > 2 and not steps.poll.skipped }}"}
output: {all: "{{ steps.each.output }}", text: "{% for x in input.list %}{{ x }},{% endfor %}"}
"#;

#[test]
fn yaml_and_json_are_the_same_definition() {
    let yaml = Definition::from_yaml(REAL).unwrap();
    let json = Definition::from_json(&yaml.source().to_string()).unwrap();
    assert_eq!(yaml, json);
    assert_eq!(Definition::from_yaml("id: [").unwrap_err().code, codes::INVALID_YAML);
    assert_eq!(Definition::from_json("{").unwrap_err().code, codes::INVALID_JSON);
    for number in ["9007199254740993", "1234567890123456789012"] {
        let (json, yaml) = (format!("{{\"id\": {number}}}"), format!("id: {number}"));
        assert_eq!(Definition::from_json(&json).unwrap_err().code, codes::NUMBER_OUT_OF_RANGE);
        assert_eq!(Definition::from_yaml(&yaml).unwrap_err().code, codes::NUMBER_OUT_OF_RANGE);
    }
}

#[test]
fn an_alias_bomb_is_an_error() {
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", [before.as_str(); 10].join(","));
    }
    assert_eq!(Definition::from_yaml(&bomb).unwrap_err().code, codes::INVALID_YAML);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "blessing is asked for by the environment and writes a file")]
fn the_published_schema_accepts_what_the_parser_accepts() {
    let blessed = include_str!("../schema/workflow.schema.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&definition_schema()).unwrap());
    if std::env::var_os("AOS_BLESS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/schema/workflow.schema.json"), &text).unwrap();
    } else {
        assert_eq!(blessed, text, "run again with AOS_BLESS=1 to accept the change");
    }
    let schema = jsonschema::validator_for(&definition_schema()).unwrap();
    let real = Definition::from_yaml(REAL).unwrap();
    let errors: Vec<_> = schema.iter_errors(real.source()).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert!(!schema.is_valid(&json!({"id": "w", "steps": [{"id": "a"}]})));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn mutated_definitions_never_panic(at in 0..REAL.len(), with in any::<u8>(), cut in 0_usize..4) {
        let mut bytes = REAL.as_bytes().to_vec();
        bytes[at] = with;
        bytes.drain(at..(at + cut).min(bytes.len()));
        if let Ok(text) = String::from_utf8(bytes)
            && let Err(failure) = Definition::from_yaml(&text)
        {
            prop_assert!([codes::INVALID_YAML, codes::INVALID_DEFINITION].contains(&failure.code), "{failure}");
        }
    }
}

#[test]
fn mistakes_and_skills_that_are_not_there_are_told_together() {
    struct Nothing;
    impl Resolver for Nothing {
        fn skill(&self, requirement: &str) -> Result<SkillContract, Failure> {
            Err(Failure::new(codes::SKILL_NOT_FOUND, format!("there is no skill {requirement:?}")))
        }

        fn workflow(&self, requirement: &str) -> Result<Arc<Plan>, Failure> {
            Err(Failure::new(codes::WORKFLOW_NOT_FOUND, format!("there is no workflow {requirement:?}")))
        }
    }
    let definition = json!({"id": "w", "steps": [
        {"id": "A", "set": 1},
        {"id": "a", "skill": "fetch@^1", "params": "{{ 1 + }}"},
        {"id": "b", "workflow": "sub"},
        {"id": "c", "agent": {"goal": "g", "model": "m", "tools": ["read", {"skill": "write@^2"}]}},
    ]});
    let failure = Definition::resolve(definition, &Nothing).unwrap_err();
    assert_eq!(failure.code, codes::INVALID_DEFINITION);
    let lines: Vec<_> = failure.message.lines().map(str::trim).collect();
    assert_eq!(lines[0], "the definition has 7 mistakes");
    assert!(lines[1].starts_with("/steps/0/id: found \"A\", expected "), "{}", lines[1]);
    assert!(lines[2].starts_with("/steps/1/params: \"{{ 1 + }}\" is not a template: syntax error"), "{}", lines[2]);
    assert_eq!(lines[3], "/steps/1/skill: there is no skill \"fetch@^1\"");
    assert_eq!(lines[4], "/steps/2/workflow: there is no workflow \"sub\"");
    assert_eq!(lines[5], "/steps/3/agent/tools/0: there is no skill \"read\"");
    assert_eq!(lines[6], "/steps/3/agent/tools/1/skill: there is no skill \"write@^2\"");
    assert_eq!(lines[7], "/steps/3/agent: there is no skill \"llm_invoke@^1\"");
}

#[test]
fn a_skill_that_can_not_be_the_tool_it_is_to_be_is_a_mistake() {
    struct Skills;
    impl Resolver for Skills {
        fn skill(&self, requirement: &str) -> Result<SkillContract, Failure> {
            let closed = json!({"type": "object", "properties": {"url": {}}, "additionalProperties": false});
            let input = if requirement == "shout" { json!({"type": "string"}) } else { closed };
            let id = requirement.split('@').next().unwrap_or_default();
            Ok(SkillContract::idempotent(id, "1.0.0")?.schemas(input, json!(true)))
        }

        fn workflow(&self, requirement: &str) -> Result<Arc<Plan>, Failure> {
            Err(Failure::new(codes::WORKFLOW_NOT_FOUND, format!("there is no workflow {requirement:?}")))
        }
    }
    let plan = |tools: Value| {
        let agent = json!({"goal": "g", "model": "m", "tools": tools});
        let steps = json!([{"id": "a", "agent": agent}, {"id": "b", "skill": "fetch"}, {"id": "c", "skill": "read"}]);
        Definition::from_value(json!({"id": "w", "steps": steps})).unwrap().plan(&Skills)
    };
    let failure = plan(json!(["shout", {"skill": "fetch", "params": {"uri": "u"}}])).unwrap_err();
    let lines: Vec<_> = failure.message.lines().map(str::trim).collect();
    assert_eq!(
        lines[1..],
        [
            "/steps/0/agent/tools/0: shout@1.0.0 can't be a tool: its input is no object but \"string\", and models give \
             tools objects",
            "/steps/0/agent/tools/1/params: fetch@1.0.0 can't have these params: its input has no property \"uri\"",
        ]
    );
    // A skill that is a tool of one step and called by another is pinned once, as a tool.
    let plan = plan(json!([{"skill": "fetch", "params": {"url": "u"}}])).unwrap();
    let tools: Vec<_> = plan.skills.values().map(|pin| (pin.skill.id.as_str(), pin.tool.is_some())).collect();
    assert_eq!(tools, [("fetch", true), ("llm_invoke", false), ("read", false)]);
}
