//! What recorded model calls cost: the same after a replay, to the picodollar, and by another book what a person
//! computes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod cli_support;

use std::path::PathBuf;
use std::sync::Arc;

use aos_core::driver::Host;
use aos_core::engine::RunOptions;
use aos_core::flow::Flows;
use aos_core::id::{RunId, WorkerId};
use aos_core::llm::{
    Adapters, Content, LlmAdapter, LlmAnswer, LlmCall, LlmFailure, LlmResponse, PriceBook, StopReason, Usage,
};
use aos_core::memory::{self, VirtualClock};
use aos_core::registry::Registry;
use aos_core::replay::golden::GoldenFile;
use aos_core::skill::builtin;
use aos_core::time::{Clock, Day, Timestamp};
use aos_core::workflow::Definition;
use aos_core::{BoxFuture, Payload};
use cli_support::Place;
use serde_json::{Value, json};

/// Answers with the tokens that the request's metadata names, priced by a book at the clock's time. The first attempt
/// of a call that asks for JSON gets none.
struct Priced {
    book: PriceBook,
    clock: VirtualClock,
}

impl LlmAdapter for Priced {
    fn name(&self) -> &str {
        "priced"
    }

    fn is_live(&self) -> bool {
        true
    }

    fn invoke(&self, call: LlmCall) -> BoxFuture<'_, Result<LlmAnswer, LlmFailure>> {
        let request = &call.request;
        let tokens = |name: &str| request.metadata.get(name).map_or(0, |text| text.parse().unwrap());
        let usage = Usage {
            input_tokens: tokens("input"),
            output_tokens: tokens("output"),
            cache_read_tokens: tokens("cache_read"),
            ..Usage::default()
        };
        let text = if request.response_schema.is_some() && call.attempt == 1 { "not JSON" } else { "true" };
        let response = LlmResponse {
            content: vec![Content::text(text)],
            stop_reason: StopReason::EndTurn,
            usage,
            model: format!("{}-20260901", request.model),
            adapter: "priced".into(),
        };
        let priced = self.book.price(&response.model, &usage, self.clock.now());
        let mut answer = LlmAnswer::new(response, priced.as_ref().map(|priced| priced.cost));
        answer.price = priced.map(|priced| priced.price);
        Box::pin(std::future::ready(Ok(answer)))
    }
}

/// A run, and what it costs by hand.
struct Case {
    name: &'static str,
    note: &'static str,
    begins: Timestamp,
    definition: Value,
    /// Effect and attempt, recorded, by the cheaper book.
    calls: &'static [(&'static str, u64, &'static str, &'static str)],
    total: (&'static str, &'static str, &'static str),
}

fn ask(id: &str, needs: &[&str], model: &str, metadata: Value) -> Value {
    let params = json!({"adapter": "priced", "model": model, "prompt": "?", "metadata": metadata});
    json!({"id": id, "skill": "llm_invoke@^1", "needs": needs, "params": params})
}

