//! Replays every golden fixture, one test per file.

#[path = "support/flows.rs"]
mod flows;

aos_testkit::golden_tests!("fixtures/golden/*.jsonl", aos_testkit::golden::Suite::new().flows(flows::flows()));
