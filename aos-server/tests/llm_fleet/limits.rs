//! Limits that hold over all replicas, whatever becomes of Redis, and are used up.

use std::time::Duration;

use aos_testkit::service::claude::MockClaude;
use serde_json::json;

use crate::fleet::{Fleet, Load};
use crate::setting;

const MINUTE: Duration = Duration::from_secs(60);

/// In which of the limits the load runs.
struct Case {
    /// Words of each question: a token each, about.
    words: usize,
    /// How many calls the limits let through in a minute.
    calls: u64,
}

/// 60 requests and 100,000 tokens a minute for three replicas together.
async fn hold(case: Case) {
    let minutes = setting("AOS_LLM_MINUTES", 2_u32);
    let claude = MockClaude::start().unwrap();
    let limits = [("CLAUDE_RATE_LIMIT_RPM", "60"), ("CLAUDE_RATE_LIMIT_TPM", "100000"), ("WORKER_CONCURRENCY", "16")];
    let fleet = Fleet::start(3, &claude, &limits).await;
    let words = case.words;
    let load = Load::start(
        &fleet,
        16,
        Duration::ZERO,
        move |number| json!({"prompt": format!("{number} {}", "word ".repeat(words)), "max_tokens": 16}),
    );
    // Redis loses all it has, and is away for a while.
    tokio::time::sleep(MINUTE * minutes / 4).await;
    fleet.redis.cli(&["FLUSHALL"]).unwrap();
    tokio::time::sleep(MINUTE * minutes / 4).await;
    fleet.redis.kill().unwrap();
    tokio::time::sleep(MINUTE * minutes / 4).await;
    fleet.redis.restart().unwrap();
    tokio::time::sleep(MINUTE * minutes / 4).await;
    let (peak, account) = (claude.peak_in_window(MINUTE), claude.account());
    drop(load);
    let sent = account.requests;
    eprintln!("{minutes} min: {sent} calls, at most {peak:?} in a minute");
    assert!(peak.requests <= 63, "{peak:?}");
    assert!(peak.input_tokens + peak.output_tokens <= 105_000, "{peak:?}");
    let expected = case.calls * u64::from(minutes);
    assert!(sent * 100 >= expected * 95, "{sent} of {expected} calls were made");
    assert_eq!(account.statuses.keys().collect::<Vec<_>>(), [&200]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_keep_to_a_limit_of_requests() {
    hold(Case { words: 10, calls: 60 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_keep_to_a_limit_of_tokens() {
    hold(Case { words: 3_900, calls: 20 }).await;
}
