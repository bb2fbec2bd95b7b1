//! Retries, timeouts, budgets.

use std::time::Duration;

use aos_core::engine::RunOptions;
use aos_core::flow::{Ctx, Flows};
use aos_core::money::Money;
use aos_core::retry::RetryPolicy;
use aos_core::{Failure, codes};
use serde_json::{Value, json};

use crate::harness::{Harness, flaky};

fn one_fetch() -> Flows {
    let mut flows = Flows::new();
    let policy = RetryPolicy { max_attempts: 3, initial_ms: 1_000, jitter_percent: 0, ..RetryPolicy::default() };
    flows
        .register("test", "1.0.0", move |ctx: Ctx, _: Value| {
            let policy = policy.clone();
            async move { ctx.call("fetch", "x").retry(policy).timeout(Duration::from_secs(10)).await }
        })
        .unwrap();
    flows
}

#[test]
fn a_failed_attempt_is_made_again_after_its_pause() {
    let mut run = Harness::start(one_fetch(), json!(null));
    run.fail("fetch:1", flaky());
    assert!(run.calls.is_empty());
    run.advance(Duration::from_millis(999));
    assert!(run.calls.is_empty());
    run.advance(Duration::from_millis(1));
    let again = run.take("fetch:1");
    assert_eq!(again.attempt, 2);
    run.calls.push_back(again);
    run.complete("fetch:1", json!("ok"));
    run.succeeds_with(json!("ok"));
}

#[test]
fn attempts_run_out() {
    let mut run = Harness::start(one_fetch(), json!(null));
    run.fail("fetch:1", flaky()).advance(Duration::from_secs(1));
    run.fail("fetch:1", flaky()).advance(Duration::from_secs(2));
    run.fail("fetch:1", flaky());
    run.fails_with(&codes::HTTP_FAILED);
}

#[test]
fn a_final_failure_is_not_retried() {
    let mut run = Harness::start(one_fetch(), json!(null));
    run.fail("fetch:1", Failure::new(codes::HTTP_BLOCKED, "no"));
    run.fails_with(&codes::HTTP_BLOCKED);
}

#[test]
fn a_slow_attempt_is_given_up_and_its_late_result_ignored() {
    let mut run = Harness::start(one_fetch(), json!(null));
    let late = run.take("fetch:1");
    run.advance(Duration::from_secs(10));
    assert_eq!(run.aborted, ["fetch:1"]);
    let fact = aos_core::event::Fact::Completed {
        effect: late.effect,
        attempt: late.attempt,
        output: crate::harness::json(json!("late")),
        cost: Money::ZERO,
        child: None,
    };
    run.apply(fact).advance(Duration::from_secs(1));
    run.complete("fetch:1", json!("in time"));
    run.succeeds_with(json!("in time"));
}

#[test]
fn keys_are_those_of_the_effect_not_of_the_attempt() {
    let mut run = Harness::start(one_fetch(), json!(null));
    let first = run.calls[0].idempotency_key();
    run.fail("fetch:1", flaky()).advance(Duration::from_secs(1));
    assert_eq!(run.calls[0].idempotency_key(), first);
    run.crash().advance(Duration::from_secs(1));
    assert_eq!(run.calls[0].idempotency_key(), first);
}

#[test]
fn a_budget_refuses_what_may_not_fit() {
    let mut flows = Flows::new();
    flows
        .register("test", "1.0.0", |ctx: Ctx, _: Value| async move {
            for n in 0..10 {
                ctx.call("fetch", &n).await?;
            }
            Ok(json!("all"))
        })
        .unwrap();
    let mut run = Harness::start(flows.clone(), json!(null));
    let mut options = RunOptions::new("run-2".parse().unwrap());
    options.budget = Some(Money::from_cents(5));
    run.engine =
        aos_core::engine::Engine::start(run.plan.clone(), &flows, crate::harness::json(json!(null)), options, run.now)
            .unwrap();
    run.lines.clear();
    run.calls.clear();
    run.pump().unwrap();
    run.complete_at_cost("fetch:1", json!(1), Money::from_cents(2));
    run.complete_at_cost("fetch:2", json!(2), Money::from_cents(2));
    // One cent is left, and a fetch may cost two.
    run.fails_with(&codes::BUDGET_EXCEEDED);
    assert_eq!(run.finished().cost, Money::from_cents(4));
}
