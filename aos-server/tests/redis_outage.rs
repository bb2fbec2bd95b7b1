//! Whatever becomes of Redis, the server answers: every request succeeds and soon, the outage is said once, readiness
//! warns and the metric shows it, and all of that is over by itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod operator_support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aos_testkit::service::{Postgres, Proxy, Redis};
use operator_support::{Api, Process};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Far beyond what a request may take for Redis' sake (a quarter of a second), for a machine that does other things too.
const BOUND: Duration = Duration::from_secs(10);

/// How long the server may take to notice something.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs that have to succeed during each trouble.
const RUNS: usize = 20;

/// A Redis behind a network.
struct Scene {
    redis: Redis,
    proxy: Proxy,
}

impl Scene {
    fn new() -> Self {
        let redis = Redis::start(&[]).unwrap();
        let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], redis.port()))).unwrap();
        Self { redis, proxy }
    }

    fn url(&self) -> String {
        format!("redis://{}", self.proxy.address())
    }
}

/// A trouble: its name, how it begins and how it ends.
type Trouble = (&'static str, fn(&Scene), fn(&Scene));

const TROUBLES: [Trouble; 8] = [
    ("killed", |s| s.redis.kill().unwrap(), |s| s.redis.restart().unwrap()),
    ("read-only", |s| command(s, &["REPLICAOF", "127.0.0.1", "1"]), |s| command(s, &["REPLICAOF", "NO", "ONE"])),
    (
        "full",
        |s| command(s, &["CONFIG", "SET", "maxmemory", "1"]),
        |s| command(s, &["CONFIG", "SET", "maxmemory", "0"]),
    ),
    ("hanging", |s| s.redis.pause().unwrap(), |s| s.redis.go_on().unwrap()),
    ("slow", |s| s.proxy.delay(Duration::from_secs(2)), |s| s.proxy.pass()),
    ("swallowed", |s| s.proxy.black_hole(), |s| s.proxy.pass()),
    ("unreachable", |s| s.proxy.refuse(), |s| s.proxy.pass()),
    ("forbidden", |s| user(s, "-eval"), |s| user(s, "+eval")),
];

fn command(scene: &Scene, command: &[&str]) {
    scene.redis.cli(command).unwrap();
}

fn user(scene: &Scene, rights: &str) {
    command(scene, &["ACL", "SETUSER", "default", rights]);
}

/// Runs that are created one after the other in three places, until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    tasks: JoinSet<Duration>,
}

