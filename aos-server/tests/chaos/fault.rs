//! What can happen to a fleet.

use std::process::Command;
use std::time::Duration;

use aos_core::random::Rng;
use aos_testkit::service::{Proxy, Way};

use crate::cluster::Cluster;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    KillWorker,
    KillServe,
    KillBackend,
    Pause,
    RestartPostgres,
    CutCommit,
    ReadOnlyPostgres,
    FullDisk,
    BlackHole,
    WrongClock,
    KillRedis,
    FlushRedis,
    ReadOnlyRedis,
    SlowRedis,
}

impl Fault {
    pub const ALL: [Self; 14] = [
        Self::KillWorker,
        Self::KillServe,
        Self::KillBackend,
        Self::Pause,
        Self::RestartPostgres,
        Self::CutCommit,
        Self::ReadOnlyPostgres,
        Self::FullDisk,
        Self::BlackHole,
        Self::WrongClock,
        Self::KillRedis,
        Self::FlushRedis,
        Self::ReadOnlyRedis,
        Self::SlowRedis,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::KillWorker => "kill -9 of a worker",
            Self::KillServe => "kill -9 of a serve",
            Self::KillBackend => "kill -9 of a Postgres backend",
            Self::Pause => "SIGSTOP past the lease, SIGCONT",
            Self::RestartPostgres => "restart of Postgres",
            Self::CutCommit => "connections cut mid-commit",
            Self::ReadOnlyPostgres => "read-only Postgres",
            Self::FullDisk => "disk full in Postgres",
            Self::BlackHole => "black hole before Postgres",
            Self::WrongClock => "clock off by an hour",
            Self::KillRedis => "kill -9 of Redis",
            Self::FlushRedis => "FLUSHDB",
            Self::ReadOnlyRedis => "read-only Redis",
            Self::SlowRedis => "Redis 2 s slow",
        }
    }

    /// Lets it happen, and be over; gives what exactly it was.
    pub async fn strike(self, cluster: &mut Cluster, rng: &mut Rng) -> String {
        match self {
            Self::KillWorker => kill(cluster, "worker", rng).await,
            Self::KillServe => kill(cluster, "serve", rng).await,
            Self::KillBackend => kill_backend(cluster, rng).await,
            Self::Pause => pause(cluster, rng).await,
            Self::RestartPostgres => {
                let mode = ["immediate", "fast"][rng.below(2) as usize];
                cluster.postgres.restart(mode).unwrap();
                mode.to_owned()
            }
            Self::CutCommit => cut_commits(cluster, rng).await,
            Self::ReadOnlyPostgres => read_only(cluster, rng).await,
            Self::FullDisk => full_disk(cluster, rng).await,
            Self::BlackHole => black_hole(cluster, rng).await,
            Self::WrongClock => wrong_clock(cluster, rng).await,
            Self::KillRedis => {
                cluster.redis.kill().unwrap();
                let away = rest(rng, 500, 2_000).await;
                cluster.redis.restart().unwrap();
                format!("{away} ms away")
            }
            Self::FlushRedis => cluster.redis.cli(&["FLUSHDB"]).unwrap().trim().to_owned(),
            Self::ReadOnlyRedis => {
                // A replica of nobody.
                cluster.redis.cli(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
                let lasted = rest(rng, 500, 2_000).await;
                cluster.redis.cli(&["REPLICAOF", "NO", "ONE"]).unwrap();
                format!("{lasted} ms")
            }
            Self::SlowRedis => {
                cluster.members.iter().for_each(|member| member.redis.delay(Duration::from_secs(2)));
                let lasted = rest(rng, 2_000, 2_000).await;
                cluster.members.iter().for_each(|member| member.redis.pass());
                format!("{lasted} ms")
            }
        }
    }
}

async fn kill(cluster: &mut Cluster, command: &str, rng: &mut Rng) -> String {
    let number = cluster.any(Some(command), rng);
    cluster.restart(number, None).await;
    cluster.members[number].name.clone()
}

/// Postgres ends every other backend too, and recovers from its log.
async fn kill_backend(cluster: &Cluster, rng: &mut Rng) -> String {
    let backends =
        cluster.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'aos-server' ORDER BY backend_start");
    let backends: Vec<_> = backends.lines().collect();
    let backend = backends[rng.below(backends.len() as u64) as usize];
    assert!(Command::new("kill").args(["-KILL", backend]).status().unwrap().success());
    format!("one of {}", backends.len())
}

