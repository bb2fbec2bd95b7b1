//! The fixtures, live: they record what their golden files say, in every order, with any number of workers, and
//! through every crash.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests panic")]

#[path = "support/flows.rs"]
mod flows;
#[path = "support/parallel.rs"]
mod parallel;
#[path = "support/stage.rs"]
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;

use aos_core::replay::golden::GoldenFile;
use aos_core::skill::CrashClass;
use aos_testkit::harness::{Kill, Ran};
use aos_testkit::scenario::{Played, Scenario, check};
use stage::{fixture, scenarios, stage};

const WORKERS: [usize; 3] = [1, 2, 8];

/// Appends of a journal that counts as long.
const LONG: u64 = 100;

fn blessing() -> bool {
    env::var_os("AOS_BLESS").is_some_and(|value| value == "1") && env::var_os("CI").is_none()
}

/// How many orders of completion are tried with each number of workers: `AOS_ORDERS`.
fn orders() -> u64 {
    env::var("AOS_ORDERS").map_or(200, |orders| orders.parse().expect("AOS_ORDERS is a number"))
}

fn play(name: &str, scenario: &Scenario) -> Ran {
    scenario.check(&stage()).unwrap_or_else(|why| panic!("{name}: {why}"))
}

#[test]
fn every_scenario_comes_as_expected() {
    check(&fixture("scenarios"), &stage()).unwrap_or_else(|e| panic!("{e}"));
}

/// With `AOS_BLESS=1` this records the golden files; without, it holds them against what the scenarios record.
#[test]
fn golden_files_are_what_the_scenarios_record() {
    for (name, scenario) in scenarios() {
        let path = fixture(&format!("golden/{name}.jsonl"));
        let golden = play(&name, &scenario).golden(scenario.story.trim()).unwrap_or_else(|e| panic!("{name}: {e}"));
        if blessing() {
            fs::write(&path, golden.to_string()).unwrap();
        }
        let recorded = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            recorded == golden.to_string(),
            "{name} records something else than its golden file has: look at the change, then accept it with\n  \
             AOS_BLESS=1 cargo test -p aos-testkit --test fixtures -- --exact golden_files_are_what_the_scenarios_record"
        );
    }
}

/// Scenarios with crashes too: theirs hit a worker while nothing but one effect is under way, whatever the order.
#[test]
fn every_order_and_number_of_workers_gives_one_content_hash() {
    let (stage, orders) = (stage(), orders());
    parallel::each(&scenarios(), |(name, scenario)| {
        let expected = play(name, scenario).content_hash();
        for (order, workers) in (0..orders).flat_map(|order| WORKERS.map(|workers| (order, workers))) {
            let what = format!("{name}, order {order}, {workers} workers");
            let Played { harness, ledger, .. } = scenario.play(&stage).unwrap();
            let ran = harness.workers(workers).order(order).run().unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(ran.content_hash(), expected, "{what}");
            assert_eq!(ledger.doubles(), [], "{what}");
        }
    });
}

#[test]
fn a_crash_between_any_two_appends_changes_nothing() {
    let stage = stage();
    let mut scenarios = scenarios();
    scenarios.retain(|(_, scenario)| scenario.crashes.is_empty());
    parallel::each(&scenarios, |(name, scenario)| {
        let undisturbed = play(name, scenario);
        // Long journals repeat themselves: there, crashes before and after an append take turns.
        let both = undisturbed.appends <= LONG;
        let kills = (1..=undisturbed.appends).flat_map(|append| match append % 2 {
            _ if both => vec![Kill::Before(append), Kill::After(append)],
            0 => vec![Kill::Before(append)],
            _ => vec![Kill::After(append)],
        });
        for kill in kills {
            let Played { harness, ledger, .. } = scenario.play(&stage).unwrap();
            let ran = harness.workers(2).kill(kill).run().unwrap_or_else(|e| panic!("{name}, {kill:?}: {e}"));
            // Nobody may know what became of a `once` effect that was under way: then the run says so.
            let unknown = ran.lines.iter().any(|line| line.as_str().contains("ERR_OUTCOME_UNKNOWN"));
            if !unknown {
                assert_eq!(ran.content_hash(), undisturbed.content_hash(), "{name}, {kill:?}");
                scenario.holds(&ran).unwrap_or_else(|why| panic!("{name}, {kill:?}: {why}"));
            }
            assert_eq!(ledger.doubles(), [], "{name}, {kill:?}");
            calls_keep_their_promises(&ran, &format!("{name}, {kill:?}"));
            ran.replay().unwrap_or_else(|e| panic!("{name}, {kill:?}: {e}"));
        }
    });
}

#[test]
fn a_replay_gives_one_hash_a_thousand_times_and_from_eight_threads() {
    let text = fs::read_to_string(fixture("golden/workflow_data_extraction.jsonl")).unwrap();
    let golden = GoldenFile::parse(&text).unwrap();
    let replay = || golden.verify(&flows::flows()).unwrap().content_hash().unwrap();
    let mut hashes: BTreeSet<_> = (0..200).map(|_| replay()).collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| (0..100).map(|_| replay()).collect::<Vec<_>>())).collect();
        threads.into_iter().for_each(|thread| hashes.extend(thread.join().unwrap()));
    });
    assert_eq!(hashes, BTreeSet::from([golden.header.content_hash]));
}

fn calls_keep_their_promises(ran: &Ran, what: &str) {
    let mut keys = BTreeMap::new();
    let mut once = BTreeSet::new();
    for call in &ran.calls {
        let effect = (call.run.clone(), call.effect.clone());
        let key = keys.entry(effect.clone()).or_insert(&call.idempotency_key);
        assert_eq!(*key, &call.idempotency_key, "{what}: {effect:?} was called under two keys");
        if call.crash == CrashClass::Once {
            assert!(once.insert((effect, call.attempt)), "{what}: {} was called twice", call.effect);
        }
    }
}
