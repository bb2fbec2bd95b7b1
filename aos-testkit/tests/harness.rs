//! The simulation itself: orders, workers, crashes, stalls.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests panic")]

#[path = "support/flows.rs"]
mod flows;

use std::collections::BTreeSet;
use std::sync::Arc;

use aos_core::event::RunStatus;
use aos_core::flow::{Ctx, Flows};
use aos_core::memory::VirtualClock;
use aos_core::skill::{CrashClass, Skill as _, SkillContract, TypedSkill};
use aos_core::workflow::PlanBuilder;
use aos_core::{Failure, codes};
use aos_testkit::fault::{Faults, Faulty, Rates};
use aos_testkit::harness::{ERR_STALLED, Harness, Kill, START};
use aos_testkit::skills::{Skills, TestSkills, Web};
use serde_json::{Value, json};

fn order(refuse: bool) -> Value {
    let item = |n: u32| json!({"sku": format!("NHV-{n}"), "quantity": n, "unit_price_cents": 595 * u64::from(n)});
    json!({"id": "100247", "items": (1..=6).map(item).collect::<Vec<_>>(), "refuse_payment": refuse})
}

fn saga(refuse: bool) -> (TestSkills, Harness) {
    let clock = VirtualClock::new(START);
    let kit = TestSkills::new(Arc::new(clock.clone()), Web::new()).unwrap();
    let contracts: Vec<_> = kit.skills.iter().map(|skill| skill.contract().clone()).collect();
    let plan = flows::plan("order_saga", &contracts.iter().collect::<Vec<&SkillContract>>());
    let harness = Harness::new(plan, Arc::new(kit.skills.clone()));
    (kit, harness.flows(flows::flows()).clock(clock).input(order(refuse)).unwrap())
}

#[test]
fn every_order_worker_and_thread_count_gives_one_content_hash() {
    for refuse in [false, true] {
        let (mut hashes, mut journals) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..60 {
            for (workers, threads) in [(1, 1), (2, 1), (8, 1), (4, 3)] {
                let (kit, harness) = saga(refuse);
                let ran = harness.order(seed).workers(workers).threads(threads).run().unwrap();
                assert_eq!(ran.status(), Some(RunStatus::Succeeded), "{:?}", ran.record.failure);
                hashes.insert(ran.content_hash());
                journals.insert(aos_core::replay::chain_hash(&ran.lines));
                assert_eq!(kit.ledger.bookings().len(), usize::from(!refuse));
                assert_eq!(ran.replay().unwrap().content_hash(), ran.record.content_hash);
            }
        }
        assert_eq!(hashes.len(), 1, "refuse {refuse}");
        assert!(journals.len() > 5, "the seeds made only {} orders", journals.len());
    }
}