impl Load {
    fn start(api: &Api) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut tasks = JoinSet::new();
        for _ in 0..3 {
            let (api, stop, done) = (api.clone(), Arc::clone(&stop), Arc::clone(&done));
            tasks.spawn(async move {
                let workflow = json!({"id": "greet", "steps": [{"id": "hello", "skill": "echo", "params": "Hello!"}]});
                let mut longest = Duration::ZERO;
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let run = api.post("/v1/runs?wait=30s", &json!({"workflow": workflow})).await;
                    assert_eq!(run["state"], "succeeded", "{run}");
                    longest = longest.max(began.elapsed());
                    done.fetch_add(1, Ordering::Relaxed);
                }
                longest
            });
        }
        Self { stop, done, tasks }
    }

    /// Resolves once so many more runs have succeeded.
    async fn succeed(&mut self, more: usize) {
        let enough = self.done.load(Ordering::Relaxed) + more;
        let began = Instant::now();
        while self.done.load(Ordering::Relaxed) < enough {
            if let Some(failed) = self.tasks.try_join_next() {
                panic!("a request failed: {failed:?}");
            }
            assert!(began.elapsed() < PATIENCE, "the server hangs");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends it; gives the longest time that a request took.
    async fn end(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await.into_iter().max().unwrap()
    }
}

/// What readiness says about Redis; the process is ready in any case.
async fn redis_check(api: &Api) -> Value {
    let ready = api.get("/health/ready").await;
    assert_eq!((&ready["ready"], &ready["checks"]["redis"]["ok"]), (&json!(true), &json!(true)), "{ready}");
    ready["checks"]["redis"].clone()
}

/// Waits until readiness and metric agree that Redis is of use, or of none.
async fn until(api: &Api, status: &str, degraded: u8) -> Value {
    let began = Instant::now();
    loop {
        let check = redis_check(api).await;
        let metrics = api.http.get(format!("{}/metrics", api.url)).send().await.unwrap().text().await.unwrap();
        if check["status"] == status && metrics.contains(&format!("\naos_rate_limiter_degraded {degraded}\n")) {
            return check;
        }
        assert!(began.elapsed() < PATIENCE, "expected {status} and {degraded}: {check}\n{metrics}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How often the log says that Redis is of no use, and that it is back.
fn outages(server: &Process) -> (usize, usize) {
    let log = server.log();
    (log.matches("Redis is of no use").count(), log.matches("Redis is back").count())
}

/// The log says of so many outages that they began and ended, and of no more.
async fn has_said(server: &Process, number: usize) {
    let began = Instant::now();
    while outages(server) != (number, number) {
        assert!(began.elapsed() < PATIENCE, "not {number} outages: {}", server.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn start(database: &str, redis: &str) -> Process {
    let level = "warn,aos_server::command=info,aos_server::backend::redis=info";
    Process::serve(&[("DATABASE_URL", database), ("REDIS_URL", redis), ("LOG_LEVEL", level)])
}

async fn go_through(scene: &Scene, servers: &[Process], troubles: &[Trouble]) {
    let mut loads: Vec<_> = servers.iter().map(|server| Load::start(&server.api())).collect();
    for server in servers {
        until(&server.api(), "pass", 0).await;
    }
    for (number, (name, begin, end)) in troubles.iter().enumerate() {
        println!("{name}");
        begin(scene);
        for (server, load) in servers.iter().zip(&mut loads) {
            let check = until(&server.api(), "warn", 1).await;
            assert!(check["error"].as_str().is_some_and(|error| error.contains("Redis at ")), "{check}");
            load.succeed(RUNS).await;
        }
        end(scene);
        for (server, load) in servers.iter().zip(&mut loads) {
            until(&server.api(), "pass", 0).await;
            load.succeed(RUNS).await;
            has_said(server, number + 1).await;
        }
    }
    for load in loads {
        let longest = load.end().await;
        assert!(longest < BOUND, "a request took {longest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_trouble_on_sqlite() {
    let (scene, place) = (Scene::new(), tempfile::tempdir().unwrap());
    let database = format!("sqlite://{}", place.path().join("aos.db").display());
    let servers = [start(&database, &scene.url())];
    go_through(&scene, &servers, &TROUBLES).await;
    // What is lost is not missed, and nobody has to be told.
    let mut load = Load::start(&servers[0].api());
    scene.redis.cli(&["FLUSHALL"]).unwrap();
    scene.proxy.cut();
    load.succeed(RUNS).await;
    until(&servers[0].api(), "pass", 0).await;
    has_said(&servers[0], TROUBLES.len()).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_postgres() {
    let scene = Scene::new();
    let database = Postgres::shared().database().unwrap().url;
    let servers = [(), ()].map(|()| start(&database, &scene.url()));
    go_through(&scene, &servers, &TROUBLES[..4]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_at_the_start() {
    let (scene, place) = (Scene::new(), tempfile::tempdir().unwrap());
    let database = format!("sqlite://{}", place.path().join("aos.db").display());
    scene.redis.kill().unwrap();
    let server = start(&database, &scene.redis.url());
    let mut load = Load::start(&server.api());
    until(&server.api(), "warn", 1).await;
    load.succeed(RUNS).await;
    scene.redis.restart().unwrap();
    until(&server.api(), "pass", 0).await;
    load.succeed(RUNS).await;
    assert!(load.end().await < BOUND);
    has_said(&server, 1).await;
}
