//! The driver over memory stores, under three runtimes and none.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aos_core::driver::{Driven, Host, Observer, Stores, create, drive};
use aos_core::engine::RunOptions;
use aos_core::event::{Fork, RunStatus};
use aos_core::flow::{Ctx, Flows};
use aos_core::id::{RunId, TenantId, WorkerId};
use aos_core::journal::{Append, JournalStore, Line};
use aos_core::memory::{MemoryStore, VirtualClock};
use aos_core::queue::Priority;
use aos_core::random::Seed;
use aos_core::registry::Registry;
use aos_core::replay::replay;
use aos_core::runs::{Claim, Created, FirstLease, Lease, Message, NewRun, RunState, RunStore, StoreError};
use aos_core::skill::{SkillContract, SkillOutput, TypedSkill};
use aos_core::time::{Clock, Timestamp};
use aos_core::workflow::{Plan, PlanBuilder};
use aos_core::{BoxFuture, Failure, Payload, codes};
use serde_json::{Value, json};

struct Fixture {
    host: Host,
    store: MemoryStore,
    clock: VirtualClock,
    plan: Arc<Plan>,
}

/// A host with the skills `add` (pure), `flaky` (fails twice), `bad` (panics) and `echo`, and flows that use them.
fn fixture() -> Fixture {
    let clock = VirtualClock::auto(Timestamp::from_millis(1_767_225_600_000));
    let store = MemoryStore::new(Arc::new(clock.clone()));
    let registry = Registry::new();
    let contracts = [
        SkillContract::pure("add", "1.0.0").unwrap(),
        SkillContract::idempotent("flaky", "1.0.0").unwrap(),
        SkillContract::idempotent("bad", "1.0.0").unwrap(),
        SkillContract::idempotent("echo", "1.0.0").unwrap(),
    ];
    let now = clock.now();
    let add = TypedSkill::new(contracts[0].clone(), |(a, b): (i64, i64), _| async move { Ok(a + b) });
    registry.register(Arc::new(add), now).unwrap();
    let flaky = TypedSkill::untyped(contracts[1].clone(), |call| async move {
        if call.attempt < 3 {
            return Err(Failure::new(codes::HTTP_FAILED, "connection reset"));
        }
        Ok(SkillOutput::from(call.input))
    });
    registry.register(Arc::new(flaky), now).unwrap();
    let bad = TypedSkill::untyped(contracts[2].clone(), |_| async { panic!("a bug in a skill") });
    registry.register(Arc::new(bad), now).unwrap();
    let echo = TypedSkill::untyped(contracts[3].clone(), |call| async move { Ok(SkillOutput::from(call.input)) });
    registry.register(Arc::new(echo), now).unwrap();

    let mut flows = Flows::new();
    flows.register("sums", "1.0.0", sums).unwrap();
    flows.register("parent", "1.0.0", parent).unwrap();
    let mut plan = PlanBuilder::code("sums", "1.0.0").unwrap();
    for contract in &contracts {
        plan = plan.skill(contract).unwrap();
    }
    let stores = Stores { runs: Arc::new(store.clone()), journal: Arc::new(store.clone()), blobs: store.blobs() };
    let worker = WorkerId::new("w1").unwrap();
    let host = Host::new(stores, Arc::new(registry), flows, Arc::new(clock.clone()), worker);
    Fixture { host, store, clock, plan: plan.build() }
}

async fn sums(ctx: Ctx, numbers: Vec<i64>) -> Result<Value, Failure> {
    let mut total = 0;
    for number in numbers {
        total = ctx.call("add", &(total, number)).await?.to()?;
    }
    if total == 13 {
        ctx.call("bad", &total).await?;
    }
    let echoed = ctx.call("flaky", &total).await?;
    ctx.sleep(Duration::from_secs(3_600)).await?;
    Ok(json!({"total": echoed.value()}))
}

async fn parent(ctx: Ctx, lists: Vec<Vec<i64>>) -> Result<Value, Failure> {
    let totals = ctx.map(lists, |ctx, list| async move { ctx.child("sums", &list).await }).await;
    let totals: Vec<Value> = totals
        .into_iter()
        .map(|total| total.map_or_else(|failure| json!(failure.code), |total| total.value()["total"].clone()))
        .collect();
    Ok(json!(totals))
}

fn input(value: Value) -> Payload {
    Payload::new(value).unwrap()
}

fn options(run: &str) -> RunOptions {
    RunOptions::new(RunId::new(run).unwrap()).seed(Seed::new(1))
}

