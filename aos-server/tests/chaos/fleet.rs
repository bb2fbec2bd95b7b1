//! A fleet under load, and everything that can happen to it: three `serve` and four `worker` processes, a Postgres and a
//! Redis of their own.
//!
//! Clients create runs with whichever server answers. One fault after the other happens, at moments drawn from a
//! seed; after each, no acknowledged run is lost, every run has ended, each has the content hash that an
//! undisturbed run of the same workflow and input has, no `once` effect has happened more than once, and every
//! idempotent effect has had one key.
//!
//! `AOS_CHAOS_FAULTS` says how often each kind happens (1), `AOS_CHAOS_SEED` from which seed (1), `AOS_CHAOS_ONLY` of
//! which kind (a part of its name).

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking and reports")]
#![allow(dead_code, reason = "of the modules that the chaos tests share, each uses what it needs")]

mod account;
mod api;
mod cluster;
mod expected;
mod fault;
mod ledger;
mod load;
mod mass;
mod place;
mod process;
mod tally;
mod workflows;
mod zombies;

use std::time::{Duration, Instant};

use account::Account;
use aos_core::random::{Rng, Seed};
use cluster::{Cluster, Shape};
use expected::{register, undisturbed};
use fault::Fault;
use ledger::Ledger;
use load::Load;
use place::{Place, setting};
use tally::Tally;
use tokio::sync::Mutex;
use workflows::kinds;

/// Runs created during one fault, at most.
const RUNS_PER_FAULT: u64 = 60;

/// Milliseconds for which a client rests, at most: this is about faults, not about load.
const PACE: u64 = 300;

/// How long an effect takes, so that many are under way at any moment.
const EFFECT: Duration = Duration::from_millis(120);

/// One fleet after the other.
static TURN: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fleet_survives_every_fault() {
    let _turn = TURN.lock().await;
    let (times, seed) = (setting("AOS_CHAOS_FAULTS", 1), setting("AOS_CHAOS_SEED", 1));
    let only = std::env::var("AOS_CHAOS_ONLY").unwrap_or_default();
    let began = Instant::now();
    let again = format!("AOS_CHAOS_SEED={seed} AOS_CHAOS_FAULTS={times} AOS_CHAOS_ONLY={only:?}");
    let mut place = Place::new(format!("{again} cargo test -p aos-server --test chaos_fleet fault"));
    let (http, ledger, kinds) = (reqwest::Client::new(), Ledger::start(EFFECT), kinds());
    let expected = undisturbed(&http, &ledger, &kinds).await;
    let mut account = Account::new(&kinds, &expected);

    // No fault ends the operating system, so that what Postgres has written is there even if the disk has not got it.
    let shape = Shape { serve: (3, 1), worker: (4, 8), lease: Some(2), fsync: times > 1 };
    let mut cluster = Cluster::start(shape, &http, &ledger, &place.path());
    register(&cluster.api, &kinds).await;
    // Claims of limited runs take a transaction each, with a lock in it.
    cluster.sql("INSERT INTO workflow_limit (tenant, workflow, max) VALUES ('default', 'for_each_item', 5)");
    let load = Load::start(seed, PACE, kinds.iter().map(|kind| kind.id).collect(), ledger.address);
    let mut rng = Rng::new(Seed::new(seed), "faults");
    let mut tally = Tally::default();
    let faults: Vec<_> =
        (0..times).flat_map(|_| shuffled(&mut rng)).filter(|fault| fault.name().contains(&only)).collect();
    for (number, fault) in faults.iter().enumerate() {
        place.now(format!("fault {} of {}: {}", number + 1, faults.len(), fault.name()));
        let before = load.acknowledged();
        load.begin(cluster.api.clone(), RUNS_PER_FAULT);
        load.until_acknowledged(before + 10 + rng.below(20)).await;
        let what = fault.strike(&mut cluster, &mut rng).await;
        let over = Instant::now();
        cluster.check();
        account.still_there(&cluster.api, &load.orders()).await;
        account.settle(&cluster.api, &load, &ledger).await;
        cluster.cut_stranded();
        tally.enter(*fault, &cluster, load.acknowledged() - before, over.elapsed()).await;
        eprintln!("{:>4} {} ({what}): {}", number + 1, fault.name(), tally.last());
    }
    account.close(&cluster.api, &load, &place.path()).await;
    eprintln!("{tally}seed {seed}, {} faults: {account}; {} s", faults.len(), began.elapsed().as_secs());
}

/// Every kind of fault, in an order of its own.
fn shuffled(rng: &mut Rng) -> [Fault; Fault::ALL.len()] {
    let mut faults = Fault::ALL;
    for last in (1..faults.len()).rev() {
        faults.swap(last, rng.below(last as u64 + 1) as usize);
    }
    faults
}
