//! Three replicas share one limit and never exceed it, whatever becomes of Redis and of their way to it. Their time is
//! virtual, their Redis is real.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aos_core::id::TenantId;
use aos_core::limiter::{Amount, LimitRequest, Limiter, RateLimits, Verdict};
use aos_core::memory::VirtualClock;
use aos_core::random::{Rng, Seed};
use aos_core::time::{Clock, Timestamp};
use aos_server::backend::redis::{Link, RedisLimiter};
use aos_server::telemetry::Metrics;
use aos_testkit::service::Redis;
use tokio::task::JoinSet;

/// Each of them is the one that binds, now and then.
const LIMITS: RateLimits =
    RateLimits { requests: 60, tokens: 12_000, input_tokens: Some(8_000), output_tokens: Some(6_000) };
const REPLICAS: usize = 3;
const MINUTE: u64 = 60_000;

/// A step of virtual time.
const TICK: Duration = Duration::from_millis(250);

/// How long a link may take to notice that Redis is back, in real time.
const PATIENCE: Duration = Duration::from_secs(30);

struct Fleet {
    redis: Redis,
    clock: VirtualClock,
    links: Vec<Link>,
    limiters: Vec<Arc<RedisLimiter>>,
    rng: Rng,
    /// How eager each replica is, as requests that it wants in 10 ticks.
    demand: [u64; REPLICAS],
    /// How many tokens most requests have at most; some have five times as many.
    tokens: u64,
    granted: Vec<Grant>,
    /// Asked again not before that.
    patient_until: [Timestamp; REPLICAS],
}

struct Grant {
    at: u64,
    used: Amount,
}

impl Fleet {
    async fn new(seed: u64) -> Self {
        let redis = Redis::start(&[]).unwrap();
        let clock = VirtualClock::new(Timestamp::from_millis(1_700_000_000_000));
        let (mut links, mut limiters) = (Vec::new(), Vec::new());
        for replica in 0..REPLICAS {
            add_user(&redis, replica);
            let url = format!("redis://replica{replica}:secret@127.0.0.1:{}", redis.port());
            let link = Link::open(&url, Metrics::new().unwrap(), PATIENCE).await.unwrap();
            let clock = Arc::new(clock.clone());
            limiters.push(Arc::new(RedisLimiter::on_clock(link.clone(), || REPLICAS, clock)));
            links.push(link);
        }
        let rng = Rng::new(Seed::new(seed), "fleet");
        let patient_until = [Timestamp::EPOCH; REPLICAS];
        Self {
            redis,
            clock,
            links,
            limiters,
            rng,
            demand: [0; REPLICAS],
            tokens: 200,
            granted: Vec::new(),
            patient_until,
        }
    }

    /// Lets so many seconds pass, in which everybody wants what it wants. Gives how many calls were made.
    async fn pass(&mut self, seconds: u64) -> u64 {
        let before = self.granted.len();
        for tick in 0..seconds * 4 {
            self.clock.advance(TICK);
            for replica in 0..REPLICAS {
                // Every second, as in the background, and not all at the same time.
                if tick % 4 == replica as u64 {
                    let _ = self.limiters[replica].report().await;
                }
                for _ in 0..self.demand[replica] {
                    if self.rng.below(10) == 0 {
                        self.ask(replica).await;
                    }
                }
            }
        }
        self.granted[before..].iter().map(|grant| grant.used.requests()).sum()
    }

    async fn ask(&mut self, replica: usize) {
        let now = self.clock.now();
        if now < self.patient_until[replica] {
            return;
        }
        // A fifth of the time a big one, within a third of the limit.
        let most = if self.rng.below(5) == 0 { self.tokens * 5 } else { self.tokens };
        let tokens = 1 + self.rng.below(most);
        let output_tokens = self.rng.below(tokens + 1);
        let (tenant, name, input_tokens) = (TenantId::default(), "model".into(), tokens - output_tokens);
        let request = LimitRequest { tenant, name, limits: LIMITS, input_tokens, output_tokens };
        match self.limiters[replica].acquire(&request).await {
            Verdict::Granted(ticket) => {
                let used = match self.rng.below(6) {
                    0 => Amount::NONE,
                    1..3 => Amount::call(input_tokens, self.rng.below(output_tokens + 1)),
                    _ => request.amount(),
                };
                self.limiters[replica].settle(&request, ticket, used).await;
                self.granted.push(Grant { at: now.as_millis(), used });
            }
            Verdict::Wait(wait) => self.patient_until[replica] = now.saturating_add(wait),
        }
    }

    /// Asks many times at once, whatever it was told, and so do others after it.
    async fn burst(&mut self) {
        let first = self.rng.below(REPLICAS as u64) as usize;
        for replica in (0..REPLICAS).cycle().skip(first).take(REPLICAS) {
            for _ in 0..self.rng.below(80) {
                self.patient_until[replica] = Timestamp::EPOCH;
                self.ask(replica).await;
            }
        }
    }