fn new_run(host: &Host, plan: &Arc<Plan>, run: &str, input: Payload) -> NewRun {
    NewRun {
        run: RunId::new(run).unwrap(),
        tenant: TenantId::default(),
        workflow: plan.workflow.clone(),
        plan: pollster::block_on(host.keep_plan(plan)).unwrap(),
        input,
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
    }
}

async fn runs_and_replays() {
    let Fixture { host, clock, plan, .. } = fixture();
    let begun = clock.now();
    let report = host.run(&plan, input(json!([1, 2, 3])), options("r1")).await.unwrap();
    assert_eq!(report.finished.output, Some(input(json!({"total": 6}))));
    assert!(clock.now().since(begun) >= Duration::from_secs(3_600), "an hour has passed, virtually");
    let replayed = replay(plan, &host.flows, &report.lines, &|_| None).unwrap();
    assert_eq!(replayed.finished, Some(report.finished));
}

#[test]
fn works_under_a_plain_block_on() {
    pollster::block_on(runs_and_replays());
}

#[test]
fn works_under_smol() {
    smol::block_on(async { smol::spawn(runs_and_replays()).await });
}

#[tokio::test]
async fn works_under_tokio() {
    tokio::spawn(runs_and_replays()).await.unwrap();
}

#[test]
fn a_panic_in_a_skill_is_a_failure_of_the_run() {
    let Fixture { host, plan, .. } = fixture();
    let report = pollster::block_on(host.run(&plan, input(json!([13])), options("r1"))).unwrap();
    let failure = report.finished.failure.unwrap();
    assert_eq!(failure.code, codes::SKILL_PANICKED);
    assert!(failure.message.contains("a bug in a skill"), "{failure}");
}

#[test]
fn children_are_runs_of_their_own() {
    let Fixture { host, store, plan, .. } = fixture();
    let parent = PlanBuilder::code("parent", "1.0.0").unwrap().child(plan).build();
    let report = pollster::block_on(host.run(&parent, input(json!([[1, 2], [13], [4]])), options("p"))).unwrap();
    assert_eq!(report.finished.output, Some(input(json!([3, codes::CHILD_FAILED, 4]))));
    let filter = aos_core::runs::RunFilter { parent: Some(RunId::new("p").unwrap()), ..Default::default() };
    let children = pollster::block_on(store.list(filter)).unwrap().runs;
    assert_eq!(children.iter().filter(|child| child.state == RunState::Succeeded).count(), 2);
    let replayed = replay(parent, &host.flows, &report.lines, &|_| None).unwrap();
    assert_eq!(replayed.finished, Some(report.finished));
}

#[test]
fn a_large_payload_is_kept_as_a_blob_and_read_back() {
    let Fixture { mut host, .. } = fixture();
    let mut flows = Flows::new();
    flows
        .register("big", "1.0.0", |ctx: Ctx, text: String| async move {
            ctx.call("flaky", &text).await?.to::<String>().map(|text| text.len())
        })
        .unwrap();
    host.flows = Arc::new(flows);
    let contract = SkillContract::idempotent("flaky", "1.0.0").unwrap();
    let plan = PlanBuilder::code("big", "1.0.0").unwrap().skill(&contract).unwrap().build();
    let text = "x".repeat(100_000);
    let report = pollster::block_on(host.run(&plan, input(json!(text)), options("r1"))).unwrap();
    assert!(report.lines.iter().all(|line| line.as_str().len() < 1_000), "{:?}", report.lines);
    let blobs = pollster::block_on(host.blobs_of(&report.lines)).unwrap();
    assert_eq!(blobs.len(), 1, "the same text thrice is one blob");
    let replayed = replay(plan, &host.flows, &report.lines, &|hash| blobs.get(hash).cloned()).unwrap();
    assert_eq!(replayed.finished, Some(report.finished));
}

