//! Switches: off means off, at once, on every replica.

use std::process::Command;
use std::time::{Duration, Instant};

use aos_testkit::service::claude::MockClaude;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::canary::Canary;
use crate::fleet::{Fleet, Load, MODEL, ask};
use crate::operator_support::Process;
use crate::setting;

/// How long a turn of a switch may take to be heard of everywhere.
const EVERYWHERE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_live_adapters_no_provider_is_reached_for() {
    for (switch, state, code) in [
        ("DISABLE_LIVE_ADAPTERS", "failed", json!("ERR_LLM_ADAPTER_DISABLED")),
        ("FORCE_STUB_ADAPTER", "succeeded", Value::Null),
    ] {
        let (canary, place) = (Canary::start(), TempDir::new().unwrap());
        let base_url = format!("http://{}", canary.address);
        let database = format!("sqlite://{}", place.path().join("aos.db").display());
        let server = Process::serve(&[
            ("DATABASE_URL", &database),
            ("ANTHROPIC_BASE_URL", &base_url),
            ("ANTHROPIC_API_KEY", "sk-ant-none"),
            (switch, "true"),
        ]);
        let run = server.api().begin(&ask(), &json!({"prompt": "hi", "max_tokens": 16})).await;
        let run = server.api().ended(&run).await;
        assert_eq!((&run["state"], &run["error"]["code"]), (&json!(state), &code), "{switch}: {run}");
        let adapters = server.api().get("/health/adapters").await;
        assert_eq!(adapters["adapters"].as_array().unwrap().len(), 1, "{switch}: {adapters}");
        assert_eq!(canary.connections(), 0, "{switch}");
    }
}

#[test]
fn without_a_network_the_stub_answers() {
    let place = TempDir::new().unwrap();
    let definition = place.path().join("ask.json");
    std::fs::write(&definition, ask().to_string()).unwrap();
    let done = Command::new("unshare")
        .args(["-rn", env!("CARGO_BIN_EXE_aos-server"), "run"])
        .arg(&definition)
        .args(["--input", r#"{"prompt": "hi", "max_tokens": 16}"#, "-o", "json"])
        .current_dir(place.path())
        .env_clear()
        .envs([("ANTHROPIC_API_KEY", "sk-ant-none"), ("FORCE_STUB_ADAPTER", "true")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{text}\n{}", String::from_utf8_lossy(&done.stderr));
    assert!(text.contains("stub answer"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turned_switch_is_obeyed_everywhere_within_two_seconds() {
    let turns = setting("AOS_LLM_TURNS", 3_u32);
    let claude = MockClaude::start().unwrap();
    let free =
        [("CLAUDE_RATE_LIMIT_RPM", "1000000"), ("CLAUDE_RATE_LIMIT_TPM", "1000000000"), ("WORKER_CONCURRENCY", "64")];
    let fleet = Fleet::start(2, &claude, &free).await;
    let load = Load::start(
        &fleet,
        8,
        Duration::from_millis(60),
        |number| json!({"prompt": format!("question {number}"), "max_tokens": 16}),
    );
    let answered = || claude.account().requests;
    for turn in 0..turns {
        let (switch, api) =
            (["disable_live_adapters", "force_stub_adapter"][turn as usize % 2], fleet.api(turn as usize % 2));
        let path = format!("/v1/switches/{switch}");
        put(&api, &path, true).await;
        let acknowledged = Instant::now();
        tokio::time::sleep(EVERYWHERE).await;
        let before = answered();
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(answered(), before, "calls {:?} after {switch} was turned on", acknowledged.elapsed());
        put(&api, &path, false).await;
        tokio::time::sleep(EVERYWHERE + Duration::from_millis(300)).await;
        assert!(answered() > before, "no calls after {switch} was turned off");
    }
    let runs = load.stop().await;
    eprintln!("{turns} turns, {} runs, {} calls", runs.len(), answered());
    for run in &runs {
        let code = &run["error"]["code"];
        assert!(run["state"] == "succeeded" || *code == "ERR_LLM_ADAPTER_DISABLED", "{run}");
    }
    assert_eq!(fleet.api(0).get("/health/adapters").await["adapters"].as_array().unwrap().len(), 2, "{MODEL}");
}

async fn put(api: &crate::operator_support::Api, path: &str, on: bool) {
    let body = json!({"on": on, "by": "test", "reason": "a drill"});
    let answer = api.http.put(format!("{}{path}", api.url)).json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
}
