//! Runs of Rust workflows, recorded and done again after their code has changed.

use std::time::Duration;

use aos_core::Payload;
use aos_core::event::RunStatus;
use aos_core::flow::Ctx;
use aos_core::random::Seed;
use aos_core::skill::TypedSkill;
use aos_core::time::Timestamp;
use aos_core::workflow::PlanBuilder;
use serde_json::{Value, json};

use super::*;

/// A skill that gives another answer every time it is executed, and one that repeats.
fn skills() -> Registry {
    let skills = Registry::new();
    let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let fetch = TypedSkill::untyped(SkillContract::idempotent("fetch", "1.0.0").unwrap(), move |_| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            // The first attempt fails, so that a retry is recorded.
            if n == 0 { Err(Failure::new(codes::HTTP_FAILED, "not yet")) } else { Ok(Payload::new(json!(n))?.into()) }
        }
    });
    let echo =
        TypedSkill::untyped(SkillContract::pure("echo", "1.0.0").unwrap(), |call| async move { Ok(call.input.into()) });
    skills.register(Arc::new(fetch), Timestamp::EPOCH).unwrap();
    skills.register(Arc::new(echo), Timestamp::EPOCH).unwrap();
    skills
}

async fn first(ctx: Ctx, input: Value) -> Result<Value, Failure> {
    let got = ctx.call("fetch", &input).await?;
    ctx.sleep(Duration::from_secs(60)).await?;
    let said = ctx.signal("go").await?;
    ctx.call("echo", &json!([got, said])).await?.to()
}

/// As `first`, with another use of what was fetched.
async fn second(ctx: Ctx, input: Value) -> Result<Value, Failure> {
    let got = ctx.call("fetch", &input).await?;
    ctx.sleep(Duration::from_secs(60)).await?;
    let said = ctx.signal("go").await?;
    ctx.call("echo", &json!({"got": got, "said": said})).await?.to()
}

/// Fetches once more than was recorded.
async fn third(ctx: Ctx, input: Value) -> Result<Value, Failure> {
    ctx.call("fetch", &input).await?;
    ctx.call("fetch", &input).await?.to()
}

fn flows<F, Fut>(flow: F) -> Flows
where
    F: Fn(Ctx, Value) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, Failure>> + Send + 'static,
{
    let mut flows = Flows::new();
    flows.register("job", "1.0.0", flow).unwrap();
    flows
}

async fn record() -> GoldenFile {
    let skills = skills();
    let mut plan = PlanBuilder::code("job", "1.0.0").unwrap();
    for name in ["fetch", "echo"] {
        plan = plan.skill(&skills.describe_skill(name).unwrap().contract).unwrap();
    }
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::auto(Timestamp::from_millis(1_000)));
    let host = local::host(local::memory(&clock), Arc::new(skills), flows(first), clock, Arc::new(NoObserver)).unwrap();
    let job = Job {
        run: RunId::new("r1").unwrap(),
        plan: plan.build(),
        input: Payload::new(json!("in")).unwrap(),
        seed: Seed::new(7),
        budget: None,
        signals: vec![("go".into(), Payload::new(json!("now")).unwrap())],
    };
    let ran = local::run(&host, job, std::future::pending()).await.unwrap();
    assert_eq!(
        (ran.finished.status, ran.finished.output.as_ref().unwrap().value()),
        (RunStatus::Succeeded, &json!([1, "now"]))
    );
    ran.golden("a note").unwrap()
}

#[tokio::test]
async fn the_same_program_gives_the_same_file() {
    let old = record().await;
    let new = again(skills(), flows(first), &old).await.unwrap();
    assert_eq!(new.header, old.header);
    assert_eq!(new.to_string(), old.to_string());
}

#[tokio::test]
async fn a_changed_program_is_answered_by_what_was_recorded() {
    let old = record().await;
    assert!(old.verify(&flows(second)).is_err());
    let new = again(skills(), flows(second), &old).await.unwrap();
    let replayed = new.verify(&flows(second)).unwrap();
    // `1` is what was fetched when the run was recorded; a live call would give something else.
    assert_eq!(replayed.finished.unwrap().output.unwrap().value(), &json!({"got": 1, "said": "now"}));
    assert_eq!(new.header.note, "a note");
    assert_ne!(new.header.content_hash, old.header.content_hash);
}

#[tokio::test]
async fn what_was_not_recorded_is_not_made_up() {
    let old = record().await;
    let error = again(skills(), flows(third), &old).await.unwrap_err();
    assert_eq!((error.exit, &error.failure.code), (Exit::No, &codes::DRIFT));
    assert!(error.failure.message.contains("effects that the file doesn't have"), "{:?}", error.failure);
}

#[tokio::test]
async fn a_run_that_waits_for_a_signal_says_so() {
    let old = record().await;
    let entries = entries(&old).unwrap();
    let Event::RunStarted(started) = &entries[0].event else { panic!("the first entry starts the run") };
    let mut job = job(started, &entries, &old);
    job.signals.clear();
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::auto(Timestamp::EPOCH));
    let host =
        local::host(local::memory(&clock), Arc::new(skills()), flows(first), clock, Arc::new(NoObserver)).unwrap();
    let error = local::run(&host, job, std::future::pending()).await.err().unwrap();
    assert!(error.failure.message.contains("waits for the signal go"), "{:?}", error.failure);
}