fn cases() -> [Case; 2] {
    let midnight = "2026-10-07".parse::<Day>().unwrap().start();
    let sonnet = json!({"input": "1000", "output": "200", "cache_read": "50000"});
    let mut retried = ask("retried", &["beyond"], "claude-haiku-5-5", json!({"input": "10", "output": "4"}));
    retried["params"]["response_schema"] = json!({"type": "boolean"});
    [
        Case {
            name: "price_change",
            note: "Two calls alike, one before and one on the day on which cache reads became cheaper.",
            begins: Timestamp::from_millis(midnight.as_millis() - 1_000),
            definition: json!({"id": "price_change", "version": "1.0.0", "steps": [
                ask("before", &[], "claude-sonnet-5-5", sonnet.clone()),
                {"id": "wait", "needs": ["before"], "sleep": "1s"},
                ask("after", &["wait"], "claude-sonnet-5-5", sonnet),
            ]}),
            calls: &[
                // 1,000 at $2, 200 at $10 and 50,000 at $0.20 a million; by the other book at $1, $5 and $0.10.
                ("before", 1, "0.014", "0.007"),
                // The same, but 50,000 at $0.10.
                ("after", 1, "0.009", "0.007"),
            ],
            total: ("0.023", "0.014", "-0.009"),
        },
        Case {
            name: "prompt_tier",
            note: "A prompt of 100,000 tokens, one of 100,001, and an answer of no use that was paid for.",
            begins: "2026-11-23".parse::<Day>().unwrap().start(),
            definition: json!({"id": "prompt_tier", "version": "1.0.0", "steps": [
                ask("within", &[], "claude-haiku-5-5", json!({"input": "60000", "cache_read": "40000", "output": "1000"})),
                ask("beyond", &["within"], "claude-haiku-5-5", json!({"input": "100001", "output": "1000"})),
                retried,
            ]}),
            calls: &[
                // 60,000 at $0.10, 40,000 at $0.01 and 1,000 at $0.50; by the other book at $0.20, $0.02 and $1.
                ("within", 1, "0.0069", "0.0138"),
                // 100,001 at $0.50 and 1,000 at $2.50; by the other book, whose tier is one longer, at $0.20 and $1.
                ("beyond", 1, "0.0525005", "0.0210002"),
                // 10 at $0.10 and 4 at $0.50, twice; by the other book at $0.20 and $1.
                ("retried", 1, "0.000003", "0.000006"),
                ("retried", 2, "0.000003", "0.000006"),
            ],
            total: ("0.0594065", "0.0348122", "-0.0245943"),
        },
    ]
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../aos-testkit/fixtures/recost")).join(name)
}

/// Does a case live, and gives its golden file, which has the price book in it.
fn record(case: &Case) -> GoldenFile {
    let clock = VirtualClock::auto(case.begins);
    let book = PriceBook::builtin().unwrap();
    let text = Payload::parse(book.to_json()).unwrap();
    let adapters = Adapters::new(Arc::default()).with(Arc::new(Priced { book, clock: clock.clone() }));
    let registry = Registry::new();
    for skill in builtin::all(Arc::new(adapters)) {
        registry.register(skill, clock.now()).unwrap();
    }
    let plan = Arc::new(Definition::from_json(&case.definition.to_string()).unwrap().plan(&registry).unwrap());
    let shared: Arc<dyn Clock> = Arc::new(clock);
    let stores = memory::stores(Arc::clone(&shared));
    let host = Host::new(stores, Arc::new(registry), Flows::new(), shared, WorkerId::new("w").unwrap());
    let options = RunOptions::new(RunId::new(case.name).unwrap());
    // One thread, so that the clock can tell when nobody works.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ran = runtime.block_on(host.run(&plan, Payload::null(), options)).unwrap();
    assert_eq!(ran.finished.failure, None, "{}", case.name);
    GoldenFile::record(plan, &Flows::new(), ran.lines, vec![text], case.note).unwrap()
}

/// With `AOS_BLESS=1` this records the files anew.
#[test]
fn the_golden_files_are_what_the_runs_record() {
    for case in cases() {
        let (golden, path) = (record(&case).to_string(), data(&format!("{}.jsonl", case.name)));
        if std::env::var_os("AOS_BLESS").is_some() {
            std::fs::write(&path, &golden).unwrap();
        }
        // A later release has other prices, and then another book; what was recorded stays.
        let recorded = std::fs::read_to_string(&path).unwrap();
        let is_same_book = recorded.contains(&PriceBook::builtin().unwrap().hash().to_string());
        assert!(
            !is_same_book || recorded == golden,
            "{}: AOS_BLESS=1 cargo test -p aos-server --test recost",
            case.name
        );
    }
}

#[test]
fn a_replay_gives_the_historical_cents() {
    for case in cases() {
        let text = std::fs::read_to_string(data(&format!("{}.jsonl", case.name))).unwrap();
        let replayed = GoldenFile::parse(&text).unwrap().verify(&Flows::new()).unwrap();
        assert_eq!(replayed.finished.unwrap().cost.to_string(), case.total.0, "{}", case.name);
        Place::new().aos(&["replay", data(&format!("{}.jsonl", case.name)).to_str().unwrap()]).exits(0);
    }
}

