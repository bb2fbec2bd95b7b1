//! Declarative plans.

use std::sync::Arc;

use aos_core::event::Fact;
use aos_core::flow::Flows;
use aos_core::skill::SkillContract;
use aos_core::workflow::{Definition, Plan, Resolver};
use aos_core::{Failure, codes};
use serde_json::{Value, json};

use crate::harness::{self, Harness, flaky};

struct Skills;

impl Resolver for Skills {
    fn skill(&self, requirement: &str) -> Result<SkillContract, Failure> {
        let contracts = [harness::pure(), harness::idempotent(), harness::once()];
        let id = requirement.split('@').next().unwrap_or_default().to_owned();
        contracts
            .into_iter()
            .find(|contract| contract.version.id.as_str() == id)
            .ok_or_else(|| Failure::new(codes::SKILL_NOT_FOUND, format!("a skill that is there, not {id}")))
    }

    fn workflow(&self, requirement: &str) -> Result<Arc<Plan>, Failure> {
        Err(Failure::new(codes::WORKFLOW_NOT_FOUND, format!("a workflow that is there, not {requirement}")))
    }
}

pub fn plan(steps: Value, output: Value) -> Arc<Plan> {
    let definition = json!({"id": "w", "steps": steps, "output": output});
    Arc::new(Definition::from_value(definition).unwrap().plan(&Skills).unwrap())
}

fn start(steps: Value, output: Value, input: Value) -> Harness {
    Harness::start_plan(plan(steps, output), Flows::new(), input)
}

#[test]
fn steps_pass_values_with_their_types() {
    let mut run = start(
        json!([
            {"id": "page", "skill": "fetch@^1", "params": {"url": "{{ input.url }}", "depth": 2}},
            {"id": "sum", "set": {"total": "{{ steps.page.output.n + 1 }}", "text": "n is {{ steps.page.output.n }}"}},
            {"id": "end", "skill": "double", "params": "{{ steps.sum.output }}"},
        ]),
        json!({"result": "{{ steps.end.output }}", "list": ["{{ steps.sum.output.total }}"]}),
        json!({"url": "https://example.com"}),
    );
    assert_eq!(run.calls[0].input, harness::json(json!({"url": "https://example.com", "depth": 2})));
    run.complete("page", json!({"n": 41}));
    assert_eq!(run.calls[0].input, harness::json(json!({"total": 42, "text": "n is 41"})));
    run.complete("end", json!("ok"));
    run.succeeds_with(json!({"result": "ok", "list": [42]}));
}

#[test]
fn a_loop_is_done_in_a_window_and_keeps_its_order() {
    let mut run = start(
        json!([{"id": "each", "skill": "fetch", "for_each": "input.urls", "concurrency": 2, "params": "{{ item }}-{{ index }}"}]),
        json!("{{ steps.each.output }}"),
        json!({"urls": ["a", "b", "c"]}),
    );
    assert_eq!(run.calls.len(), 2);
    run.complete("each[1]", json!("B"));
    assert_eq!(run.calls[1].input, harness::json(json!("c-2")));
    run.complete("each[2]", json!("C")).crash().complete("each[0]", json!("A"));
    run.succeeds_with(json!(["A", "B", "C"]));
}

#[test]
fn conditions_skip_and_later_steps_see_it() {
    let steps = json!([
        {"id": "maybe", "skill": "fetch", "if": "{{ input.n > 3 }}"},
        {"id": "after", "set": "{{ 'skipped' if steps.maybe.skipped else steps.maybe.output }}"},
    ]);
    start(steps.clone(), json!("{{ steps.after.output }}"), json!({"n": 1})).succeeds_with(json!("skipped"));
    let mut run = start(steps, json!("{{ steps.after.output }}"), json!({"n": 4}));
    run.complete("maybe", json!("done"));
    run.succeeds_with(json!("done"));
}

