//! Vectors of the chain hash and the content hash for implementations in other languages.
//!
//! `AOS_BLESS=1 cargo test -p aos-core --test engine vectors` rewrites the file.

#![allow(clippy::disallowed_methods, reason = "this test rewrites its file; the ban is for the core itself")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aos_core::event::Fact;
use aos_core::flow::{Ctx, Flows};
use aos_core::journal::INLINE_PAYLOAD_BYTES;
use aos_core::money::Money;
use aos_core::retry::RetryPolicy;
use aos_core::skill::SkillContract;
use aos_core::workflow::{Plan, PlanBuilder};
use aos_core::{Failure, Payload, codes};
use serde::Serialize;
use serde_json::{Value, json};

use crate::content_hash::{content_text, sha256};
use crate::harness::{self, Harness, flaky};

const ABOUT: &str = "Finished journals with their hashes, as docs/src/journal.md defines them. Of each case, `plan` is the \
    plan, `blobs` the payloads that entries refer to, as canonical texts by hash, and `entries` the lines, exactly, each \
    with its SHA-256. `chain_hash` is the last of these. `content_text` is the text whose SHA-256 is `content_hash`.";

fn flows<F, Fut, T>(function: F) -> Flows
where
    F: Fn(Ctx, Value) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, Failure>> + Send + 'static,
    T: Serialize + 'static,
{
    let mut flows = Flows::new();
    flows.register("test", "1.0.0", function).unwrap();
    flows
}

fn cost(dollars: &str) -> Money {
    dollars.parse().unwrap()
}

/// A plan that pins a skill whose outputs have volatile fields.
fn volatile_plan() -> Arc<Plan> {
    let skill = SkillContract::idempotent("fetch", "1.2.0").unwrap();
    let skill = skill.volatile(["/fetched_at", "/meta/a~1b", "/meta/absent/x", "/list/0"]);
    PlanBuilder::code("test", "1.0.0").unwrap().skill(&skill).unwrap().build()
}

fn minimal() -> Harness {
    let input = json!({"€": [1.5, -0.0, 1e21, null], "text": "a \"b\" \\ \n\u{1} é 😀"});
    Harness::start(flows(|_, input| async move { Ok(input) }), input)
}

fn retries_and_failure() -> Harness {
    let policy = RetryPolicy { max_attempts: 3, ..RetryPolicy::default() };
    let flows = flows(move |ctx, _| {
        let policy = policy.clone();
        async move {
            ctx.call("fetch", "first").retry(policy.clone()).await?;
            // Nothing in the plan fits: refused without a request.
            let refused = ctx.call("nothing", "x").await.unwrap_err().code.to_string();
            ctx.call("fetch", &json!({"after": refused})).retry(policy).await
        }
    });
    let mut run = Harness::start(flows, json!(null));
    run.fail("fetch:1", flaky()).advance(Duration::from_secs(60));
    run.fail("fetch:1", Failure::new(codes::TIMEOUT, "too slow").retryable(true)).advance(Duration::from_secs(60));
    run.complete("fetch:1", json!({"status": 200}));
    run.fail("fetch:2", flaky()).advance(Duration::from_secs(60));
    run.fail("fetch:2", Failure::new(codes::HTTP_STATUS, "404 Not Found").retryable(false));
    run
}

fn child_run() -> Harness {
    let child = PlanBuilder::code("sub", "2.0.0").unwrap().build();
    let plan = PlanBuilder::code("test", "1.0.0").unwrap().child(child).build();
    let flows = flows(|ctx, input| async move {
        let good = ctx.child("sub@^2", &input).await?;
        let bad = ctx.child("sub", &good).await.unwrap_err();
        Ok(json!({"good": good, "bad": bad.code}))
    });
    let mut run = Harness::start_plan(plan, flows, json!({"n": 1}));
    let child = run.children.pop_front().unwrap();
    run.apply(Fact::Completed {
        effect: child.effect,
        attempt: child.attempt,
        output: harness::json(json!({"n": 2})),
        cost: cost("0.5"),
        child: Some(sha256("stands for the content hash of the child").parse().unwrap()),
    });
    let child = run.children.pop_front().unwrap();
    let failure = Failure::new(codes::CHILD_FAILED, "the child failed").cost(cost("0.25"));
    run.apply(Fact::Failed { effect: child.effect, attempt: child.attempt, failure });
    run
}

