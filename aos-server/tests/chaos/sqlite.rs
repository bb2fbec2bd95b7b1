//! kill -9 of the server, at moments drawn from a seed, under load over HTTP, on SQLite.
//!
//! Clients create runs of several workflows; the server is killed and started again on the same data, over and over.
//! In the end no acknowledged run is lost, every run has ended, none has happened twice, each has the content hash
//! that an undisturbed run of the same workflow and input has, and no `once` effect has happened more than once.
//!
//! `AOS_CHAOS_KILLS` says how many kills (20), `AOS_CHAOS_SEED` from which seed (1).

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking and reports")]
#![allow(dead_code, reason = "of the modules that the chaos tests share, each uses what it needs")]

mod account;
mod api;
mod expected;
mod ledger;
mod load;
mod place;
mod process;
mod workflows;

use std::time::{Duration, Instant};

use account::{Account, until_ended};
use aos_core::random::{Rng, Seed};
use api::Api;
use expected::{on_sqlite, register, undisturbed};
use ledger::Ledger;
use load::Load;
use place::{Place, setting};
use process::Process;
use workflows::kinds;

/// Runs created between two kills, at most.
const RUNS_PER_LIFE: u64 = 30;

/// Milliseconds for which a client rests, at most.
const PACE: u64 = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_survives_kills_under_load() {
    let (kills, seed) = (setting("AOS_CHAOS_KILLS", 20), setting("AOS_CHAOS_SEED", 1));
    let began = Instant::now();
    let again = format!("AOS_CHAOS_SEED={seed} AOS_CHAOS_KILLS={kills} cargo test -p aos-server --test chaos_sqlite");
    let mut place = Place::new(again);
    let (http, ledger, kinds) = (reqwest::Client::new(), Ledger::start(Duration::from_millis(1)), kinds());
    let expected = undisturbed(&http, &ledger, &kinds).await;
    let mut account = Account::new(&kinds, &expected);

    let directory = place.path();
    let spawn = || Process::spawn(&mut on_sqlite(&directory, ledger.address));
    let first = spawn();
    register(&Api::new(&http, &first.url()), &kinds).await;
    kill(first);
    let load = Load::start(seed, PACE, kinds.iter().map(|kind| kind.id).collect(), ledger.address);
    let mut rng = Rng::new(Seed::new(seed), "kills");
    for number in 1..=kills {
        place.now(format!("kill {number} of {kills}"));
        let server = spawn();
        // A run that five servers in a row die with is given up, and on a slow machine none of these gets far.
        let mut api = None;
        if number % 4 == 0 {
            let listening = Api::new(&http, &server.url());
            until_ended(&listening).await;
            api = Some(listening);
        }
        match rng.below(8) {
            // While it starts, before or after it listens.
            0 => tokio::time::sleep(Duration::from_millis(rng.below(250))).await,
            kind => {
                let api = api.unwrap_or_else(|| Api::new(&http, &server.url()));
                account.still_there(&api, &load.orders()).await;
                load.begin(api, RUNS_PER_LIFE);
                if kind % 2 == 0 {
                    load.until_acknowledged(load.acknowledged() + 1 + rng.below(RUNS_PER_LIFE)).await;
                } else {
                    tokio::time::sleep(Duration::from_millis(rng.below(500))).await;
                }
            }
        }
        kill(server);
        load.pause();
        assert_eq!(load.complaints(), Vec::<String>::new());
    }

    let server = spawn();
    let api = Api::new(&http, &server.url());
    account.settle(&api, &load, &ledger).await;
    account.close(&api, &load, &directory).await;
    kill(server);
    eprintln!("seed {seed}, {kills} kills: {account}; {} s", began.elapsed().as_secs());
}

/// Kills a server; nothing that happened to it may have been an error to it.
fn kill(server: Process) {
    let log = server.kill();
    assert!(!log.contains("ERROR"), "the server had an error:\n{log}");
}
