//! Workflows, journals, golden files and the registry's files.

use std::sync::{Arc, LazyLock};

use aos_core::Payload;
use aos_core::canonical::Hash;
use aos_core::engine::{Engine, RunOptions};
use aos_core::flow::Flows;
use aos_core::id::{RunId, TenantId};
use aos_core::journal::Line;
use aos_core::llm::{Adapters, Cassette, PriceBook, Switches};
use aos_core::registry::{Registry, RegistrySnapshot};
use aos_core::replay::{self, golden::GoldenFile};
use aos_core::skill::builtin;
use aos_core::skill::schema::JsonSchemas;
use aos_core::time::Timestamp;
use aos_core::workflow::{Definition, Plan};
use serde_json::{Value, json};

use crate::text;

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

/// What workflows may ask for.
static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let registry = Registry::build(TenantId::default(), Arc::new(JsonSchemas::new()));
    let adapters = Arc::new(Adapters::new(Arc::new(Switches::default())));
    for skill in builtin::all(adapters) {
        registry.register(skill, NOW).unwrap_or_else(|failure| panic!("{failure}"));
    }
    registry
});

/// A definition, as YAML or JSON: a plan is made of it or every mistake is named; the plan's first steps are taken, with all
/// that its expressions do; and its canonical form is a plan with the same hash.
pub fn workflow(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let _ = Definition::from_json(text);
    let Ok(definition) = Definition::from_yaml(text) else { return };
    let Ok(plan) = definition.plan(&*REGISTRY) else { return };
    let written = Payload::from_serialize(&plan).unwrap_or_else(|failure| panic!("{failure}"));
    let again: Plan = written.to().unwrap_or_else(|failure| panic!("{failure}: {}", written.as_str()));
    assert_eq!(again.hash().ok(), plan.hash().ok(), "{}", written.as_str());
    let input = Payload::from_serialize(&json!({"text": "ä", "items": [1, "two", null, {"a": 1.5}], "count": 3}));
    let Ok(input) = input else { return };
    if let Ok(mut engine) = Engine::start(Arc::new(plan), &Flows::new(), input, options(), NOW) {
        engine.poll();
    }
}

fn options() -> RunOptions {
    RunOptions::new(RunId::new("run").unwrap_or_else(|error| panic!("{error}")))
}

/// A golden file: read, verified, and damaged in one way that is named.
pub fn golden(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(golden) = GoldenFile::parse(text) else { return };
    let _ = golden.verify_chain();
    if golden.verify(&Flows::new()).is_ok() {
        let again = GoldenFile::parse(&golden.to_string()).and_then(|again| again.verify(&Flows::new()));
        assert!(again.is_ok(), "a golden file that was written can't be read");
    }
}

/// The lines of a golden file, of which each is linked to the one before whatever it says: what a journal can hold that
/// somebody forged. It replays or it drifts, at a place that is named.
pub fn journal(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let mut lines = text.lines();
    let Ok(header) = serde_json::from_str::<Value>(lines.next().unwrap_or_default()) else { return };
    let Ok(plan) = serde_json::from_value::<Plan>(header["plan"].clone()) else { return };
    let (plan, mut linked, mut chain) = (Arc::new(plan), Vec::new(), Hash::ZERO);
    for line in lines {
        let Ok(Value::Object(mut entry)) = serde_json::from_str::<Value>(line) else { return };
        entry.insert("prev".to_owned(), chain.to_string().into());
        entry.insert("index".to_owned(), linked.len().into());
        let Ok(entry) = Payload::new(Value::Object(entry)) else { return };
        let line = Line::new(entry.as_str());
        chain = line.hash();
        linked.push(line);
    }
    let (flows, no_blob) = (Flows::new(), |_: &Hash| None);
    let _ = replay::replay(Arc::clone(&plan), &flows, &linked, &no_blob);
    let _ = Engine::resume(Arc::clone(&plan), &flows, &linked, &no_blob, NOW).map(|mut engine| engine.poll());
    let run = options().run;
    let _ = replay::retry(&plan, &flows, &linked, &no_blob, run, NOW);
}

/// A snapshot of a registry, a price book or a cassette.
pub fn registry(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let _ = RegistrySnapshot::parse(text);
    if let Ok(book) = PriceBook::parse(text) {
        let again = PriceBook::parse(book.to_json());
        assert_eq!(again.map(|again| again.hash()).ok(), Some(book.hash()), "{text}");
    }
    if let Ok(cassette) = Cassette::parse(text) {
        assert_eq!(Cassette::parse(&cassette.to_string()).ok(), Some(cassette), "{text}");
    }
}