#[test]
fn recorded_calls_cost_the_same_again_and_something_else_by_another_book() {
    let place = Place::new();
    let cheaper = data("cheaper.json");
    for case in cases() {
        let path = data(&format!("{}.jsonl", case.name));
        let path = path.to_str().unwrap();
        let again = place.aos(&["recost", path, "-o", "json"]).exits(0).json();
        let other = place.aos(&["recost", path, "--prices", cheaper.to_str().unwrap(), "-o", "json"]).exits(0).json();
        let expected = |by_other: bool| {
            let calls = case.calls.iter().map(|(effect, attempt, recorded, new)| {
                let new = if by_other { new } else { recorded };
                json!([effect, attempt, recorded, new])
            });
            Value::Array(calls.collect())
        };
        let found = |report: &Value| {
            let calls = report["calls"].as_array().unwrap().iter();
            let cells = |call: &Value| json!([call["effect"], call["attempt"], call["recorded_usd"], call["new_usd"]]);
            Value::Array(calls.map(cells).collect())
        };
        assert_eq!(found(&again), expected(false), "{}", case.name);
        assert_eq!(found(&other), expected(true), "{}", case.name);
        let sums = |report: &Value| {
            json!([report["recorded_usd"], report["new_usd"], report["difference_usd"], report["unpriced"]])
        };
        let (recorded, new, difference) = case.total;
        assert_eq!(sums(&again), json!([recorded, recorded, "0", 0]), "{}", case.name);
        assert_eq!(sums(&other), json!([recorded, new, difference, 0]), "{}", case.name);
        assert!(again["book"].is_null() && other["book"].is_string(), "{other}");
        // The lines of the journal alone say as much.
        let golden = std::fs::read_to_string(path).unwrap();
        let journal: Vec<&str> = golden.lines().filter(|line| line.contains("\"v\":1")).collect();
        let piped =
            place.aos_with(&["recost", "-", "--prices", cheaper.to_str().unwrap(), "-o", "json"], journal.join("\n"));
        assert_eq!(piped.exits(0).json(), other, "{}", case.name);
    }
}

#[test]
fn people_read_what_changed_and_what_can_not_be_priced() {
    let place = Place::new();
    let path = data("price_change.jsonl");
    let path = path.to_str().unwrap();
    place
        .aos(&["recost", path, "--prices", data("cheaper.json").to_str().unwrap()])
        .exits(0)
        .prints("before#1  claude-sonnet-5-5-20260901  recorded $0.014  new $0.007  -0.007\n")
        .prints("total  recorded $0.023  new $0.014  -0.009\n");
    place
        .aos(&["recost", path, "--prices", data("late.json").to_str().unwrap()])
        .exits(1)
        .prints("new unknown: there is no price for \"claude-sonnet-5-5-20260901\" at 2026-10-06T23:59:59.000Z\n")
        .prints("total  recorded $0.009  new $0.007  -0.002\n")
        .prints("not in it, for want of a price: 1\n");
}

#[test]
fn what_is_no_recording_and_what_is_no_book_is_named() {
    let place = Place::new();
    let path = data("prompt_tier.jsonl");
    let path = path.to_str().unwrap();
    place.write("bad.json", r#"{"models": {"m": [{"input": "1"}]}}"#);
    place.write("bad.jsonl", "{\"hello\": 1}\n");
    let golden = std::fs::read_to_string(path).unwrap();
    place.write("tampered.jsonl", golden.replacen("\"input_tokens\":100001", "\"input_tokens\":100000", 1));
    for (args, code, says) in [
        (&["recost", path, "--prices", "bad.json"][..], 2, "/models/m/0/output: found nothing"),
        (&["recost", path, "--prices", "none.json"], 2, "none.json can't be read"),
        (&["recost", "none.jsonl"], 2, "none.jsonl can't be read"),
        (&["recost", "bad.jsonl"], 2, "bad.jsonl: "),
        (&["recost", "tampered.jsonl"], 2, "tampered.jsonl: "),
        (&["recost", "some-run"], 3, "can't be reached"),
    ] {
        place.aos(args).exits(code).says(says);
    }
}