fn without_skills() -> Harness {
    let flows = flows(|ctx, _| async move {
        let begun = ctx.now().await?;
        let chance = ctx.random().await?;
        ctx.sleep(Duration::from_millis(1_500)).await?;
        let patched = ctx.patched("new-prompt");
        let early = ctx.signal("go").await?;
        let awaited = ctx.signal("go").timeout(Duration::from_secs(60)).await?;
        let late = ctx.signal("go").timeout(Duration::from_secs(60)).await.unwrap_err().code;
        let slept = ctx.now().await?.since(begun).as_millis() as u64;
        Ok(json!([chance, patched, early, awaited, late, slept]))
    });
    let signal = |seq, name: &str, payload| Fact::Signal { seq, name: name.into(), payload: harness::json(payload) };
    let mut run = Harness::start(flows, json!(null));
    run.apply(signal(1, "go", json!({"by": "ada"}))).apply(signal(2, "other", json!(0)));
    run.advance(Duration::from_secs(2)).apply(signal(3, "go", json!("b"))).advance(Duration::from_secs(61));
    run
}

fn cancelled() -> Harness {
    let flows = flows(|ctx, _| async move {
        let retried = ctx.map(vec!["a", "b", "c"], |ctx, item| async move { ctx.call("fetch", item).await });
        let results: Result<Vec<Payload>, Failure> = retried.await.into_iter().collect();
        ctx.signal("never").await?;
        results
    });
    let mut run = Harness::start(flows, json!(null));
    run.complete("map:1[1]/fetch:1", json!("done")).fail("map:1[2]/fetch:1", flaky().cost(cost("0.01")));
    run.apply(Fact::Cancel { seq: 1, reason: "wrong customer".into() });
    run
}

fn volatile_fields() -> Harness {
    let flows = flows(|ctx, _| async move {
        ctx.call("fetch", "a").await?;
        ctx.call("fetch", "b").await?;
        Ok(json!("the run's own output has no volatile fields"))
    });
    let mut run = Harness::start_plan(volatile_plan(), flows, json!(null));
    let meta = json!({"a/b": 1, "a": {"b": 2}});
    run.complete("fetch:1", json!({"body": "x", "fetched_at": 123, "list": [1, 2], "meta": meta}));
    run.complete("fetch:2", json!(["no", "object"]));
    run
}

fn costs() -> Harness {
    let flows = flows(|ctx, _| async move {
        for item in ["a", "b", "c"] {
            ctx.call("fetch", item).await?;
        }
        Ok(Value::Null)
    });
    let mut run = Harness::start(flows, json!(null));
    run.fail("fetch:1", flaky().cost(cost("0.000000000001"))).advance(Duration::from_secs(60));
    run.complete_at_cost("fetch:1", json!(1), cost("0.1")).complete_at_cost("fetch:2", json!(2), cost("3"));
    run.complete_at_cost("fetch:3", json!(3), Money::ZERO);
    run
}

fn blobs() -> Harness {
    let flows = flows(|ctx, input| async move { ctx.call("fetch", &input).await });
    let large = json!({"body": "x".repeat(INLINE_PAYLOAD_BYTES), "fetched_at": 123});
    let mut run = Harness::start_plan(volatile_plan(), flows, large.clone());
    run.complete("fetch:1", large);
    run
}

fn order_of_effects() -> Harness {
    let flows = flows(|ctx, _| async move {
        let calls = ctx.map(0..11, |ctx, item: u64| async move { ctx.call("double", &item).await });
        calls.await.into_iter().collect::<Result<Vec<Payload>, Failure>>()
    });
    let mut run = Harness::start(flows, json!(null));
    for item in (0..11).rev() {
        run.complete(&format!("map:1[{item}]/double:1"), json!(item * 2));
    }
    run
}

