//! The core's hot paths, each next to its floor: SHA-256 of the same bytes, `serde_json` of the same bytes, a direct
//! call. Divide one by the other; machines differ and are noisy.

#![allow(clippy::unwrap_used, reason = "a benchmark that can't be set up has no result")]

use std::hint::black_box;
use std::sync::Arc;

use aos_core::engine::{Engine, RunOptions, Step};
use aos_core::event::{Fact, HostEffect};
use aos_core::flow::{Ctx, Flows};
use aos_core::id::{EffectId, RunId, TenantId};
use aos_core::journal::Line;
use aos_core::money::Money;
use aos_core::random::Seed;
use aos_core::registry::Registry;
use aos_core::replay::replay;
use aos_core::skill::{Skill, SkillCall, SkillContract, SkillOutput, TypedSkill};
use aos_core::time::Timestamp;
use aos_core::workflow::{Definition, Plan, PlanBuilder};
use aos_core::{Failure, Payload, canonical};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const STEPS: usize = 1_000;

/// 200 bytes of JSON, as a skill may give them.
fn output() -> Payload {
    let text = "The quick brown fox jumps over the lazy dog and then does it again, ".repeat(3);
    Payload::new(json!({"id": 1234567, "ok": true, "score": 0.75, "text": &text[..140]})).unwrap()
}

fn skill() -> Arc<dyn Skill> {
    let contract = SkillContract::idempotent("work", "1.0.0").unwrap();
    Arc::new(TypedSkill::untyped(contract, |call: SkillCall| std::future::ready(Ok(SkillOutput::from(call.input)))))
}

/// A Rust workflow of `STEPS` sequential steps.
fn program() -> (Arc<Plan>, Flows) {
    let mut flows = Flows::new();
    flows
        .register("steps", "1.0.0", |ctx: Ctx, steps: usize| async move {
            for step in 0..steps {
                ctx.call("work", &step).await?;
            }
            Ok::<_, Failure>("done")
        })
        .unwrap();
    let plan = PlanBuilder::code("steps", "1.0.0").unwrap().skill(skill().contract()).unwrap().build();
    (plan, flows)
}

/// Drives a whole run without a host; gives its journal.
fn drive(plan: &Arc<Plan>, flows: &Flows, output: &Payload) -> Vec<Line> {
    let now = Timestamp::from_millis(1_767_225_600_000);
    let options = RunOptions::new(RunId::new("bench").unwrap());
    let input = Payload::new(json!(STEPS)).unwrap();
    let mut engine = Engine::start(Arc::clone(plan), flows, input, options, now).unwrap();
    let mut lines = Vec::new();
    loop {
        match engine.poll() {
            Step::Do { append, effects } => {
                lines.extend(append.lines);
                for effect in effects {
                    let HostEffect::Call(call) = effect else { continue };
                    let (effect, attempt, output) = (call.effect, call.attempt, output.clone());
                    engine.apply(Fact::Completed { effect, attempt, output, cost: Money::ZERO, child: None }, now);
                }
            }
            Step::Wait { .. } => {}
            Step::Done { append, .. } => {
                lines.extend(append.lines);
                return lines;
            }
        }
    }
}

fn canonical_json(criterion: &mut Criterion) {
    let value = output().value().clone();
    let text = output().as_str().to_owned();
    let mut group = criterion.benchmark_group("canonical 200 B");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("canonical + SHA-256", |b| {
        b.iter(|| canonical::Hash::of(canonical::to_string(black_box(&value).clone()).unwrap()));
    });
    group.bench_function("floor: serde_json + SHA-256", |b| {
        b.iter(|| Sha256::digest(serde_json::to_string(&black_box(&value).clone()).unwrap()));
    });
    group.finish();
}

fn engine_step(criterion: &mut Criterion) {
    let (plan, flows) = program();
    let output = output();
    let mut group = criterion.benchmark_group("engine, 1000 steps");
    group.throughput(Throughput::Elements(STEPS as u64));
    group.bench_function("start to end", |b| b.iter(|| drive(&plan, &flows, &output)));
    group.finish();
}

fn replay_journal(criterion: &mut Criterion) {
    let (plan, flows) = program();
    let lines = drive(&plan, &flows, &output());
    let file: String = lines.iter().map(|line| format!("{}\n", line.as_str())).collect();
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), &file).unwrap();
    let mut group = criterion.benchmark_group("replay, 1000 steps");
    group.throughput(Throughput::Elements(STEPS as u64));
    group.bench_function("from file to verified hash", |b| {
        b.iter(|| {
            let text = std::fs::read_to_string(path.path()).unwrap();
            let lines: Vec<_> = text.lines().map(Line::new).collect();
            replay(Arc::clone(&plan), &flows, &lines, &|_| None).unwrap().content_hash().unwrap()
        });
    });
    group.bench_function("floor: read, parse, SHA-256", |b| {
        b.iter(|| {
            let text = std::fs::read_to_string(path.path()).unwrap();
            let parsed: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            (parsed, Sha256::digest(&text))
        });
    });
    group.finish();
}

fn dispatch(criterion: &mut Criterion) {
    let registry = Registry::new();
    registry.register(skill(), Timestamp::EPOCH).unwrap();
    let version = skill().contract().version.clone();
    let direct = skill();
    let call = SkillCall {
        run: RunId::new("bench").unwrap(),
        tenant: TenantId::default(),
        workflow: None,
        api_key: None,
        trace: None,
        effect: EffectId::new("work:1").unwrap(),
        attempt: 1,
        idempotency_key: "key".into(),
        input: output(),
        seed: Seed::new(1),
        deadline: None,
    };
    let mut group = criterion.benchmark_group("skill dispatch");
    group.bench_function("through the registry", |b| {
        b.iter(|| {
            let skill = aos_core::skill::SkillSource::skill(&registry, &version).unwrap();
            pollster::block_on(skill.call(call.clone())).unwrap()
        });
    });
    group.bench_function("floor: direct call", |b| {
        b.iter(|| pollster::block_on(direct.call(call.clone())).unwrap());
    });
    group.finish();
}

fn plan_parse(criterion: &mut Criterion) {
    let registry = Registry::new();
    registry.register(skill(), Timestamp::EPOCH).unwrap();
    let steps: Vec<_> = (0..20)
        .map(|n| json!({"id": format!("s{n}"), "skill": "work@^1", "params": {"x": "{{ input.x }}", "n": n}}))
        .collect();
    let text = json!({"id": "bench", "steps": steps, "output": "{{ steps.s19.output }}"}).to_string();
    let mut group = criterion.benchmark_group("definition of 20 steps");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("parse, check, resolve, hash", |b| {
        b.iter(|| Definition::from_json(black_box(&text)).unwrap().plan(&registry).unwrap().hash().unwrap());
    });
    group.bench_function("floor: serde_json + SHA-256", |b| {
        b.iter(|| (serde_json::from_str::<Value>(black_box(&text)).unwrap(), Sha256::digest(&text)));
    });
    group.finish();
}

criterion_group!(benches, canonical_json, engine_step, replay_journal, dispatch, plan_parse);
criterion_main!(benches);
