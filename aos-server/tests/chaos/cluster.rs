//! A fleet: processes that share a Postgres and a Redis, each behind proxies of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aos_core::random::Rng;
use aos_testkit::service::{Database, Postgres, Proxy, Redis, wrong_clock};

use crate::api::Api;
use crate::ledger::Ledger;
use crate::process::{Process, aos};

/// How long to wait for what should take a moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes that came too late and were refused.
pub const FENCED: &str = "aos_fenced_writes_total";

/// What is counted over the lives of all processes.
pub const COUNTED: [&str; 2] = ["aos_leases_rescued_total", FENCED];

/// What a fleet is made of.
#[derive(Clone, Copy)]
pub struct Shape {
    /// `serve` processes, and how many runs each advances.
    pub serve: (usize, usize),
    /// `worker` processes, and how many runs each advances.
    pub worker: (usize, usize),
    /// Seconds of a lease, where it is not to be the default.
    pub lease: Option<u64>,
    /// Whether Postgres waits for its disk. Without it, it survives everything but the end of the operating system.
    pub fsync: bool,
}

pub struct Cluster {
    pub postgres: Postgres,
    pub redis: Redis,
    pub members: Vec<Member>,
    /// Asks all `serve` processes in turn.
    pub api: Api,
    shape: Shape,
    database: Database,
    ledger: SocketAddr,
    directory: PathBuf,
    /// What processes had counted that are gone.
    counted: BTreeMap<&'static str, u64>,
    http: reqwest::Client,
}

/// A process of the fleet, through all its lives.
pub struct Member {
    pub name: String,
    pub command: &'static str,
    pub postgres: Proxy,
    pub redis: Proxy,
    life: Option<Life>,
}

struct Life {
    process: Process,
    url: String,
}

impl Cluster {
    /// Starts all of it.
    pub fn start(shape: Shape, http: &reqwest::Client, ledger: &Ledger, directory: &Path) -> Self {
        let fsync = if shape.fsync { "fsync=on" } else { "fsync=off" };
        let postgres = Postgres::start(&[fsync, "max_connections=300"]).unwrap();
        let redis = Redis::start(&[]).unwrap();
        let roles = [("serve", shape.serve.0), ("worker", shape.worker.0)];
        let names = roles.into_iter().flat_map(|(command, count)| (0..count).map(move |n| (command, n)));
        let member = |(command, n): (&'static str, usize)| Member {
            name: format!("{command}-{n}"),
            command,
            postgres: Proxy::start(SocketAddr::from(([127, 0, 0, 1], postgres.port()))).unwrap(),
            redis: Proxy::start(SocketAddr::from(([127, 0, 0, 1], redis.port()))).unwrap(),
            life: None,
        };
        let mut cluster = Self {
            members: names.map(member).collect(),
            api: Api::of(http, vec![String::new(); shape.serve.0]),
            database: postgres.database().unwrap(),
            postgres,
            redis,
            shape,
            ledger: ledger.address,
            directory: directory.to_owned(),
            counted: BTreeMap::new(),
            http: http.clone(),
        };
        (0..cluster.members.len()).for_each(|number| cluster.begin(number, None));
        cluster
    }

    /// How long a lease lasts.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.shape.lease.unwrap_or(10))
    }

    /// Any member, or any with that command.
    pub fn any(&self, command: Option<&str>, rng: &mut Rng) -> usize {
        let fits = |number: &usize| command.is_none_or(|command| self.members[*number].command == command);
        let numbers: Vec<_> = (0..self.members.len()).filter(fits).collect();
        numbers[rng.below(numbers.len() as u64) as usize]
    }

    /// Starts a member that does not run. Its clock is wrong by `clock`, if that is given.
    pub fn begin(&mut self, number: usize, clock: Option<&str>) {
        let (member, shape) = (&self.members[number], self.shape);
        let (_, slots) = if member.command == "serve" { shape.serve } else { shape.worker };
        let mut command = aos(member.command);
        command.current_dir(&self.directory).env("AOS_HTTP_ALLOW", self.ledger.to_string());
        command.env("WORKER_CONCURRENCY", slots.to_string());
        let database = &self.database.name;
        command.env("DATABASE_URL", format!("postgres://aos@{}/{database}", member.postgres.address()));
        command.env("REDIS_URL", format!("redis://{}", member.redis.address()));
        if let Some(lease) = shape.lease {
            command.env("AOS_LEASE", lease.to_string());
        }
        if let Some(offset) = clock {
            wrong_clock(&mut command, offset).unwrap();
        }
        let process = Process::spawn(&mut command);
        let url = process.url();
        if member.command == "serve" {
            self.api.moved(number, url.clone());
        }
        self.members[number].life = Some(Life { process, url });
    }

    /// Kills a member.
    pub async fn kill(&mut self, number: usize) {
        let counted = self.counted_by(number).await;
        counted.into_iter().for_each(|(name, count)| *self.counted.entry(name).or_default() += count);
        let member = &mut self.members[number];
        if let Some(life) = member.life.take() {
            let log = life.process.kill();
            keep(&self.directory, &member.name, &log);
        }
    }

    /// Kills a member and starts it again.
    pub async fn restart(&mut self, number: usize, clock: Option<&str>) {
        self.kill(number).await;
        self.begin(number, clock);
    }

    /// Lets Postgres and Redis learn of connections that are stranded, which they do in the end.
    pub fn cut_stranded(&self) {
        self.members.iter().flat_map(|member| [&member.postgres, &member.redis]).for_each(Proxy::cut_stranded);
    }

    /// Checks that every process is alive and sane.
    pub fn check(&mut self) {
        self.members.iter_mut().filter_map(|member| member.life.as_mut()).for_each(|life| life.process.check());
    }

    /// The database, connected directly.
    pub fn url(&self) -> String {
        self.database.url.clone()
    }

    /// What `psql` prints, connected directly.
    pub fn sql(&self, sql: &str) -> String {
        self.postgres.sql(&self.database.name, sql).unwrap().trim().to_owned()
    }

    /// The sum of a counter over all processes that there have been.
    pub async fn total(&self, name: &str) -> u64 {
        let mut total = self.counted.get(name).copied().unwrap_or_default();
        for number in 0..self.members.len() {
            total += self.counted_by(number).await.get(name).copied().unwrap_or_default();
        }
        total
    }

    /// What a member has counted in this life.
    pub async fn counted_by(&self, number: usize) -> BTreeMap<&'static str, u64> {
        let Some(life) = &self.members[number].life else { return BTreeMap::new() };
        let request = self.http.get(format!("{}/metrics", life.url)).timeout(Duration::from_secs(10));
        let page = request.send().await.unwrap().text().await.unwrap();
        let value = |name| page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0);
        COUNTED.into_iter().map(|name| (name, value(name))).collect()
    }
}

impl Member {
    /// Its process, while it has one.
    pub fn process(&self) -> &Process {
        let life = self.life.as_ref();
        &life.unwrap_or_else(|| panic!("{} does not run", self.name)).process
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lives = self.members.iter().filter_map(|member| Some((&member.name, member.life.as_ref()?)));
            lives.for_each(|(name, life)| keep(&self.directory, name, &life.process.log()));
        }
    }
}

/// Waits until something has come about, `what` in words.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Adds what a process has written to its member's file.
fn keep(directory: &Path, name: &str, log: &str) {
    use std::io::Write as _;
    let file = std::fs::OpenOptions::new().create(true).append(true).open(directory.join(format!("{name}.log")));
    let _ = file.and_then(|mut file| writeln!(file, "{log}\n--- its end"));
}