fn cases() -> Vec<(&'static str, Harness)> {
    vec![
        ("minimal run", minimal()),
        ("retries, an effect refused before its request, and a failure", retries_and_failure()),
        ("child runs, one of them failed", child_run()),
        ("signals early, awaited, in vain and unread; sleep, now, random, patched", without_skills()),
        ("cancelled with effects in flight and waiting for a retry", cancelled()),
        ("volatile fields", volatile_fields()),
        ("cost of attempts that failed and ended well", costs()),
        ("payloads over 32 KiB", blobs()),
        ("effects in the byte order of their ids", order_of_effects()),
    ]
}

fn vector(name: &str, run: &Harness) -> Value {
    let lines: Vec<String> = run.lines.iter().map(|line| line.as_str().to_owned()).collect();
    let blobs: HashMap<_, _> =
        run.blobs.iter().map(|blob| (blob.hash().to_string(), blob.as_str().to_owned())).collect();
    let plan = serde_json::to_value(&*run.plan).unwrap();
    let content_text = content_text(&lines, &plan, &blobs);
    let entries: Vec<_> = lines.iter().map(|line| json!({"line": line, "sha256": sha256(line)})).collect();
    json!({
        "name": name,
        "plan": plan,
        "blobs": blobs,
        "chain_hash": entries.last().unwrap()["sha256"],
        "content_hash": sha256(&content_text),
        "content_text": content_text,
        "entries": entries,
    })
}

/// The engine writes these lines and finds these hashes, and so does the definition followed by hand.
#[test]
fn vectors_are_what_the_engine_and_the_definition_give() {
    let mut vectors = Vec::new();
    for (name, run) in cases() {
        let finished = run.finished();
        let vector = vector(name, &run);
        assert_eq!(vector["content_hash"], finished.content_hash.to_string(), "{name}: {}", vector["content_text"]);
        assert_eq!(vector["chain_hash"], run.engine.chain().to_string(), "{name}");
        let replayed = run.replay().unwrap();
        assert_eq!((replayed.content_hash(), replayed.chain_hash), (Some(finished.content_hash), run.engine.chain()));

        let first: Value = serde_json::from_str(run.lines[0].as_str()).unwrap();
        assert_eq!(first["plan"], sha256(&aos_core::canonical::to_string(vector["plan"].clone()).unwrap()), "{name}");
        for pair in vector["entries"].as_array().unwrap().windows(2) {
            let later: Value = serde_json::from_str(pair[1]["line"].as_str().unwrap()).unwrap();
            assert_eq!(later["prev"], pair[0]["sha256"], "{name}");
        }
        vectors.push(vector);
    }
    let text = format!("{:#}\n", json!({"about": ABOUT, "vectors": vectors}));
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/journal-vectors.json");
    if std::env::var_os("AOS_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&file, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == text, "run AOS_BLESS=1 cargo test -p aos-core --test engine vectors, and see what has changed");
}

/// A signal that is in the journal ends the effect that took it, even when the run fails in the same step.
#[test]
fn the_content_hash_follows_from_the_entries() {
    let flows = flows(|ctx, _| async move {
        ctx.call("fetch", "x").await?;
        let branches = ctx.map(0..2, |ctx, branch| async move {
            if branch == 0 { ctx.signal("go").await } else { ctx.call("double", &1).await }
        });
        branches.await.into_iter().collect::<Result<Vec<Payload>, Failure>>()
    });
    // The signal's request is the fifth entry; the call's would be the sixth.
    let mut plan = (*harness::plan()).clone();
    plan.limits.entries = 5;
    let mut run = Harness::start_plan(Arc::new(plan), flows, json!(null));
    run.apply(Fact::Signal { seq: 1, name: "go".into(), payload: harness::json(json!("now")) });
    run.complete("fetch:1", json!(1));
    run.fails_with(&codes::LIMIT_EXCEEDED);
    let vector = vector("", &run);
    let text = vector["content_text"].as_str().unwrap();
    assert!(text.contains(r#"{"attempts":["ok"],"cost":"0","effect":"map:1[0]/signal.go:1""#), "{text}");
    assert_eq!(vector["content_hash"], run.finished().content_hash.to_string(), "{text}");
}
