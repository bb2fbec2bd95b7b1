//! Many runs at once: Redis forgets everything while thousands wait, and a worker dies with many in hand.
//!
//! `AOS_CHAOS_QUEUED` says how many wait (1000), `AOS_CHAOS_LEASES` how many the worker has in hand (50).

use std::time::{Duration, Instant};

use aos_core::id::WorkerId;
use aos_server::backend::postgres::PostgresStores;
use futures::StreamExt as _;
use serde_json::json;

use crate::TURN;
use crate::api::Api;
use crate::cluster::{Cluster, Shape, until};
use crate::ledger::Ledger;
use crate::place::{Place, setting};
use crate::workflows::{held, input};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_redis_loses_no_queued_run() {
    let _turn = TURN.lock().await;
    let queued = setting("AOS_CHAOS_QUEUED", 1_000);
    let place = Place::new(format!("AOS_CHAOS_QUEUED={queued} cargo test -p aos-server --test chaos_fleet flushed"));
    let (http, ledger) = (reqwest::Client::new(), Ledger::start(Duration::ZERO));
    let shape = Shape { serve: (3, 0), worker: (4, 16), lease: None, fsync: false };
    let cluster = Cluster::start(shape, &http, &ledger, &place.path());
    let hash = undisturbed(&cluster.api, &ledger).await;
    // The workers are full, and what they hold does not end.
    ledger.hold(true);
    create(&cluster.api, queued, &ledger).await;
    let stores = PostgresStores::connect(&cluster.url()).await.unwrap();
    let (us, wanted) = (WorkerId::new("test").unwrap(), usize::try_from(queued).unwrap());
    let open = || cluster.sql("SELECT count(*) FROM run WHERE state = 'queued'").parse::<usize>().unwrap();
    let (waiting, flushed) = (open(), Instant::now());
    assert!(waiting >= wanted / 2, "only {waiting} of {queued} runs wait");
    cluster.redis.cli(&["FLUSHDB"]).unwrap();
    let mut claimed = 0;
    while open() > 0 {
        // The leases run out: nobody is going to do anything for these runs.
        claimed += stores.runs().claim(&us, 1_000, Duration::from_secs(2)).await.unwrap().len();
    }
    let took = flushed.elapsed();
    assert!(took < Duration::from_secs(10), "{waiting} queued runs were claimable only after {took:?}");
    ledger.hold(false);
    let (ended, took_all) = all_succeed(&cluster, &hash).await;
    assert_eq!(ended, queued + 1);
    let took = took.as_secs_f64();
    eprintln!(
        "FLUSHDB with {waiting} runs queued: {claimed} claimed in {took:.1} s, all {queued} ended in {took_all} s"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_runs_of_a_killed_worker_go_on_elsewhere() {
    let _turn = TURN.lock().await;
    let leases = setting("AOS_CHAOS_LEASES", 50);
    let place = Place::new(format!("AOS_CHAOS_LEASES={leases} cargo test -p aos-server --test chaos_fleet killed"));
    let (http, ledger) = (reqwest::Client::new(), Ledger::start(Duration::ZERO));
    let slots = usize::try_from(leases).unwrap();
    let shape = Shape { serve: (1, 0), worker: (4, slots), lease: None, fsync: false };
    let mut cluster = Cluster::start(shape, &http, &ledger, &place.path());
    let (victim, others) = (1, 2..5);
    let hash = undisturbed(&cluster.api, &ledger).await;
    for other in others.clone() {
        cluster.kill(other).await;
    }
    ledger.hold(true);
    create(&cluster.api, leases, &ledger).await;
    let asked = || ledger.held();
    until("one worker has them all", async || asked().len() == slots + 1).await;
    others.for_each(|other| cluster.begin(other, None));
    cluster.kill(victim).await;
    let killed = Instant::now();
    let again = || asked().values().filter(|count| **count == 2).count();
    until("they run elsewhere", async || again() == slots).await;
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(15), "{leases} runs went on only after {took:?}");
    ledger.hold(false);
    let (ended, _) = all_succeed(&cluster, &hash).await;
    assert_eq!(ended, leases + 1);
    let took = took.as_secs_f64();
    eprintln!("kill -9 of a worker with {leases} leases of 10 s: all running elsewhere after {took:.1} s, all ended");
}

/// Registers the workflow, and gives the content hash of an undisturbed run.
async fn undisturbed(api: &Api, ledger: &Ledger) -> String {
    api.register(&held()).await;
    let run = api.run("held", input(0, ledger.address)).await;
    run["content_hash"].as_str().unwrap().to_owned()
}

async fn create(api: &Api, count: u64, ledger: &Ledger) {
    let body = json!({"workflow": held()["id"], "input": input(0, ledger.address)});
    let requests = (0..count).map(async |n| {
        let (status, answer) = api.post("/v1/runs", Some(&format!("run-{n}")), &body).await.unwrap();
        assert!(status.is_success(), "{status}: {answer}");
    });
    futures::stream::iter(requests).buffer_unordered(32).collect::<()>().await;
}

/// Waits until all runs have succeeded, checks that they all did the same, and gives how many there are and after
/// how many seconds.
async fn all_succeed(cluster: &Cluster, hash: &str) -> (u64, u64) {
    let began = Instant::now();
    let open = || cluster.sql("SELECT count(*) FROM run WHERE state <> 'succeeded'");
    let mut before = open();
    while before != "0" {
        // As long as there is progress.
        until("more runs end", async || open() != before).await;
        before = open();
    }
    let found = cluster.sql("SELECT DISTINCT encode(content_hash, 'hex') FROM run");
    assert_eq!(found, hash, "every content hash is the undisturbed run's");
    (cluster.sql("SELECT count(*) FROM run").parse().unwrap(), began.elapsed().as_secs())
}