#[test]
fn one_seed_is_one_journal() {
    let run = |seed| saga(false).1.order(seed).workers(3).run().unwrap().lines;
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn crashes_at_every_append_lose_nothing() {
    let undisturbed = saga(false).1.run().unwrap();
    let mut unknown = 0;
    for kill in (1..=undisturbed.appends).flat_map(|n| [Kill::Before(n), Kill::After(n)]) {
        let (kit, harness) = saga(false);
        let ran = harness.workers(2).kill(kill).run().unwrap();
        assert_eq!(kit.ledger.doubles(), [], "{kill:?}");
        let output = ran.record.output.as_ref().unwrap().value();
        if output["status"] == "needs_review" {
            unknown += 1;
        } else {
            assert_eq!(ran.content_hash(), undisturbed.content_hash(), "{kill:?}");
        }
        ran.replay().unwrap();
        let once = ran.calls.iter().filter(|call| call.crash == CrashClass::Once).count();
        assert!(once <= 1, "{kill:?}");
        let keys: BTreeSet<_> = ran.calls.iter().map(|call| (&call.effect, &call.idempotency_key)).collect();
        let effects: BTreeSet<_> = ran.calls.iter().map(|call| &call.effect).collect();
        assert_eq!(keys.len(), effects.len(), "an effect was called under two keys after {kill:?}");
    }
    assert!(unknown >= 1, "no crash hit the charge");
}

#[test]
fn faulty_stores_delay_and_change_nothing() {
    let expected = saga(false).1.run().unwrap().content_hash();
    let mut injected = 0;
    for seed in 0..40 {
        let (kit, harness) = saga(false);
        let clock = Arc::new(VirtualClock::new(START));
        let faults = Faults::new(aos_core::random::Seed::new(seed), Rates { refused: 8, ..Rates::default() }, clock);
        let around = Arc::clone(&faults);
        let ran = harness
            .workers(2)
            .wrap_stores(move |mut stores| {
                stores.journal = Arc::new(Faulty::new(stores.journal, &around));
                stores.runs = Arc::new(Faulty::new(stores.runs, &around));
                stores
            })
            .run()
            .unwrap_or_else(|failure| panic!("{failure}; {faults:?}"));
        injected += faults.injected().len();
        assert_eq!(kit.ledger.doubles(), [], "{faults:?}");
        let review = ran.record.output.as_ref().unwrap().value()["status"] == "needs_review";
        assert!(review || ran.content_hash() == expected, "{faults:?}");
    }
    assert!(injected > 40, "{injected}");
}

#[test]
fn a_parent_does_not_learn_that_a_store_failed_under_its_child() {
    async fn parent(ctx: Ctx, (): ()) -> Result<Value, Failure> {
        let children = ctx.map(vec![1, 2, 3], |ctx, n| async move { ctx.child("child", &n).await?.to::<u64>() }).await;
        Ok(json!(children.into_iter().collect::<Result<Vec<_>, _>>()?))
    }
    async fn child(ctx: Ctx, n: u64) -> Result<u64, Failure> {
        let twice: u64 = ctx.call("double", &n).await?.to()?;
        ctx.call("double", &twice).await?.to()
    }
    let contract = SkillContract::idempotent("double", "1.0.0").unwrap();
    let double = TypedSkill::new(contract, |n: u64, _| async move { Ok(2 * n) });
    let mut flows = Flows::new();
    flows.register("parent", "1.0.0", parent).unwrap();
    flows.register("child", "1.0.0", child).unwrap();
    let child = PlanBuilder::code("child", "1.0.0").unwrap().skill(double.contract()).unwrap().build();
    let plan = PlanBuilder::code("parent", "1.0.0").unwrap().child(child).build();
    let skills = Arc::new(Skills::new().with(double));
    let harness = || Harness::new(Arc::clone(&plan), Arc::clone(&skills) as _).flows(flows.clone()).workers(2);
    let expected = harness().run().unwrap().content_hash();
    let mut injected = 0;
    for seed in 0..40 {
        let rates = Rates { refused: 20, ..Rates::default() };
        let faults = Faults::new(aos_core::random::Seed::new(seed), rates, Arc::new(VirtualClock::new(START)));
        let around = Arc::clone(&faults);
        let ran = harness().order(seed).wrap_stores(move |stores| aos_core::driver::Stores {
            runs: Arc::new(Faulty::new(stores.runs, &around)),
            journal: Arc::new(Faulty::new(stores.journal, &around)),
            blobs: stores.blobs,
        });
        let ran = ran.run().unwrap_or_else(|failure| panic!("{failure}; {faults:?}"));
        assert_eq!(ran.content_hash(), expected, "{:?}; {faults:?}", ran.record.failure);
        injected += faults.injected().len();
    }
    assert!(injected > 40, "{injected}");
}

#[test]
fn a_run_that_waits_for_ever_is_reported() {
    async fn wait(ctx: Ctx, (): ()) -> Result<(), Failure> {
        ctx.signal("never").await.map(drop)
    }
    let mut flows = Flows::new();
    flows.register("wait", "1.0.0", wait).unwrap();
    let plan = PlanBuilder::code("wait", "1.0.0").unwrap().build();
    for workers in [1, 3] {
        let harness = Harness::new(Arc::clone(&plan), Arc::new(Skills::new()));
        let failure = harness.flows(flows.clone()).workers(workers).run().err().unwrap();
        assert_eq!(failure.code.as_str(), ERR_STALLED);
    }
    let harness = Harness::new(plan, Arc::new(Skills::new())).flows(flows).workers(2);
    let ran = harness.cancel(std::time::Duration::from_secs(9), "enough").run().unwrap();
    assert_eq!(ran.status(), Some(RunStatus::Cancelled));
    assert_eq!(ran.record.failure.unwrap().code, codes::CANCELLED);
}
