//! Runs that begin with another one's past: forks, and retries of failed runs.

use std::time::Duration;

use aos_core::event::{Fact, Fork, RunStarted, RunStatus};
use aos_core::flow::{Ctx, Flows};
use aos_core::id::RunId;
use aos_core::replay::{Retry, fork, fork_point, intent_point, retry};
use aos_core::{Failure, codes};
use serde_json::{Value, json};

use crate::harness::{self, Harness};
use crate::steps;

fn broken() -> Failure {
    Failure::new(codes::SKILL_FAILED, "it is broken")
}

fn of_steps(steps: Value) -> Harness {
    Harness::start_plan(steps::plan(steps, Value::Null), Flows::new(), json!({"n": [0, 1, 2, 3]}))
}

fn flow() -> Flows {
    let mut flows = Flows::new();
    flows
        .register("test", "1.0.0", |ctx: Ctx, mode: String| async move {
            let price = ctx.call("fetch", "price").await?;
            match mode.as_str() {
                "own" => return Err(Failure::new(codes::SKILL_FAILED, "the price is odd")),
                "signal" => drop(ctx.signal("go").await?),
                "both" => {
                    let (one, two) = ctx.join(fetch_twice, fetch).await;
                    return Ok(json!([one?, two?]));
                }
                "caught" => drop(ctx.call("fetch", "caught").await),
                _ => {}
            }
            Ok(json!({"paid": ctx.call("pay", &price).await?}))
        })
        .unwrap();
    flows
}

async fn fetch(ctx: Ctx) -> Result<Value, Failure> {
    ctx.call("fetch", "one").await?.to()
}

async fn fetch_twice(ctx: Ctx) -> Result<Value, Failure> {
    fetch(ctx.clone()).await?;
    fetch(ctx).await
}

impl Harness {
    fn retry(&self) -> Result<Retry, Failure> {
        let blob = |hash: &_| self.blobs.iter().find(|blob| blob.hash() == *hash).cloned();
        retry(&self.plan, &self.flows, &self.lines, &blob, RunId::new("run-2").unwrap(), self.now)
    }

    /// Becomes the retry of the run it was; gives what is to be done anew.
    fn becomes_its_retry(&mut self) -> Vec<String> {
        let retry = self.retry().unwrap();
        assert_eq!(retry.fork.run.as_str(), "run-1");
        self.lines = retry.lines;
        self.blobs.extend(retry.blobs);
        self.crash();
        assert_eq!(self.engine.started().run.as_str(), "run-2");
        assert_eq!(self.engine.started().forked_from, Some(retry.fork));
        self.calls.iter().map(|call| call.effect.to_string()).collect()
    }

    #[track_caller]
    fn can_not_be_retried(&self, because: &str) {
        let failure = self.retry().unwrap_err();
        assert_eq!(failure.code, codes::CONFLICT, "{failure}");
        assert!(failure.message.contains(because), "{failure}");
    }
}

#[test]
fn what_failed_is_done_anew_and_nothing_else() {
    let steps = json!([
        {"id": "a", "skill": "fetch"},
        {"id": "b", "skill": "fetch"},
        {"id": "c", "skill": "pay", "needs": ["b"]},
        {"id": "d", "skill": "fetch", "needs": ["a"]},
    ]);
    let mut run = of_steps(steps);
    run.fail("a", broken()).complete("b", json!("B")).complete("c", json!("C"));
    run.fails_with(&codes::SKILL_FAILED);
    assert_eq!(run.becomes_its_retry(), ["a"]);
    run.complete("a", json!("A")).complete("d", json!("D"));
    run.succeeds_with(json!({"a": "A", "b": "B", "c": "C", "d": "D"}));
}

#[test]
fn all_items_that_failed_are_done_anew() {
    let mut run = of_steps(json!([{"id": "each", "skill": "fetch", "for_each": "input.n"}]));
    run.complete("each[3]", json!(3)).fail("each[1]", broken()).complete("each[0]", json!(0)).fail("each[2]", broken());
    assert_eq!(run.becomes_its_retry(), ["each[1]", "each[2]"]);
    run.complete("each[2]", json!(2)).complete("each[1]", json!(1));
    run.succeeds_with(json!({"each": [0, 1, 2, 3]}));
}

/// The item after it was asked for because the first one had ended: without that it comes too early.
#[test]
fn what_was_asked_for_because_of_the_failure_is_done_anew() {
    let mut run = of_steps(json!([
        {"id": "first", "skill": "fetch"},
        {"id": "each", "skill": "fetch", "for_each": "input.n", "concurrency": 1, "needs": ["first"]},
    ]));
    run.complete("first", json!("kept")).fail("each[0]", broken());
    for item in 1..4 {
        run.complete(&format!("each[{item}]"), json!(item));
    }
    assert_eq!(run.becomes_its_retry(), ["each[0]"]);
    for item in 0..4 {
        run.complete(&format!("each[{item}]"), json!(item));
    }
    run.succeeds_with(json!({"first": "kept", "each": [0, 1, 2, 3]}));
}

#[test]
fn a_failure_that_the_workflow_lives_with_stays() {
    let mut run = of_steps(json!([
        {"id": "a", "skill": "fetch", "on_error": "continue"},
        {"id": "b", "skill": "fetch", "needs": ["a"]},
    ]));
    run.fail("a", broken()).fail("b", broken());
    assert_eq!(run.becomes_its_retry(), ["b"]);
    run.complete("b", json!("B")).succeeds_with(json!({"a": null, "b": "B"}));
}

