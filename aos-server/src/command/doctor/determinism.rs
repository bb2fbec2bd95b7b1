//! A run, its replay, and a hash that is the same on every machine.

use std::sync::Arc;

use aos_core::driver::{Host, NoObserver};
use aos_core::engine::RunOptions;
use aos_core::flow::{Ctx, Flows};
use aos_core::id::{RunId, WorkerId};
use aos_core::memory::VirtualClock;
use aos_core::random::Seed;
use aos_core::registry::Registry;
use aos_core::replay::replay;
use aos_core::skill::{Skill as _, SkillContract, TypedSkill};
use aos_core::time::{Clock, Timestamp};
use aos_core::workflow::PlanBuilder;
use aos_core::{Failure, Payload};
use serde_json::{Value, json};

use crate::command::local;

/// What the run's content hash is, on every machine and in every release that reads the same journals.
const EXPECTED: &str = "50d6144e4e7533bb6dbb6c4f2c0251ea32a83476c76bf61ef6e6a6a5017a8708";

/// How often the journal is replayed.
const REPLAYS: usize = 100;

async fn flow(ctx: Ctx, input: Value) -> Result<Value, Failure> {
    let first = ctx.call("echo", &input).await?;
    let random = ctx.random().await?;
    ctx.sleep(std::time::Duration::from_secs(3_600)).await?;
    let second = ctx.call("echo", &json!({"first": first, "random": random})).await?;
    Ok(json!({"second": second, "number": 0.1, "text": "é\u{0}"}))
}

/// What was found, well or not.
pub async fn check() -> Result<String, String> {
    let hash = run().await.map_err(|failure| format!("the self-test failed with {failure}"))?;
    if hash != EXPECTED {
        return Err(format!("the self-test's hash is {hash}, and it is {EXPECTED} elsewhere"));
    }
    Ok(format!("a run replayed {REPLAYS} times to the hash it has everywhere ({}…)", &hash[..12]))
}

async fn run() -> Result<String, Failure> {
    let echo =
        TypedSkill::untyped(SkillContract::idempotent("echo", "1.0.0")?, |call| async move { Ok(call.input.into()) });
    let plan = PlanBuilder::code("doctor", "1.0.0")?.skill(echo.contract())?.build();
    let skills = Registry::new();
    skills.register(Arc::new(echo), Timestamp::EPOCH)?;
    let mut flows = Flows::new();
    flows.register("doctor", "1.0.0", flow)?;
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::auto(Timestamp::EPOCH));
    let internal = |e: aos_core::id::IdError| Failure::new(aos_core::codes::INTERNAL, e.to_string());
    let worker = WorkerId::new("doctor").map_err(internal)?;
    let mut host = Host::new(local::memory(&clock), Arc::new(skills), flows, clock, worker);
    host.observer = Arc::new(NoObserver);
    let options = RunOptions::new(RunId::new("doctor").map_err(internal)?).seed(Seed::new(42));
    let report = host.run(&plan, Payload::new(json!({"n": [1, 2.5, -0.0], "ü": "\u{1f980}"}))?, options).await?;
    for _ in 0..REPLAYS {
        let replayed = replay(plan.clone(), &host.flows, &report.lines, &|_| None)?;
        if replayed.content_hash() != Some(report.finished.content_hash) {
            return Err(Failure::new(aos_core::codes::DRIFT, "a replay gave another content hash than the run"));
        }
    }
    Ok(report.finished.content_hash.to_string())
}