    /// Lets a while pass in which one thing or another is wrong, and is well again at the end.
    async fn trouble(&mut self) {
        let seconds = [1, 3, 10, 40, 100][self.rng.below(5) as usize];
        match self.rng.below(5) {
            0 => drop(self.redis.cli(&["FLUSHDB"]).unwrap()),
            1 => {
                self.redis.kill().unwrap();
                self.burst().await;
                self.pass(seconds).await;
                self.redis.restart().unwrap();
                (0..REPLICAS).for_each(|replica| add_user(&self.redis, replica));
            }
            2 => {
                // What was under way is done when it goes on.
                self.redis.pause().unwrap();
                self.pass(seconds).await;
                self.redis.go_on().unwrap();
            }
            3 => {
                let replica = self.rng.below(REPLICAS as u64) as usize;
                self.cut_off(replica);
                self.burst().await;
                self.pass(seconds).await;
                add_user(&self.redis, replica);
            }
            _ => {
                // Everybody's connection, for a moment.
                self.redis.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).unwrap();
            }
        }
        self.connected().await;
        self.burst().await;
    }

    /// Waits, in real time, until everybody reaches Redis again.
    async fn connected(&self) {
        for link in &self.links {
            tokio::time::timeout(PATIENCE, link.up()).await.unwrap();
        }
    }

    /// Ends a replica's way to Redis.
    fn cut_off(&self, replica: usize) {
        self.redis.cli(&["ACL", "SETUSER", &format!("replica{replica}"), "off"]).unwrap();
        self.redis.cli(&["CLIENT", "KILL", "USER", &format!("replica{replica}")]).unwrap();
    }

    /// No minute, wherever it begins, has more than the limit and 5 %.
    #[track_caller]
    fn check(&self) {
        let (mut first, mut sum, most) = (0, Amount::NONE, Amount::from(LIMITS));
        let start = self.granted.first().map_or(0, |grant| grant.at);
        for grant in &self.granted {
            sum = sum.plus(grant.used);
            while self.granted[first].at + MINUTE <= grant.at {
                sum = sum.minus(self.granted[first].used);
                first += 1;
            }
            let s = (grant.at - start) / 1_000;
            let fits = sum.fits(Amount(most.0.map(|most| most * 105 / 100)));
            assert!(fits, "{sum:?} in the minute before second {s}, of {most:?}");
        }
    }
}

fn add_user(redis: &Redis, replica: usize) {
    let user = format!("replica{replica}");
    let rights = ["ACL", "SETUSER", &user, "on", ">secret", "~aos:*", "&aos:*", "+@all"];
    redis.cli(&rights).unwrap();
}

/// A minute's worth of requests.
const FULL: u64 = LIMITS.requests;