async fn pause(cluster: &Cluster, rng: &mut Rng) -> String {
    let member = &cluster.members[cluster.any(None, rng)];
    member.process().stop();
    let stopped = rest(rng, millis(cluster.lease()) + 500, 1_500).await;
    member.process().go_on();
    format!("{} for {stopped} ms", member.name)
}

/// Connections die with a commit sent and its answer lost, or in the middle of a request.
async fn cut_commits(cluster: &Cluster, rng: &mut Rng) -> String {
    let (mut cuts, mut lost_answers) = (0, 0);
    for _ in 0..6 {
        let proxy = &cluster.members[cluster.any(None, rng)].postgres;
        let before = proxy.cuts();
        if rng.below(2) == 0 {
            proxy.cut_after(Way::ToClient, rng.below(40));
            lost_answers += 1;
        } else {
            proxy.cut_after(Way::ToService, rng.below(3_000));
        }
        for _ in 0..40 {
            if proxy.cuts() > before {
                cuts += 1;
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    format!("{cuts} of 6 connections, {lost_answers} meant to lose an answer")
}

async fn read_only(cluster: &Cluster, rng: &mut Rng) -> String {
    cluster.sql("ALTER SYSTEM SET default_transaction_read_only = on");
    cluster.sql("SELECT pg_reload_conf()");
    let lasted = rest(rng, 500, 2_500).await;
    cluster.sql("ALTER SYSTEM RESET default_transaction_read_only");
    cluster.sql("SELECT pg_reload_conf()");
    format!("{lasted} ms")
}

/// Every write fails as it does when the disk is full.
async fn full_disk(cluster: &Cluster, rng: &mut Rng) -> String {
    const TABLES: [&str; 3] = ["run", "entry", "blob"];
    let each = |sql: fn(&str) -> String| cluster.sql(&TABLES.map(sql).join("; "));
    cluster.sql(
        "CREATE OR REPLACE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
         END $$",
    );
    each(|table| format!("CREATE TRIGGER disk_full BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION disk_full()"));
    let lasted = rest(rng, 500, 2_500).await;
    each(|table| format!("DROP TRIGGER disk_full ON {table}"));
    format!("{lasted} ms")
}

/// Nothing goes through past the lease. After that it does again; or the old connections are gone, with or without a
/// word.
async fn black_hole(cluster: &Cluster, rng: &mut Rng) -> String {
    let only = cluster.any(None, rng);
    let (all, redis_too) = (rng.below(3) == 0, rng.below(3) == 0);
    let end = rng.below(3);
    let members = cluster.members.iter().enumerate().filter(|(number, _)| all || *number == only);
    let proxies = members.flat_map(|(_, member)| [Some(&member.postgres), redis_too.then_some(&member.redis)]);
    let proxies: Vec<&Proxy> = proxies.flatten().collect();
    proxies.iter().for_each(|proxy| proxy.black_hole());
    let lasted = rest(rng, millis(cluster.lease()) + 500, 2_500).await;
    for proxy in &proxies {
        match end {
            0 => {}
            1 => proxy.cut(),
            _ => proxy.strand(),
        }
        proxy.pass();
    }
    let whom = if all { "all" } else { &cluster.members[only].name };
    let redis = if redis_too { ", Redis too" } else { "" };
    format!("{whom} for {lasted} ms, then {}{redis}", ["healed", "cut", "stranded"][end as usize])
}

async fn wrong_clock(cluster: &mut Cluster, rng: &mut Rng) -> String {
    let (number, offset) = (cluster.any(None, rng), ["+1h", "-1h"][rng.below(2) as usize]);
    cluster.restart(number, Some(offset)).await;
    let lasted = rest(rng, 1_500, 2_000).await;
    cluster.restart(number, None).await;
    format!("{} by {offset} for {lasted} ms", cluster.members[number].name)
}

/// Waits at least so many milliseconds and less than `more` beyond that; gives how many.
async fn rest(rng: &mut Rng, least: u64, more: u64) -> u64 {
    let millis = least + rng.below(more);
    tokio::time::sleep(Duration::from_millis(millis)).await;
    millis
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}
