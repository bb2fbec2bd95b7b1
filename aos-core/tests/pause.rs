//! Pausing a run anywhere and resuming it changes nothing, and does nothing twice.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use aos_core::canonical::Hash;
use aos_core::driver::{Driven, Host};
use aos_core::flow::{Ctx, Flows};
use aos_core::id::{RunId, TenantId, WorkerId};
use aos_core::memory::{MemoryStore, VirtualClock};
use aos_core::queue::Priority;
use aos_core::random::Seed;
use aos_core::registry::Registry;
use aos_core::replay::replay;
use aos_core::runs::{NewRun, RunState, RunStore};
use aos_core::skill::{SkillContract, SkillOutput, TypedSkill};
use aos_core::time::Clock;
use aos_core::workflow::PlanBuilder;
use aos_core::{Failure, Payload};
use serde_json::{Value, json};

/// Three branches, in each of which effects of every crash class follow each other; then a child run, and one more.
async fn work(ctx: Ctx, _: Value) -> Result<Value, Failure> {
    let branches = ctx
        .map(vec![1, 2, 3], |ctx, n| async move {
            for skill in ["once", "idempotent", "pure", "once", "idempotent"] {
                ctx.call(skill, &n).await?;
            }
            ctx.now().await
        })
        .await;
    for branch in branches {
        branch?;
    }
    ctx.child("child", &json!(null)).await?;
    ctx.call("once", &4).await?;
    Ok(json!("done"))
}

async fn child(ctx: Ctx, _: Value) -> Result<Value, Failure> {
    ctx.call("once", &5).await?;
    ctx.call("idempotent", &6).await?;
    Ok(json!("the child's"))
}

/// What the skills of one trial did.
#[derive(Default)]
struct Trial {
    calls: AtomicU32,
    /// How often each call that is not pure was executed, by its idempotency key.
    executed: Mutex<BTreeMap<String, u32>>,
}

/// Runs `work`; the run is paused in the middle of the skill call with number `pause_at`. Gives the content hash, how
/// many calls there were, and whether the run was paused on the way.
fn trial(pause_at: u32) -> (Hash, u32, bool) {
    let clock = VirtualClock::auto(aos_core::time::Timestamp::from_millis(1_767_225_600_000));
    let store = MemoryStore::new(Arc::new(clock.clone()));
    let (registry, trial) = (Registry::new(), Arc::new(Trial::default()));
    let contracts = [
        SkillContract::pure("pure", "1.0.0").unwrap(),
        SkillContract::idempotent("idempotent", "1.0.0").unwrap(),
        SkillContract::once("once", "1.0.0").unwrap(),
    ];
    let root = RunId::new("root").unwrap();
    for contract in &contracts {
        let (trial, store, root) = (Arc::clone(&trial), store.clone(), root.clone());
        let is_pure = contract.version.id.as_str() == "pure";
        let skill = TypedSkill::untyped(contract.clone(), move |call| {
            let (trial, store, root) = (Arc::clone(&trial), store.clone(), root.clone());
            async move {
                if !is_pure {
                    *trial.executed.lock().unwrap().entry(call.idempotency_key.clone()).or_default() += 1;
                }
                if trial.calls.fetch_add(1, Ordering::Relaxed) + 1 == pause_at {
                    store.pause(&TenantId::default(), &root).await?;
                }
                // Long enough for the driver to notice.
                for _ in 0..5 {
                    yield_now().await;
                }
                Ok(SkillOutput::from(call.input))
            }
        });
        registry.register(Arc::new(skill), clock.now()).unwrap();
    }
    let mut flows = Flows::new();
    flows.register("work", "1.0.0", work).unwrap();
    flows.register("child", "1.0.0", child).unwrap();
    let with_skills = |mut plan: PlanBuilder| {
        for contract in &contracts {
            plan = plan.skill(contract).unwrap();
        }
        plan
    };
    let child = with_skills(PlanBuilder::code("child", "1.0.0").unwrap()).build();
    let plan = with_skills(PlanBuilder::code("work", "1.0.0").unwrap()).child(child).build();
    let worker = WorkerId::new("w").unwrap();
    let host = Host::new(store.stores(), Arc::new(registry), flows, Arc::new(clock), worker);
    pollster::block_on(async {
        let new = NewRun {
            run: root.clone(),
            tenant: TenantId::default(),
            workflow: plan.workflow.clone(),
            plan: host.keep_plan(&plan).await.unwrap(),
            input: Payload::null(),
            seed: Seed::new(1),
            budget: None,
            parent: None,
            forked_from: None,
            idempotency_key: None,
            request_id: None,
            api_key: None,
            trace: None,
            priority: Priority::default(),
            start_at: None,
        };
        store.create(new, None).await.unwrap();
        let driven = host.drive_claimable(1).await.unwrap();
        let paused = driven[0].1 == Ok(Driven::Parked);
        if paused {
            let record = store.get(&TenantId::default(), &root).await.unwrap().unwrap();
            assert_eq!((record.state, record.pausing), (RunState::Paused, false));
            assert_eq!(host.drive_claimable(9).await.unwrap(), [], "a paused run is left alone");
            let durable = host.stores.journal.read(&TenantId::default(), &root, 0, usize::MAX).await.unwrap();
            let last = durable.last().expect("something was journaled").as_str();
            let asked_for = last.contains("effect_requested") && !last.contains("pure@");
            assert!(!asked_for, "asked for and left: {last}");
            store.resume(&TenantId::default(), &root).await.unwrap();
            let driven = host.drive_claimable(9).await.unwrap();
            assert!(matches!(driven[0].1, Ok(Driven::Finished(_))), "{driven:?}");
        }
        let lines = host.stores.journal.read(&TenantId::default(), &root, 0, usize::MAX).await.unwrap();
        let replayed = replay(plan, &host.flows, &lines, &|_| None).unwrap();
        assert_eq!(
            replayed.finished.as_ref().and_then(|end| end.output.clone()),
            Some(Payload::new("done".into()).unwrap())
        );
        let doubled: Vec<_> = trial.executed.lock().unwrap().clone().into_iter().filter(|(_, n)| *n > 1).collect();
        assert_eq!(doubled, [], "paused in call {pause_at}");
        (replayed.content_hash().unwrap(), trial.calls.load(Ordering::Relaxed), paused)
    })
}

#[test]
fn a_run_can_be_paused_in_any_call() {
    let (hash, calls, paused) = trial(0);
    assert!(!paused && calls >= 18, "{calls} calls");
    let mut pauses = 0;
    for pause_at in 1..=calls {
        let (same, _, paused) = trial(pause_at);
        assert_eq!(same, hash, "paused in call {pause_at}");
        pauses += u32::from(paused);
    }
    // The run is over with the last call.
    assert_eq!(pauses, calls - 1);
}

async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