#[test]
fn a_once_effect_that_failed_is_begun_anew() {
    for (mode, before) in [("plain", &["fetch:1"][..]), ("caught", &["fetch:1", "fetch:2"])] {
        let mut run = Harness::start(flow(), json!(mode));
        for effect in before {
            match *effect {
                "fetch:2" => run.fail(effect, broken()),
                _ => run.complete(effect, json!(5)),
            };
        }
        run.fail("pay:1", broken()).fails_with(&codes::SKILL_FAILED);
        assert_eq!(run.becomes_its_retry(), ["pay:1"], "{mode}");
        run.complete("pay:1", json!("r")).succeeds_with(json!({"paid": "r"}));
    }
    // Nobody knows whether it was done, and whoever retries it by hand has found out.
    let mut run = Harness::start(flow(), json!("plain"));
    run.complete("fetch:1", json!(5)).crash().fails_with(&codes::OUTCOME_UNKNOWN);
    assert_eq!(run.becomes_its_retry(), ["pay:1"]);
}

#[test]
fn effects_that_failed_side_by_side_are_done_anew_together() {
    let odd = || Failure::new(codes::HTTP_STATUS, "502");
    let (one, again, two) = ("join:1[0]/fetch:1", "join:1[0]/fetch:2", "join:1[1]/fetch:1");
    // The run fails with the first one's failure, whichever comes first.
    let mut run = Harness::start(flow(), json!("both"));
    run.complete("fetch:1", json!(5)).complete(one, json!(1)).fail(two, odd()).fail(again, broken());
    assert_eq!(run.becomes_its_retry(), [two, again]);
    run.complete(again, json!(2)).complete(two, json!(3)).succeeds_with(json!([2, 3]));
    // With the second one's, which came before the other branch asked for more.
    let mut run = Harness::start(flow(), json!("both"));
    run.complete("fetch:1", json!(5)).fail(two, odd()).complete(one, json!(1)).complete(again, json!(2));
    assert_eq!(run.becomes_its_retry(), [two]);
    run.complete(two, json!(3)).succeeds_with(json!([2, 3]));
}

#[test]
fn what_can_not_be_retried_says_why() {
    let mut run = Harness::start(flow(), json!("plain"));
    run.complete("fetch:1", json!(5));
    run.can_not_be_retried("has not ended");
    run.complete("pay:1", json!("r")).can_not_be_retried("it is succeeded");
    let mut run = Harness::start(flow(), json!("own"));
    run.complete("fetch:1", json!(5)).can_not_be_retried("its program has (ERR_SKILL_FAILED)");
    let run = of_steps(json!([{"id": "a", "skill": "fetch", "params": "{{ input.nothing }}"}]));
    run.can_not_be_retried("a was refused before it was begun (ERR_EXPRESSION_FAILED)");
    let mut run = of_steps(json!([{"id": "each", "skill": "pay", "for_each": "input.n", "concurrency": 1}]));
    run.fail("each[0]", broken());
    for item in 1..4 {
        run.complete(&format!("each[{item}]"), json!(item));
    }
    run.can_not_be_retried("each[1] must not be done twice");
}

#[test]
fn a_wait_that_timed_out_begins_anew() {
    let mut run = of_steps(json!([
        {"id": "draft", "skill": "fetch"},
        {"id": "ask", "signal": "approval", "timeout": "60s", "needs": ["draft"]},
    ]));
    run.complete("draft", json!("text")).advance(Duration::from_secs(61)).fails_with(&codes::TIMEOUT);
    run.advance(Duration::from_secs(3_600));
    assert!(run.becomes_its_retry().is_empty());
    let signal = Fact::Signal { seq: 1, name: "approval".into(), payload: harness::json(json!("yes")) };
    run.advance(Duration::from_secs(50)).apply(signal);
    run.succeeds_with(json!({"draft": "text", "ask": "yes"}));
}

/// The new run has an inbox of its own, which counts from 1.
#[test]
fn a_run_with_another_one_s_past_hears_its_own_messages() -> Result<(), Failure> {
    let signal = || Fact::Signal { seq: 3, name: "go".into(), payload: harness::json(json!(1)) };
    let cancel = || Fact::Cancel { seq: 1, reason: "no need".into() };
    let mut run = Harness::start(flow(), json!("signal"));
    run.complete("fetch:1", json!(5)).apply(signal()).fail("pay:1", broken());
    assert_eq!(run.becomes_its_retry(), ["pay:1"]);
    assert_eq!(run.apply(cancel()).finished().status, RunStatus::Cancelled);

    let mut run = Harness::start(flow(), json!("signal"));
    run.complete("fetch:1", json!(5)).apply(signal()).complete("pay:1", json!("r"));
    let effect = "pay:1".parse().unwrap();
    let shared = fork_point(&run.lines, &|_| None, &effect)?.unwrap();
    let before = intent_point(&run.lines, &|_| None, &effect)?.unwrap();
    assert_eq!(before + 1, shared);
    let of = Fork { run: RunId::new("run-1").unwrap(), effect };
    let started =
        RunStarted { run: RunId::new("run-2").unwrap(), forked_from: Some(of), ..run.engine.started().clone() };
    (run.lines, _) = fork(&run.lines, &|_| None, before, started, None)?;
    run.crash();
    assert_eq!(run.calls[0].effect.as_str(), "pay:1");
    assert_eq!(run.apply(cancel()).finished().status, RunStatus::Cancelled);
    Ok(())
}
