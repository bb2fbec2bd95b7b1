//! What a crash means for each crash class, and forks.

use aos_core::event::{Fork, RunStarted};
use aos_core::flow::{Ctx, Flows};
use aos_core::id::RunId;
use aos_core::replay::{fork, fork_point};
use aos_core::{Failure, codes};
use serde_json::{Value, json};

use crate::harness::Harness;

fn flow() -> Flows {
    let mut flows = Flows::new();
    flows
        .register("test", "1.0.0", |ctx: Ctx, _: Value| async move {
            let price: i64 = ctx.call("fetch", "price").await?.to()?;
            match ctx.call("pay", &price).await {
                Ok(receipt) => Ok(json!({"paid": receipt.value()})),
                Err(failure) => Ok(json!({"unpaid": failure.code})),
            }
        })
        .unwrap();
    flows
}

#[test]
fn an_idempotent_effect_is_done_again() {
    let mut run = Harness::start(flow(), json!(null));
    let key = run.calls[0].idempotency_key();
    run.crash();
    assert_eq!(run.calls[0].idempotency_key(), key);
    run.complete("fetch:1", json!(5)).complete("pay:1", json!("r1"));
    run.succeeds_with(json!({"paid": "r1"}));
}

#[test]
fn a_once_effect_is_never_done_again() {
    let mut run = Harness::start(flow(), json!(null));
    run.complete("fetch:1", json!(5));
    assert_eq!(run.calls.len(), 1);
    run.crash();
    assert!(run.calls.is_empty());
    run.succeeds_with(json!({"unpaid": codes::OUTCOME_UNKNOWN}));
}

#[test]
fn an_intent_that_was_never_durable_is_not_unknown() {
    let mut run = Harness::start(flow(), json!(null));
    run.complete("fetch:1", json!(5));
    // The append that held the fetch's result and the intent to pay was lost.
    run.lines.truncate(2);
    run.crash().complete("fetch:1", json!(6)).complete("pay:1", json!("r2"));
    run.succeeds_with(json!({"paid": "r2"}));
}

#[test]
fn a_journal_cut_between_result_and_intent_goes_on() {
    let mut run = Harness::start(flow(), json!(null));
    run.complete("fetch:1", json!(5));
    run.lines.truncate(3);
    run.crash().complete("pay:1", json!("r3"));
    run.succeeds_with(json!({"paid": "r3"}));
}

#[test]
fn a_fork_goes_its_own_way_from_an_effect() -> Result<(), Failure> {
    let mut run = Harness::start(flow(), json!(null));
    run.complete("fetch:1", json!(5)).complete("pay:1", json!("r1"));
    let effect = "fetch:1".parse().unwrap();
    let shared = fork_point(&run.lines, &|_| None, &effect)?.unwrap();
    let started = RunStarted {
        run: RunId::new("run-2").unwrap(),
        forked_from: Some(Fork { run: RunId::new("run-1").unwrap(), effect: effect.clone() }),
        ..run.engine.started().clone()
    };
    let edited = Some((effect, crate::harness::json(json!(7))));
    let (lines, _) = fork(&run.lines, &|_| None, shared, started, edited)?;
    run.lines = lines;
    run.crash();
    assert_eq!(run.take("pay:1").input, crate::harness::json(json!(7)));
    Ok(())
}
