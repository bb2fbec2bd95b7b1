//! Restarting three servers behind HAProxy, one after the other and over and over, under load: no request fails.
//!
//! The load balancer's configuration is the one in `deploy/haproxy`, with the addresses of these servers in it.
//! `AOS_ROLLING_CYCLES` says how often all three are restarted (1), `AOS_ROLLING_RATE` how many requests are sent each
//! second (40). Before a release: 20 cycles at 200.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking and reports")]

mod operator_support;

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aos_testkit::service::{Haproxy, Postgres};
use operator_support::{Api, Process};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

const REPLICAS: usize = 3;

/// How long to wait for a server, or for the load balancer to see it.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_request() {
    let (cycles, rate) = (setting("AOS_ROLLING_CYCLES", 1), setting("AOS_ROLLING_RATE", 40));
    let database = Postgres::shared().database().unwrap();
    let ports: Vec<_> = (0..REPLICAS + 2).map(port).collect();
    let (api, state) = (ports[REPLICAS], ports[REPLICAS + 1]);
    let start = |n: usize| Process::serve(&[("DATABASE_URL", &database.url), ("PORT", &ports[n].to_string())]);
    let mut servers: Vec<_> = (0..REPLICAS).map(start).collect();
    let _balancer = Haproxy::start(&operator_support::balancer(&ports[..REPLICAS], api, state), api).unwrap();
    let balancer = Balancer { api: servers[0].api().at(api), state: format!("http://127.0.0.1:{state}/;csv") };
    balancer.until_all_are_up().await;

    let load = Load::begin(balancer.api.clone(), rate);
    let mut slowest = Duration::ZERO;
    for cycle in 1..=cycles {
        let before = load.count();
        for (n, server) in servers.iter_mut().enumerate() {
            let began = Instant::now();
            server.terminate();
            *server = start(n);
            balancer.until_all_are_up().await;
            slowest = slowest.max(began.elapsed());
        }
        let after = load.count();
        assert!(after.answered > before.answered, "no request was answered in cycle {cycle}");
        assert_eq!(after.failures, Vec::<String>::new(), "in cycle {cycle} of {cycles}");
    }
    let Count { answered, failures } = load.end().await;
    assert_eq!(failures, Vec::<String>::new());
    for server in &servers {
        assert!(!server.log().contains("ERROR"), "{}", server.log());
    }
    let restarts = cycles as usize * REPLICAS;
    eprintln!(
        "{cycles} cycles, {restarts} restarts, the slowest in {:.1} s; {answered} requests at {rate} a second, 0 failed",
        slowest.as_secs_f64()
    );
}

fn setting(key: &str, default: u64) -> u64 {
    match std::env::var(key) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{key} is {text:?}: expected a number")),
        Err(_) => default,
    }
}

/// A free port that no outgoing connection is given while the server on it is away.
fn port(n: usize) -> u16 {
    let first = 20_000 + (std::process::id() % 1_000) as u16 * 10 + n as u16;
    let mut ports = (first..32_000).step_by(REPLICAS + 2);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

struct Balancer {
    api: Api,
    /// Where it says which servers are up.
    state: String,
}

impl Balancer {
    async fn until_all_are_up(&self) {
        let began = Instant::now();
        loop {
            let table = self.api.http.get(&self.state).send().await.unwrap().text().await.unwrap();
            let up =
                table.lines().filter(|line| line.starts_with("replicas,replica-") && line.contains(",UP,")).count();
            if up == REPLICAS {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "the load balancer sees {up} of {REPLICAS} servers:\n{table}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Requests at a steady rate, whatever becomes of those before.
struct Load {
    count: Arc<Mutex<Count>>,
    sending: tokio::task::JoinHandle<()>,
    end: tokio::sync::oneshot::Sender<()>,
}

#[derive(Clone, Default)]
struct Count {
    answered: u64,
    failures: Vec<String>,
}

impl Load {
    fn begin(api: Api, rate: u64) -> Self {
        let count = Arc::<Mutex<Count>>::default();
        let (end, mut ended) = tokio::sync::oneshot::channel();
        let counted = Arc::clone(&count);
        let sending = tokio::spawn(async move {
            let mut tick = interval(Duration::from_secs(1) / u32::try_from(rate).unwrap());
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let (mut requests, last) = (JoinSet::new(), Arc::<Mutex<Option<String>>>::default());
            let mut n = 0_u64;
            while ended.try_recv().is_err() {
                tick.tick().await;
                n += 1;
                let (api, last, count) = (api.clone(), Arc::clone(&last), Arc::clone(&counted));
                requests.spawn(async move {
                    let outcome = request(&api, n, &last).await;
                    let mut count = count.lock().unwrap();
                    match outcome {
                        Ok(()) => count.answered += 1,
                        Err(failure) => count.failures.push(format!("request {n}: {failure}")),
                    }
                });
                while requests.try_join_next().is_some() {}
            }
            requests.join_all().await;
        });
        Self { count, sending, end }
    }

    fn count(&self) -> Count {
        self.count.lock().unwrap().clone()
    }

    async fn end(self) -> Count {
        self.end.send(()).unwrap();
        self.sending.await.unwrap();
        self.count.lock().unwrap().clone()
    }
}

/// The `n`th request: runs that take no time, runs that take a moment, with and without a key, and questions about them.
async fn request(api: &Api, n: u64, last: &Mutex<Option<String>>) -> Result<(), String> {
    let seen = last.lock().unwrap().clone();
    let url = |path: &str| format!("{}{path}", api.url);
    let request = match (n % 4, seen) {
        (0, Some(run)) => api.http.get(url(&format!("/v1/runs/{run}"))),
        (1, _) => api.http.get(url("/v1/runs?limit=5")),
        _ => {
            let nap = if n.is_multiple_of(3) { "400ms" } else { "1ms" };
            let workflow = json!({"id": "rolling", "steps": [
                {"id": "nap", "sleep": nap}, {"id": "say", "skill": "echo", "needs": ["nap"], "params": "{{ input }}"}]});
            let request = api.http.post(url("/v1/runs?wait=60s")).json(&json!({"workflow": workflow, "input": n}));
            if n.is_multiple_of(2) { request.header("idempotency-key", format!("rolling-{n}")) } else { request }
        }
    };
    let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
    let (status, text) = (answer.status(), answer.text().await.map_err(|error| format!("{error:?}"))?);
    let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{status}: {error}: {text}"))?;
    if !status.is_success() {
        return Err(format!("{status}: {answer}"));
    }
    if answer["output"].is_object() {
        if answer["state"] != "succeeded" {
            return Err(format!("it was not waited for: {answer}"));
        }
        *last.lock().unwrap() = answer["id"].as_str().map(str::to_owned);
    }
    Ok(())
}