#[test]
fn a_parked_run_is_taken_up_when_its_time_comes_or_a_message_does() {
    let Fixture { mut host, clock, plan, .. } = fixture();
    let clock_by_hand = VirtualClock::new(clock.now());
    let store_by_hand = MemoryStore::new(Arc::new(clock_by_hand.clone()));
    host.stores = Stores {
        runs: Arc::new(store_by_hand.clone()),
        journal: Arc::new(store_by_hand.clone()),
        blobs: store_by_hand.blobs(),
    };
    host.clock = Arc::new(clock_by_hand.clone());
    host.park_after = Some(Duration::from_millis(50));
    pollster::block_on(async {
        for run in ["slow", "cancelled"] {
            let new = new_run(&host, &plan, run, input(json!([1])));
            store_by_hand.create(new, None).await.unwrap();
        }
        // Twice a pause before the next attempt of `flaky`, then the hour's sleep.
        for _ in 0..3 {
            let driven = host.drive_claimable(10).await.unwrap();
            assert!(driven.iter().all(|(_, driven)| *driven == Ok(Driven::Parked)), "{driven:?}");
            clock_by_hand.advance(Duration::from_secs(60));
        }
        assert_eq!(host.drive_claimable(10).await.unwrap(), []);
        let cancel = Message::Cancel { reason: "no longer wanted".into() };
        store_by_hand.send(&TenantId::default(), &RunId::new("cancelled").unwrap(), cancel).await.unwrap();
        let driven = host.drive_claimable(10).await.unwrap();
        let [(run, Ok(Driven::Finished(finished)))] = &driven[..] else { panic!("{driven:?}") };
        assert_eq!((run.as_str(), finished.status), ("cancelled", RunStatus::Cancelled));
        clock_by_hand.advance(Duration::from_secs(3_600));
        let driven = host.drive_claimable(10).await.unwrap();
        let [(_, Ok(Driven::Finished(finished)))] = &driven[..] else { panic!("{driven:?}") };
        assert_eq!(finished.status, RunStatus::Succeeded);
    });
}

#[test]
fn a_run_that_is_driven_again_under_its_first_lease_goes_on_from_its_journal() {
    let Fixture { host, store, plan, .. } = fixture();
    let undisturbed = pollster::block_on(host.run(&plan, input(json!([1, 2])), options("r1"))).unwrap();
    let new = new_run(&host, &plan, "r2", input(json!([1, 2])));
    let lease = Some(FirstLease::new(host.worker.clone(), host.lease));
    let Created::New(record, Some(lease)) = pollster::block_on(store.create(new, lease)).unwrap() else {
        panic!("the run is there already")
    };
    // The first time, `flaky` never answers, and the driver is dropped.
    let stuck = Registry::new();
    let add =
        TypedSkill::new(SkillContract::pure("add", "1.0.0").unwrap(), |(a, b): (i64, i64), _| async move { Ok(a + b) });
    stuck.register(Arc::new(add), Timestamp::EPOCH).unwrap();
    let flaky = TypedSkill::untyped(SkillContract::idempotent("flaky", "1.0.0").unwrap(), |_| std::future::pending());
    stuck.register(Arc::new(flaky), Timestamp::EPOCH).unwrap();
    let mut stuck_host = host.clone();
    stuck_host.skills = Arc::new(stuck);
    let claim = Claim { lease, record };
    let mut first = Box::pin(drive(&stuck_host, claim.clone()));
    let poll = first.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(poll.is_pending());
    drop(first);
    let before = pollster::block_on(store.read(&TenantId::default(), &claim.lease.run, 0, 100)).unwrap();
    assert!(!before.is_empty(), "the intent is durable");

    let Driven::Finished(finished) = pollster::block_on(drive(&host, claim.clone())).unwrap() else { panic!("lost") };
    assert_eq!(finished.content_hash, undisturbed.finished.content_hash);
    let after = pollster::block_on(store.read(&TenantId::default(), &claim.lease.run, 0, 100)).unwrap();
    assert_eq!(after[..before.len()], before[..]);
}

/// It would do anew what the original has done.
#[test]
fn a_fork_without_its_past_is_not_begun() {
    let Fixture { host, store, plan, .. } = fixture();
    let new = NewRun {
        forked_from: Some(Fork { run: RunId::new("origin").unwrap(), effect: "add:1".parse().unwrap() }),
        ..new_run(&host, &plan, "fork", input(json!([1])))
    };
    pollster::block_on(store.create(new, None)).unwrap();
    let driven = pollster::block_on(host.drive_claimable(1)).unwrap();
    let [(_, Err(failure))] = &driven[..] else { panic!("{driven:?}") };
    assert_eq!(failure.code, codes::CONFLICT, "{failure}");
}

/// Counts appends.
struct Counted {
    store: MemoryStore,
    appends: AtomicUsize,
}

impl JournalStore for Counted {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<(), StoreError>> {
        self.appends.fetch_add(1, Ordering::Relaxed);
        self.store.append(append)
    }

    fn read<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: &'a RunId,
        from: u64,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Line>, StoreError>> {
        self.store.read(tenant, run, from, limit)
    }
}

