//! Signals and cancellation.

use std::time::Duration;

use aos_core::codes;
use aos_core::event::{Fact, RunStatus};
use aos_core::flow::{Ctx, Flows};
use serde_json::{Value, json};

use crate::harness::{self, Harness};

fn approval() -> Flows {
    let mut flows = Flows::new();
    flows
        .register("test", "1.0.0", |ctx: Ctx, _: Value| async move {
            ctx.call("fetch", "draft").await?;
            ctx.signal("approved").timeout(Duration::from_secs(60)).await
        })
        .unwrap();
    flows
}

fn approved(seq: u64, by: &str) -> Fact {
    Fact::Signal { seq, name: "approved".into(), payload: harness::json(json!({"by": by})) }
}

#[test]
fn a_signal_is_awaited() {
    let mut run = Harness::start(approval(), json!(null));
    run.complete("fetch:1", json!(1)).crash().apply(approved(1, "ada"));
    run.succeeds_with(json!({"by": "ada"}));
}

#[test]
fn a_signal_may_come_before_anybody_waits_and_twice_is_once() {
    let mut run = Harness::start(approval(), json!(null));
    run.apply(approved(1, "ada")).apply(approved(1, "ada")).crash().apply(approved(1, "ada"));
    run.complete("fetch:1", json!(1));
    run.succeeds_with(json!({"by": "ada"}));
}

#[test]
fn a_signal_that_does_not_come_is_a_timeout() {
    let mut run = Harness::start(approval(), json!(null));
    run.complete("fetch:1", json!(1)).advance(Duration::from_secs(61));
    run.fails_with(&codes::TIMEOUT);
}

#[test]
fn a_cancelled_run_ends_at_once() {
    let mut run = Harness::start(approval(), json!(null));
    run.apply(Fact::Cancel { seq: 1, reason: "wrong customer".into() });
    assert_eq!(run.finished().status, RunStatus::Cancelled);
    assert_eq!(run.aborted, ["fetch:1"]);
    run.fails_with(&codes::CANCELLED);
}