#[test]
fn a_repeated_step_stops_when_its_condition_holds() {
    let steps = json!([{
        "id": "poll", "skill": "fetch", "params": {"turn": "{{ turn }}"},
        "repeat": {"until": "output.done", "max": 3, "pause": "5s"},
    }]);
    let mut run = start(steps.clone(), json!("{{ steps.poll.output.at }}"), json!(null));
    run.complete("poll[0]", json!({"done": false})).advance(std::time::Duration::from_secs(5));
    run.crash().complete("poll[1]", json!({"done": true, "at": 1}));
    run.succeeds_with(json!(1));
    let mut run = start(steps, json!(null), json!(null));
    for turn in 0..3 {
        run.complete(&format!("poll[{turn}]"), json!({"done": false})).advance(std::time::Duration::from_secs(5));
    }
    run.fails_with(&codes::LIMIT_EXCEEDED);
}

#[test]
fn a_failure_ends_the_run_after_independent_steps_have_ended() {
    let steps = json!([
        {"id": "a", "skill": "fetch", "retry": {"max_attempts": 1}},
        {"id": "after_a", "skill": "fetch", "params": "{{ steps.a.output }}"},
        {"id": "b", "skill": "fetch"},
        {"id": "after_b", "skill": "fetch", "needs": ["b"]},
    ]);
    let mut hashes = Vec::new();
    for first in ["a", "b"] {
        let mut run = start(steps.clone(), json!(null), json!(null));
        let mut end_of = |step: &str| match step {
            "a" => drop(run.fail("a", flaky())),
            _ => drop(run.complete("b", json!(1)).complete("after_b", json!(2))),
        };
        end_of(first);
        end_of(if first == "a" { "b" } else { "a" });
        run.fails_with(&codes::HTTP_FAILED);
        hashes.push(run.finished().content_hash);
    }
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn on_error_continues_or_falls_back() {
    let steps = json!([
        {"id": "a", "skill": "pay", "on_error": "continue"},
        {"id": "b", "skill": "pay", "on_error": {"fallback": {"instead": "{{ error.code }}"}}},
        {"id": "c", "skill": "pay", "for_each": [1, 2], "on_error": {"fallback": "{{ item * 10 }}"}},
    ]);
    let output = json!(["{{ steps.a.error.code }}", "{{ steps.b.output }}", "{{ steps.c.output }}"]);
    let mut run = start(steps, output, json!(null));
    run.fail("a", flaky()).fail("b", flaky()).fail("c[1]", flaky()).complete("c[0]", json!("one"));
    run.succeeds_with(json!(["ERR_HTTP_FAILED", {"instead": "ERR_HTTP_FAILED"}, ["one", 20]]));
}

#[test]
fn expressions_that_fail_name_what_is_missing() {
    let run = start(json!([{"id": "a", "set": "{{ input.custmer.name }}"}]), json!(null), json!({"customer": {}}));
    let failure = run.finished().failure.clone().unwrap();
    assert_eq!(failure.code, codes::EXPRESSION_FAILED);
    assert!(failure.message.contains("input.custmer is undefined; there is customer"), "{failure}");
    run.replay().unwrap();
    let run = start(json!([{"id": "a", "set": "{{ range(10000000)|list|length }}"}]), json!(null), json!(null));
    assert_eq!(run.finished().failure.as_ref().unwrap().code, codes::EXPRESSION_FAILED);
}

#[test]
fn signals_and_sleeps_are_steps() {
    let mut run = start(
        json!([
            {"id": "nap", "sleep": "1m"},
            {"id": "ok", "signal": "approval", "timeout": "1h", "needs": ["nap"]},
        ]),
        json!("{{ steps.ok.output.by }}"),
        json!(null),
    );
    run.advance(std::time::Duration::from_secs(60));
    run.apply(Fact::Signal { seq: 1, name: "approval".into(), payload: harness::json(json!({"by": "ada"})) });
    run.succeeds_with(json!("ada"));
}