/// The first intents are durable with the run's creation, and the last result with its end.
#[test]
fn a_run_costs_one_append_for_each_recorded_step() {
    let Fixture { mut host, store, .. } = fixture();
    let mut flows = Flows::new();
    let steps = |ctx: Ctx, (pure, recorded): (usize, usize)| async move {
        for step in 0..pure {
            ctx.call("add", &(step, 1)).await?;
        }
        for step in 0..recorded {
            ctx.call("echo", &step).await?;
        }
        Ok(())
    };
    flows.register("steps", "1.0.0", steps).unwrap();
    host.flows = Arc::new(flows);
    let journal = Arc::new(Counted { store, appends: AtomicUsize::new(0) });
    host.stores.journal = Arc::clone(&journal) as _;
    let mut plan = PlanBuilder::code("steps", "1.0.0").unwrap();
    for contract in [SkillContract::pure("add", "1.0.0"), SkillContract::idempotent("echo", "1.0.0")] {
        plan = plan.skill(&contract.unwrap()).unwrap();
    }
    let plan = plan.build();
    // What comes before the first recorded step is in the append of its intent, or in that of the end.
    for (pure, recorded, appends) in [(0, 0, 1), (0, 1, 1), (0, 5, 5), (3, 0, 1), (3, 1, 2)] {
        let run = options(&format!("r-{pure}-{recorded}"));
        let report = pollster::block_on(host.run(&plan, input(json!([pure, recorded])), run)).unwrap();
        assert_eq!(report.finished.status, RunStatus::Succeeded);
        let counted = journal.appends.swap(0, Ordering::Relaxed);
        assert_eq!(counted, appends, "{pure} pure and {recorded} recorded steps");
    }
}

#[test]
fn a_run_whose_creator_dies_goes_on_from_what_it_was_created_with() {
    let Fixture { mut host, store, .. } = fixture();
    let mut flows = Flows::new();
    flows.register("echo", "1.0.0", |ctx: Ctx, text: String| async move { ctx.call("echo", &text).await }).unwrap();
    host.flows = Arc::new(flows);
    let contract = SkillContract::idempotent("echo", "1.0.0").unwrap();
    let plan = PlanBuilder::code("echo", "1.0.0").unwrap().skill(&contract).unwrap().build();
    // Of the longer one, the journal has only the hash.
    for text in ["hello".to_owned(), "x".repeat(100_000)] {
        let name = |which: &str| format!("{which}-{}", text.len());
        let report = host.run(&plan, input(json!(text)), options(&name("undisturbed")));
        let undisturbed = pollster::block_on(report).unwrap();

        let new = new_run(&host, &plan, &name("abandoned"), input(json!(text)));
        let (created, begun) = pollster::block_on(create(&host, new.clone())).unwrap();
        drop(begun);
        let Created::New(_, Some(lease)) = created else { panic!("{created:?}") };
        let before = pollster::block_on(store.read(&new.tenant, &new.run, 0, 100)).unwrap();
        assert!(before.iter().any(|line| line.as_str().contains("effect_requested")), "{before:?}");
        // What was begun for a creation that made nothing is dropped.
        let (again, begun) = pollster::block_on(create(&host, new.clone())).unwrap();
        let Created::Existing(record) = again else { panic!("{again:?}") };
        let claim = Claim { lease: Lease { epoch: 7, ..lease.clone() }, record };
        assert_eq!(pollster::block_on(begun.drive(&host, claim)).unwrap(), Driven::LeaseLost);
        assert_eq!(pollster::block_on(store.read(&new.tenant, &new.run, 0, 100)).unwrap(), before);

        pollster::block_on(store.release(&lease)).unwrap();
        let driven = pollster::block_on(host.drive_claimable(1)).unwrap();
        let [(_, Ok(Driven::Finished(finished)))] = &driven[..] else { panic!("{driven:?}") };
        assert_eq!(finished.content_hash, undisturbed.finished.content_hash);
        let after = pollster::block_on(store.read(&new.tenant, &new.run, 0, 100)).unwrap();
        assert_eq!(after[..before.len()], before[..]);
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<Line>>);

impl Observer for Heard {
    fn appended(&self, _lease: &Lease, lines: &[Line]) {
        self.0.lock().unwrap().extend_from_slice(lines);
    }
}

#[test]
fn observers_hear_every_entry_once() {
    let Fixture { mut host, plan, .. } = fixture();
    let parent = PlanBuilder::code("parent", "1.0.0").unwrap().child(plan.clone()).build();
    for (plan, input) in [(plan, input(json!([1, 2]))), (parent, input(json!([])))] {
        let heard = Arc::new(Heard::default());
        host.observer = Arc::clone(&heard) as _;
        let report = pollster::block_on(host.run(&plan, input, options(plan.workflow.id.as_str()))).unwrap();
        assert_eq!(*heard.0.lock().unwrap(), report.lines);
    }
}
