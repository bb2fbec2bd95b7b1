//! Workflows that are not deterministic, each found by what it does wrong; and one that is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::iter_over_hash_type,
    reason = "tests panic, and one does on purpose what the lint is about"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aos_core::Failure;
use aos_core::flow::{Ctx, Flows};
use aos_core::skill::{SkillContract, TypedSkill};
use aos_core::workflow::PlanBuilder;
use aos_testkit::determinism::{Nondeterminism, assert_deterministic, check};
use aos_testkit::harness::Harness;
use aos_testkit::skills::Skills;
use serde_json::{Value, json};

/// A skill that never gives the same thing twice: only its recorded results make runs comparable.
fn moody() -> TypedSkill {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let contract = SkillContract::idempotent("moody", "1.0.0").unwrap();
    TypedSkill::new(contract, |input: Value, _| async move {
        Ok(json!({"input": input, "mood": CALLS.fetch_add(1, Ordering::SeqCst)}))
    })
}

fn harness<F, Fut>(flow: F) -> impl Fn() -> Harness
where
    F: Fn(Ctx, Value) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, Failure>> + Send + 'static,
{
    let mut flows = Flows::new();
    flows.register("flow", "1.0.0", flow).unwrap();
    let skill = Arc::new(moody());
    let plan = PlanBuilder::code("flow", "1.0.0").unwrap().skill(aos_core::skill::Skill::contract(&*skill)).unwrap();
    let (plan, skills) = (plan.build(), Skills::new().with_shared(skill));
    move || Harness::new(Arc::clone(&plan), Arc::new(skills.clone())).flows(flows.clone())
}

fn words() -> impl Iterator<Item = (String, u64)> {
    (0..24).map(|n| (format!("word-{n}"), n))
}

#[test]
fn a_good_workflow_passes() {
    let good = |ctx: Ctx, _| async move {
        let parts = ctx
            .map(0..12, |ctx, n| async move {
                let first = ctx.call("moody", &json!(n)).await?;
                ctx.sleep(Duration::from_secs(n % 3)).await?;
                ctx.call("moody", first.value()).await
            })
            .await;
        let drawn = ctx.random().await?;
        let parts: Result<Vec<_>, Failure> = parts.into_iter().collect();
        Ok(json!({"parts": parts?, "drawn": drawn}))
    };
    assert_deterministic(40, harness(good));
}

#[test]
fn the_system_clock_is_caught_at_the_effect_that_depends_on_it() {
    let bad = |ctx: Ctx, _| async move {
        ctx.call("moody", "harmless").name("before").await?;
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
        ctx.call("moody", &json!({"stamp": nanos})).name("stamped").await?;
        Ok(json!(null))
    };
    let report = check(5, harness(bad)).unwrap_err().to_string();
    assert!(report.contains("effect stamped") && report.contains("/input/stamp"), "{report}");
}

#[test]
fn a_hash_maps_order_is_caught() {
    let bad = |ctx: Ctx, _| async move {
        let map: HashMap<String, u64> = words().collect();
        for (word, n) in map {
            ctx.call("moody", &json!([word, n])).await?;
        }
        Ok(json!(null))
    };
    let report = check(5, harness(bad)).unwrap_err().to_string();
    assert!(report.contains("effect moody:"), "{report}");
}

#[test]
fn a_race_between_branches_is_caught() {
    let bad = |ctx: Ctx, _| async move {
        let winner = std::sync::Mutex::new(None);
        ctx.map(0..6, |ctx, n| {
            let winner = &winner;
            async move {
                let _ = ctx.call("moody", &json!(n)).await;
                winner.lock().unwrap().get_or_insert(n);
            }
        })
        .await;
        let winner = *winner.lock().unwrap();
        ctx.call("moody", &json!({"winner": winner})).name("prize").await?;
        Ok(json!(null))
    };
    let Err(Nondeterminism::Effect(found)) = check(30, harness(bad)) else { panic!("not caught") };
    assert_eq!(found.effect.as_str(), "prize");
}

#[test]
fn an_output_that_depends_on_a_global_is_caught() {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let bad = |ctx: Ctx, _| async move {
        ctx.call("moody", "x").await?;
        Ok(json!({"count": COUNTER.fetch_add(1, Ordering::SeqCst)}))
    };
    let report = check(5, harness(bad)).unwrap_err().to_string();
    assert!(report.contains("/output/count") || report.contains("/count"), "{report}");
}

#[test]
fn reading_the_clock_through_the_context_is_fine() {
    let good = |ctx: Ctx, _| async move {
        ctx.map(0..4, |ctx, n| async move {
            ctx.sleep(Duration::from_millis(n * 7)).await?;
            let now = ctx.now().await?;
            ctx.call("moody", &json!(now.as_millis())).await
        })
        .await
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
        Ok(json!(null))
    };
    assert_deterministic(20, harness(good));
}
