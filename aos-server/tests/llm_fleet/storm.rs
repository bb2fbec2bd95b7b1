//! A provider that fails often: every run ends, and what was paid is known to the last picodollar.

use std::collections::BTreeMap;
use std::time::Duration;

use aos_core::llm::PriceBook;
use aos_core::money::Money;
use aos_core::time::Timestamp;
use aos_testkit::service::claude::{ApiError, MockClaude, Reply, Rule};
use serde_json::{Value, json};

use crate::fleet::{Fleet, MODEL};
use crate::setting;

/// Runs under way at one time.
const AT_ONCE: usize = 48;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_is_survived_and_accounted_for() {
    let runs = setting("AOS_LLM_RUNS", 300_usize);
    let claude = MockClaude::start().unwrap();
    // 30 % of the calls, of which a third takes longer than its step allows.
    claude.on(Rule::new(Reply::error(ApiError::rate_limit(Duration::from_secs(1)))).percent(10, 1));
    claude.on(Rule::new(Reply::error(ApiError::overloaded())).percent(11, 2));
    claude.on(Rule::new(Reply::echo().delay(Duration::from_secs(4))).percent(12, 3));
    let free =
        [("CLAUDE_RATE_LIMIT_RPM", "1000000"), ("CLAUDE_RATE_LIMIT_TPM", "1000000000"), ("WORKER_CONCURRENCY", "64")];
    let fleet = Fleet::start(1, &claude, &free).await;
    let api = fleet.api(0);
    let workflow = json!({
        "id": "storm",
        "steps": [{"id": "ask", "skill": "llm_invoke", "timeout": "2s", "retry": {"max_attempts": 5, "initial_ms": 100, "max_ms": 1_000}, "params": {
            "adapter": "claude", "model": MODEL, "max_tokens": 64, "prompt": "{{ input.prompt }}"
        }}]
    });
    api.post("/v1/workflows", &workflow).await;

    let (mut ended, mut tasks) = (Vec::new(), tokio::task::JoinSet::new());
    for number in 0..runs {
        if tasks.len() >= AT_ONCE {
            ended.push(tasks.join_next().await.unwrap().unwrap());
        }
        let api = api.clone();
        tasks.spawn(async move {
            let run = api.begin(&json!("storm"), &json!({"prompt": format!("question {number}")})).await;
            api.ended(&run).await
        });
    }
    ended.extend(tasks.join_all().await);

    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for run in &ended {
        let outcome = run["error"]["code"].as_str().unwrap_or("succeeded");
        *outcomes.entry(outcome.to_owned()).or_default() += 1;
    }
    let account = claude.account();
    eprintln!("{runs} runs: {outcomes:?}; {} calls: {:?}", account.requests, account.statuses);
    let codes = ["succeeded", "ERR_LLM_RATE_LIMITED", "ERR_LLM_OVERLOADED", "ERR_TIMEOUT", "ERR_LLM_CIRCUIT_OPEN"];
    assert!(outcomes.keys().all(|outcome| codes.contains(&outcome.as_str())), "{outcomes:?}");
    assert!(outcomes["succeeded"] * 100 >= runs * 95, "{outcomes:?}");
    assert_eq!(ended.len(), runs);

    // Those that were given up are read to their end, and known then.
    let line = settled(&api, account.statuses[&200]).await;
    let book = PriceBook::builtin().unwrap();
    let usage = account.usage[MODEL].into();
    let billed = book.price(MODEL, &usage, now()).unwrap().cost;
    let known = |field: &str| line[field].as_str().unwrap().parse::<Money>().unwrap();
    assert_eq!((known("cost_min_usd"), known("cost_max_usd")), (billed, billed), "{line}");
    assert_eq!((line["uncertain_calls"].as_u64(), line["unpriced_calls"].as_u64()), (Some(0), Some(0)), "{line}");
}

/// The costs of the model once nothing is uncertain any more.
async fn settled(api: &crate::operator_support::Api, answered: u64) -> Value {
    let mut costs = Value::Null;
    for _ in 0..200 {
        costs = api.get("/v1/costs?by=model").await;
        let line = &costs["lines"][0];
        if line["uncertain_calls"] == 0 && line["calls"].as_u64() >= Some(answered) {
            return line.clone();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the account is not settled: {costs}")
}

fn now() -> Timestamp {
    aos_server::clock::now()
}