#[tokio::test(flavor = "multi_thread")]
async fn one_limit_through_flush_and_outage() {
    for seed in [1, 2] {
        let mut fleet = Fleet::new(seed).await;
        fleet.demand = [2, 2, 2];
        // The first minute may begin with an empty window.
        fleet.pass(60).await;
        let granted = fleet.pass(180).await;
        assert!(granted >= FULL * 2, "{granted} in three minutes with Redis: the limit is not used");

        fleet.redis.cli(&["FLUSHDB"]).unwrap();
        let granted = fleet.pass(120).await;
        assert!(granted >= FULL, "{granted} in two minutes after a flush");
        fleet.redis.cli(&["FLUSHDB"]).unwrap();
        fleet.pass(5).await;
        fleet.redis.cli(&["FLUSHDB"]).unwrap();
        fleet.pass(30).await;

        // A long outage with all its memory lost, first while everybody is at the limit.
        fleet.redis.kill().unwrap();
        let first = fleet.pass(60).await;
        assert!(first > 0, "nothing at all in the first minute of an outage");
        let granted = fleet.pass(180).await;
        assert!(granted >= FULL * 2, "{granted} in three minutes without Redis: the shares are not used");
        fleet.redis.restart().unwrap();
        (0..REPLICAS).for_each(|replica| add_user(&fleet.redis, replica));
        fleet.connected().await;
        let granted = fleet.pass(120).await;
        assert!(granted >= FULL, "{granted} in two minutes after an outage");

        // One is cut off, and the others are not; then another one.
        for replica in [0, 2] {
            fleet.cut_off(replica);
            fleet.pass(100).await;
            add_user(&fleet.redis, replica);
            fleet.connected().await;
            fleet.pass(20).await;
        }
        // Hangs: what was under way is done when it goes on.
        for seconds in [2, 20, 90] {
            fleet.redis.pause().unwrap();
            fleet.pass(seconds).await;
            fleet.redis.go_on().unwrap();
            fleet.connected().await;
            fleet.pass(10).await;
        }
        fleet.check();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_busy_replica_uses_the_whole_limit_and_an_outage_does_not_add_to_it() {
    let mut fleet = Fleet::new(3).await;
    fleet.demand = [6, 0, 0];
    fleet.pass(60).await;
    let granted = fleet.pass(120).await;
    assert!(granted * 10 >= FULL * 2 * 7, "{granted} in two minutes: one replica does not get the limit for itself");
    // Now the others want something, and Redis is gone.
    fleet.demand = [6, 6, 6];
    fleet.redis.kill().unwrap();
    fleet.pass(150).await;
    fleet.redis.restart().unwrap();
    (0..REPLICAS).for_each(|replica| add_user(&fleet.redis, replica));
    fleet.connected().await;
    fleet.pass(60).await;
    // Short outages one after the other, each with everything lost, and with another one busy.
    for round in 0..6_usize {
        fleet.demand = [0, 1, 8];
        fleet.demand.rotate_left(round % REPLICAS);
        fleet.redis.kill().unwrap();
        fleet.pass(3).await;
        fleet.redis.restart().unwrap();
        (0..REPLICAS).for_each(|replica| add_user(&fleet.redis, replica));
        fleet.connected().await;
        fleet.pass(8).await;
    }
    fleet.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_fleet_goes_on_at_once_when_redis_goes() {
    let mut fleet = Fleet::new(4).await;
    // Everybody has to have asked for something: of what nobody wants nothing is promised.
    fleet.demand = [5, 5, 5];
    fleet.pass(2).await;
    fleet.demand = [0, 0, 0];
    fleet.pass(70).await;
    fleet.redis.kill().unwrap();
    fleet.demand = [4, 4, 4];
    let granted = fleet.pass(10).await;
    assert!(granted >= FULL / 4, "{granted} in the first ten seconds: what was left is not used");
    fleet.pass(120).await;
    fleet.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn any_trouble_after_any_other_and_any_load() {
    for seed in 10..12 {
        println!("seed {seed}");
        let mut fleet = Fleet::new(seed).await;
        for _ in 0..12 {
            fleet.demand = std::array::from_fn(|_| [0, 1, 3, 8][fleet.rng.below(4) as usize]);
            let seconds = [1, 5, 20, 60][fleet.rng.below(4) as usize];
            fleet.pass(seconds).await;
            fleet.trouble().await;
        }
        fleet.check();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_the_limit_is_used_with_redis_and_without() {
    let mut fleet = Fleet::new(5).await;
    // Requests are what is scarce.
    (fleet.demand, fleet.tokens) = ([8, 8, 8], 20);
    fleet.pass(60).await;
    let enough = |what: &str, minutes: u64, made: u64| {
        println!("{what}: {made} of {}", FULL * minutes);
        assert!(made * 100 >= FULL * minutes * 95, "{what}: {made} calls in {minutes} minutes of {FULL}");
    };
    enough("with Redis", 5, fleet.pass(300).await);
    let mut made = 0;
    for _ in 0..5 {
        fleet.redis.cli(&["FLUSHDB"]).unwrap();
        made += fleet.pass(60).await;
    }
    enough("flushed every minute", 5, made);
    // What ends in the first seconds of an outage nobody can be sure of.
    fleet.redis.kill().unwrap();
    enough("without Redis", 10, fleet.pass(600).await);
    fleet.redis.restart().unwrap();
    (0..REPLICAS).for_each(|replica| add_user(&fleet.redis, replica));
    fleet.connected().await;
    enough("with another Redis", 5, fleet.pass(300).await);
    fleet.check();
}

/// Time stands still, and everything else happens at once: promises are used up while reports are under way, and while
/// somebody asks for more than was promised.
#[tokio::test(flavor = "multi_thread")]
async fn what_many_want_at_once_is_granted_once() {
    const MANY: RateLimits = RateLimits::new(1_000, 10_000);
    let mut fleet = Fleet::new(6).await;
    let mut reports = JoinSet::new();
    for limiter in &fleet.limiters {
        limiter.report().await.unwrap();
        let limiter = Arc::clone(limiter);
        reports.spawn(async move {
            loop {
                let _ = limiter.report().await;
                tokio::task::yield_now().await;
            }
        });
    }
    let mut all = 0;
    for round in 0..20 {
        let used = Arc::new(AtomicU64::new(0));
        let mut callers = JoinSet::new();
        for caller in 0..5 * REPLICAS {
            let (limiter, used) = (Arc::clone(&fleet.limiters[caller % REPLICAS]), Arc::clone(&used));
            // One wants most of it, and the others a little, again and again.
            let input_tokens = if caller == 0 { 4_000 + fleet.rng.below(3_000) } else { 20 };
            let name = format!("model{round}");
            let tenant = TenantId::default();
            let request = LimitRequest { tenant, name, limits: MANY, input_tokens, output_tokens: 20 };
            callers.spawn(async move {
                let mut refused = 0;
                while refused < 20 {
                    match limiter.acquire(&request).await {
                        Verdict::Granted(ticket) if ticket % 8 == 0 => {
                            limiter.settle(&request, ticket, Amount::NONE).await;
                        }
                        Verdict::Granted(_) => {
                            used.fetch_add(request.amount().tokens(), Ordering::Relaxed);
                        }
                        Verdict::Wait(_) => refused += 1,
                    }
                }
            });
        }
        while let Some(done) = callers.join_next().await {
            done.unwrap();
        }
        let used = used.load(Ordering::Relaxed);
        assert!(used <= MANY.tokens, "{used} tokens in round {round}");
        all += used;
    }
    assert!(all * 100 >= 20 * MANY.tokens * 90, "{all} in all");
}
