//! kill -9 of the server, at moments drawn from a seed, under load over HTTP, on SQLite.
//!
//! Clients create runs of several workflows; the server is killed and started again on the same data, over and over.
//! In the end no acknowledged run is lost, every run has ended, none has happened twice, each has the content hash
//! that an undisturbed run of the same workflow and input has, and no `once` effect has happened more than once.
//!
//! `AOS_CHAOS_KILLS` says how many kills (20), `AOS_CHAOS_SEED` from which seed (1).

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking and reports")]

mod account;
mod api;
mod ledger;
mod load;
mod server;
mod workflows;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use aos_core::random::{Rng, Seed};
use api::Api;
use ledger::Ledger;
use load::Load;
use server::Server;
use tempfile::TempDir;
use workflows::{Kind, VARIANTS, input, kinds};

/// Content hashes of undisturbed runs, by workflow and `n`.
type Expected = BTreeMap<(&'static str, u64), String>;

/// Runs created between two kills, at most.
const RUNS_PER_LIFE: u64 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_survives_kills_under_load() {
    let (kills, seed) = (setting("AOS_CHAOS_KILLS", 20), setting("AOS_CHAOS_SEED", 1));
    let began = Instant::now();
    let mut place = Place { directory: tempfile::tempdir().unwrap(), seed, kills, kill: 0 };
    let (http, ledger, kinds) = (reqwest::Client::new(), Ledger::start(), kinds());
    let expected = undisturbed(&http, &ledger, &kinds).await;

    let directory = place.directory.path().to_owned();
    let first = Server::spawn(&directory, ledger.address);
    register(&Api::new(&http, &first.url()), &kinds).await;
    first.kill();
    let load = Load::start(seed, kinds.iter().map(|kind| kind.id).collect(), ledger.address);
    let mut rng = Rng::new(Seed::new(seed), "kills");
    let mut checked = 0;
    while place.kill < kills {
        place.kill += 1;
        let server = Server::spawn(&directory, ledger.address);
        match rng.below(8) {
            // While it starts, before or after it listens.
            0 => tokio::time::sleep(Duration::from_millis(rng.below(250))).await,
            kind => {
                let api = Api::new(&http, &server.url());
                checked = account::still_there(&api, &load.orders(), checked).await;
                load.begin(api, RUNS_PER_LIFE);
                if kind % 2 == 0 {
                    load.until_acknowledged(load.acknowledged() + 1 + rng.below(RUNS_PER_LIFE)).await;
                } else {
                    tokio::time::sleep(Duration::from_millis(rng.below(500))).await;
                }
            }
        }
        server.kill();
        load.pause();
        assert_eq!(load.complaints(), Vec::<String>::new());
    }

    let server = Server::spawn(&directory, ledger.address);
    let api = Api::new(&http, &server.url());
    load.begin(api.clone(), 0);
    let account = account::settle(&api, &load, &ledger, &kinds, &expected, &directory).await;
    assert_eq!(load.complaints(), Vec::<String>::new());
    server.kill();
    eprintln!("seed {seed}, {kills} kills: {account}; {} s", began.elapsed().as_secs());
}

/// Runs every workflow with every input on a server that nobody kills.
async fn undisturbed(http: &reqwest::Client, ledger: &Ledger, kinds: &[Kind]) -> Expected {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::spawn(directory.path(), ledger.address);
    let api = Api::new(http, &server.url());
    register(&api, kinds).await;
    let runs = kinds.iter().flat_map(|kind| (0..VARIANTS).map(move |n| (kind.id, n)));
    let runs = runs.map(async |(workflow, n)| {
        let run = api.run(workflow, input(n, ledger.address)).await;
        ((workflow, n), run["content_hash"].as_str().unwrap().to_owned())
    });
    let expected: Expected = futures::future::join_all(runs).await.into_iter().collect();
    let sent = ledger.take();
    for (path, count) in
        [("/note", workflows::notes(kinds)), ("/once", VARIANTS as usize), ("/down", VARIANTS as usize)]
    {
        assert_eq!(sent[path].len(), count, "{path}: a workflow does not do what its test says");
    }
    server.kill();
    expected
}

async fn register(api: &Api, kinds: &[Kind]) {
    for kind in kinds {
        api.register(&kind.definition).await;
    }
}

fn setting(key: &str, default: u64) -> u64 {
    match std::env::var(key) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{key} is {text:?}: expected a number")),
        Err(_) => default,
    }
}

/// Where the data is. When the test fails, it is kept, and how to repeat the test is said.
struct Place {
    directory: TempDir,
    seed: u64,
    kills: u64,
    kill: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.directory.disable_cleanup(true);
            let Self { seed, kills, kill, .. } = self;
            let data: &Path = self.directory.path();
            eprintln!("seed {seed}, after kill {kill} of {kills}; the data is in {}; to repeat it:", data.display());
            eprintln!(
                "AOS_CHAOS_SEED={seed} AOS_CHAOS_KILLS={kills} cargo test -p aos-server --test chaos_sqlite -- --nocapture"
            );
        }
    }
}
