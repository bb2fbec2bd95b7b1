//! Rust workflows: sequence, branches, values from outside, misuse.

use std::time::Duration;

use aos_core::flow::{Ctx, Flows};
use aos_core::{Failure, codes};
use serde_json::{Value, json};

use crate::harness::Harness;

fn flows<F, Fut>(function: F) -> Flows
where
    F: Fn(Ctx, Value) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, Failure>> + Send + 'static,
{
    let mut flows = Flows::new();
    flows.register("test", "1.0.0", function).unwrap();
    flows
}

#[test]
fn steps_in_sequence_take_one_append_each() {
    let flows = flows(|ctx, _| async move {
        let a: i64 = ctx.call("fetch", "a").await?.to()?;
        let b: i64 = ctx.call("fetch@^1", "b").await?.to()?;
        Ok(json!(a + b))
    });
    let mut run = Harness::start(flows, json!(null));
    run.complete("fetch:1", json!(1)).complete("fetch:2", json!(2));
    run.succeeds_with(json!(3));
    assert_eq!(run.appends, 3, "N steps, N + 1 appends");
}

#[test]
fn branches_have_scopes_and_one_hash_in_any_order() {
    let branches = || {
        flows(|ctx, _| async move {
            let results = ctx
                .map(vec![1, 2, 3], |ctx, n| async move {
                    let first = ctx.call("fetch", &n).await?;
                    ctx.call("double", &first).await?.to::<i64>()
                })
                .await;
            let results: Result<Vec<i64>, Failure> = results.into_iter().collect();
            Ok(json!(results?))
        })
    };
    let mut hashes = Vec::new();
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let mut run = Harness::start(branches(), json!(null));
        for i in order {
            run.complete(&format!("map:1[{i}]/fetch:1"), json!(i));
        }
        for i in order {
            run.complete(&format!("map:1[{i}]/double:1"), json!(i * 10));
        }
        run.succeeds_with(json!([0, 10, 20]));
        hashes.push(run.finished().content_hash);
    }
    assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "{hashes:?}");
}

#[test]
fn the_clock_and_chance_come_from_the_context() {
    let flows = flows(|ctx, _| async move {
        let begun = ctx.now().await?;
        let number = ctx.random().await?;
        ctx.sleep(Duration::from_secs(90)).await?;
        let slept = ctx.now().await?.since(begun).as_secs();
        Ok(json!({"slept": slept, "number": number}))
    });
    let mut run = Harness::start(flows, json!(null));
    assert_eq!(run.pump().unwrap(), Some(run.now.saturating_add(Duration::from_secs(90))));
    run.advance(Duration::from_secs(89));
    assert!(run.engine.finished().is_none());
    run.advance(Duration::from_secs(3));
    let number = run.finished().output.as_ref().unwrap().value()["number"].clone();
    run.succeeds_with(json!({"slept": 92, "number": number}));
}

#[test]
fn misuse_fails_the_run_with_a_code() {
    let table: [(&str, aos_core::Code); 6] = [
        ("stall", codes::WORKFLOW_STALLED),
        ("panic", codes::WORKFLOW_PANICKED),
        ("skill", codes::SKILL_NOT_IN_PLAN),
        ("child", codes::WORKFLOW_NOT_FOUND),
        ("twice", codes::EFFECT_ID_INVALID),
        ("for ever", codes::LIMIT_EXCEEDED),
    ];
    for (what, code) in table {
        let flows = flows(|ctx, what: Value| async move {
            match what.as_str().unwrap_or_default() {
                "stall" => std::future::pending().await,
                "panic" => panic!("a bug"),
                "skill" => ctx.call("rm_rf", "/").await.map(|_| json!(null)),
                "child" => ctx.child("other", "x").await.map(|_| json!(null)),
                "twice" => {
                    let first = ctx.call("double", &1).name("same").into_future();
                    ctx.call("double", &2).name("same").await?;
                    first.await.map(|_| json!(null))
                }
                _ => loop {
                    ctx.random().await?;
                },
            }
        });
        let run = Harness::start(flows, json!(what));
        assert_eq!(run.finished().failure.as_ref().map(|f| &f.code), Some(&code), "{what}");
        run.replay().unwrap();
    }
}

#[test]
fn new_code_is_taken_by_new_runs_only() {
    let old = || {
        flows(|ctx, _| async move {
            ctx.call("fetch", "old").await?;
            ctx.call("fetch", "end").await?;
            Ok(json!("old"))
        })
    };
    let new = || {
        flows(|ctx, _| async move {
            let patched = ctx.patched("new-fetch");
            ctx.call("fetch", if patched { "new" } else { "old" }).await?;
            ctx.call("fetch", "end").await?;
            Ok(json!(if ctx.patched("new-fetch") { "new" } else { "old" }))
        })
    };
    // A run begun by the old code goes on under the new code as if nothing had changed.
    let mut run = Harness::start(old(), json!(null));
    run.complete("fetch:1", json!(1));
    run.flows = new();
    run.crash().complete("fetch:2", json!(2));
    run.succeeds_with(json!("old"));
    // A run begun by the new code has the change in its journal.
    let mut run = Harness::start(new(), json!(null));
    run.complete("fetch:1", json!(1)).crash().complete("fetch:2", json!(2));
    run.succeeds_with(json!("new"));
}
