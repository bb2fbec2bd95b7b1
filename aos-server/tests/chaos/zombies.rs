//! Zombies: a worker is stopped while it waits for an effect, comes back when another has long finished the run, and
//! writes what it has learned. That must change nothing.
//!
//! `AOS_CHAOS_ZOMBIES` says how many (10).

use std::time::{Duration, Instant};

use aos_core::random::{Rng, Seed};
use serde_json::json;

use crate::TURN;
use crate::cluster::{Cluster, FENCED, Shape, until};
use crate::ledger::Ledger;
use crate::place::{Place, setting};
use crate::workflows::{held, input};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_of_a_zombie_is_accepted() {
    let _turn = TURN.lock().await;
    let (trials, began) = (setting("AOS_CHAOS_ZOMBIES", 10), Instant::now());
    let mut place =
        Place::new(format!("AOS_CHAOS_ZOMBIES={trials} cargo test -p aos-server --test chaos_fleet zombie"));
    let (http, ledger) = (reqwest::Client::new(), Ledger::start(Duration::ZERO));
    // The server advances nothing: a run is the worker's that is not stopped.
    let shape = Shape { serve: (1, 0), worker: (2, 4), lease: Some(1), fsync: false };
    let mut cluster = Cluster::start(shape, &http, &ledger, &place.path());
    let api = cluster.api.clone();
    api.register(&held()).await;
    let body = json!({"workflow": held()["id"], "input": input(0, ledger.address)});
    let undisturbed = api.run("held", input(0, ledger.address)).await;
    let mut rng = Rng::new(Seed::new(trials), "zombies");
    let mut fenced = 0;
    for trial in 1..=trials {
        place.now(format!("zombie {trial} of {trials}"));
        let zombie = cluster.any(Some("worker"), &mut rng);
        let (zombie, heir) = (zombie, 3 - zombie);
        let (asked, before) = (ledger.held().len(), cluster.counted_by(zombie).await[FENCED]);
        cluster.members[heir].process().stop();
        ledger.hold(true);
        let (_, run) = api.post("/v1/runs", None, &body).await.unwrap();
        until("the worker asks", async || ledger.held().len() > asked).await;
        cluster.members[zombie].process().stop();
        // The answer comes while it is stopped: it will have read it before it hears that the run is another's.
        ledger.hold(false);
        cluster.members[heir].process().go_on();
        let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
        until("the other worker finishes", async || !api.read(&path).await["finished_at"].is_null()).await;
        let (ended, journal) = (api.read(&path).await, api.get(&format!("{path}/journal")).await);
        assert_eq!(ended["content_hash"], undisturbed["content_hash"], "{ended}");

        cluster.members[zombie].process().go_on();
        until("a write is refused", async || cluster.counted_by(zombie).await[FENCED] > before).await;
        fenced += cluster.counted_by(zombie).await[FENCED] - before;
        assert_eq!(api.read(&path).await, ended);
        assert_eq!(api.get(&format!("{path}/journal")).await, journal);
        cluster.check();
    }
    let asked: u64 = ledger.held().values().map(|count| u64::from(*count)).sum();
    assert_eq!((ledger.held().len() as u64, asked), (trials + 1, 2 * trials + 1), "each effect by both, under one key");
    let took = began.elapsed().as_secs();
    eprintln!("{trials} zombies: {fenced} writes refused, none accepted; every content hash as undisturbed; {took} s");
}
