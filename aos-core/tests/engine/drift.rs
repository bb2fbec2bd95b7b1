//! Every class of drift, where it shows and how it reads.

use std::sync::Arc;
use std::time::Duration;

use aos_core::flow::{Ctx, Flows};
use aos_core::replay::{DriftClass, ReplayError, replay};
use aos_core::retry::RetryPolicy;
use aos_core::{Failure, Payload};
use serde_json::{Value, json};

use crate::harness::{Harness, flaky, plan};

/// A flow whose behaviour is chosen by name, so that a journal of one can be replayed by another.
fn flow(variant: &'static str) -> Flows {
    let mut flows = Flows::new();
    flows.register("test", "1.0.0", move |ctx: Ctx, _: Value| body(ctx, variant)).unwrap();
    flows
}

async fn body(ctx: Ctx, variant: &'static str) -> Result<Value, Failure> {
    let retry = RetryPolicy {
        max_attempts: if variant == "retry" { 1 } else { 2 },
        initial_ms: 100,
        jitter_percent: 0,
        ..RetryPolicy::default()
    };
    let query = if variant == "input" { json!({"q": "cats", "n": 3}) } else { json!({"q": "dogs", "n": 3}) };
    let (first, second) = if variant == "order" { ("b", "a") } else { ("a", "b") };
    let a = ctx.call("fetch", &query).name(first).retry(retry.clone());
    let b = ctx.call("double", &1).name(second);
    let (a, b): (Payload, Payload) = if variant == "order" {
        (ctx.call("double", &1).name("b").await?, ctx.call("fetch", &query).name("a").retry(retry).await?)
    } else {
        (a.await?, if variant == "missing" { Payload::null() } else { b.await? })
    };
    if variant == "extra" {
        ctx.call("fetch", "more").name("c").await?;
    }
    if variant == "skill" {
        return Ok(json!(ctx.call("pay", "x").name("end").await?));
    }
    let end = ctx.call("double", "x").name("end").await?;
    Ok(if variant == "output" { json!("something else") } else { json!([a.value(), b.value(), end.value()]) })
}

fn journal() -> Harness {
    let mut run = Harness::start(flow("original"), json!(null));
    run.fail("a", flaky()).advance(Duration::from_millis(100));
    run.complete("a", json!("A")).complete("b", json!("B")).complete("end", json!("E"));
    run.succeeds_with(json!(["A", "B", "E"]));
    run
}

#[test]
fn each_change_of_a_program_is_drift_of_its_class() {
    let run = journal();
    let table = [
        ("input", DriftClass::Input, Some("a"), 1),
        ("order", DriftClass::Order, Some("b"), 1),
        ("retry", DriftClass::Retry, Some("a"), 2),
        ("missing", DriftClass::Order, Some("end"), 4),
        ("skill", DriftClass::SkillVersion, Some("end"), 6),
        ("extra", DriftClass::Extra, Some("c"), 6),
        ("output", DriftClass::Output, None, 8),
    ];
    for (variant, class, effect, index) in table {
        match replay(plan(), &flow(variant), &run.lines, &|_| None) {
            Err(ReplayError::Drift(drift)) => {
                let found = (drift.class, drift.effect.as_ref().map(|e| e.as_str()), drift.index);
                assert_eq!(found, (class, effect, index), "{variant}: {drift}");
            }
            other => panic!("{variant}: {other:?}"),
        }
    }
}

#[test]
fn drift_reads_alone() {
    let run = journal();
    let error = replay(plan(), &flow("input"), &run.lines, &|_| None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "drift of class input at entry 1, effect a\n/input/q\n  expected \"dogs\"\n  actual   \"cats\""
    );
}

#[test]
fn another_plan_is_drift() {
    let run = journal();
    let other = aos_core::workflow::PlanBuilder::code("test", "1.0.0").unwrap().build();
    let error = replay(other, &run.flows, &run.lines, &|_| None).unwrap_err();
    assert!(matches!(&error, ReplayError::Drift(drift) if drift.class == DriftClass::Plan), "{error}");
}

#[test]
fn a_damaged_journal_is_named_at_its_entry() {
    let run = journal();
    for index in 0..run.lines.len() {
        let mut lines = run.lines.clone();
        let text = lines[index].as_str().replace("\"at\":1767225600", "\"at\":1767225601");
        assert_ne!(text, lines[index].as_str());
        lines[index] = aos_core::journal::Line::new(text);
        // The last line is vouched for by whoever keeps the chain hash: a golden file's header, say.
        let error = replay(Arc::clone(&run.plan), &run.flows, &lines, &|_| None);
        let damaged = error.err().and_then(|error| error.index());
        assert_eq!(damaged, (index + 1 < lines.len()).then_some(index as u64), "entry {index}");
    }
    for (name, lines) in [
        ("without the first", run.lines[1..].to_vec()),
        ("without the fourth", [&run.lines[..3], &run.lines[4..]].concat()),
        ("two swapped", [&run.lines[..2], &[run.lines[3].clone(), run.lines[2].clone()], &run.lines[4..]].concat()),
        ("empty", vec![]),
    ] {
        let error = replay(Arc::clone(&run.plan), &run.flows, &lines, &|_| None).unwrap_err();
        assert!(matches!(error, ReplayError::Corrupt { .. }), "{name}: {error}");
    }
}
