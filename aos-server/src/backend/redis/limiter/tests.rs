//! The script, step by step.

use std::time::Duration;

use aos_core::id::TenantId;
use aos_core::limiter::RateLimits;
use aos_core::memory::VirtualClock;
use aos_testkit::service;

use super::step::{self, Answer, Ask, Status, Told};
use super::*;
use crate::telemetry::Metrics;

const MOST: Amount = Amount([60, 6_000, 4_800, u64::MAX]);

/// A Redis whose time is in the test's hand.
struct Shared {
    link: Link,
    script: Script,
    now: u64,
    live: u64,
}

/// What one replica says.
struct Replica {
    me: &'static str,
    epoch: String,
    heard: u64,
    sequence: u64,
    alone: Amount,
    log: Vec<(u64, Amount)>,
}

/// So many requests that read 80 tokens and write 20.
fn requests(requests: u64) -> Amount {
    Amount([1, 100, 80, 20].map(|amount| amount * requests))
}

impl Shared {
    async fn new(live: u64) -> Self {
        let redis = service::Redis::shared();
        let url = format!("{}/{}", redis.url(), redis.database());
        let link = Link::open(&url, Metrics::new().unwrap(), Duration::from_secs(30)).await.unwrap();
        Self { link, script: step::script(), now: 1_000_000, live }
    }

    async fn ask(&self, replica: &Replica, told: Option<Told<'_>>) -> Answer {
        let (me, told_in, heard) = (replica.me, replica.epoch.as_str(), replica.heard);
        let ask = Ask { now: Some(self.now), me, live: self.live, told_in, heard, limit: told };
        let step = ask.of(&self.script);
        let call = |mut connection| async move { Answer::read(step.invoke_async(&mut connection).await?) };
        self.link.call(call).await.unwrap()
    }

    /// One step of a limit, with the answer heard or lost.
    async fn step(&self, replica: &mut Replica, want: Option<Amount>, heard: bool) -> Answer {
        replica.sequence += 1;
        let (sequence, alone, log) = (replica.sequence, replica.alone, replica.log.clone());
        let told = Told { limit: "limit", sequence, most: MOST, want, alone, log };
        let answer = self.ask(replica, Some(told)).await;
        if heard {
            replica.heard = answer.now;
            if matches!(answer.status, Status::Open | Status::Granted) {
                replica.alone = answer.promise;
            }
        }
        answer
    }

    /// Tells everything, as every replica does once a second.
    async fn report(&self, replica: &mut Replica) -> Answer {
        let answer = self.step(replica, None, true).await;
        replica.epoch = answer.epoch;
        self.ask(replica, None).await
    }

    /// Whether so many requests in one are granted.
    async fn grants(&self, replica: &mut Replica, amount: Amount) -> bool {
        let granted = self.step(replica, Some(amount), true).await.status == Status::Granted;
        if granted {
            replica.log.push((0, amount));
        }
        granted
    }
}

impl Replica {
    fn new(me: &'static str) -> Self {
        Self { me, epoch: String::new(), heard: 0, sequence: 0, alone: Amount::NONE, log: Vec::new() }
    }
}

/// Two replicas that know of each other, with an empty window.
async fn two() -> (Shared, Replica, Replica) {
    let shared = Shared::new(2).await;
    let (mut a, mut b) = (Replica::new("a"), Replica::new("b"));
    for _ in 0..2 {
        shared.report(&mut a).await;
        shared.report(&mut b).await;
    }
    (shared, a, b)
}

#[tokio::test]
async fn nothing_is_granted_before_all_have_told() {
    let shared = Shared::new(2).await;
    let (mut a, mut b) = (Replica::new("a"), Replica::new("b"));
    b.log.push((10_000, requests(50)));
    assert_eq!(shared.step(&mut a, Some(requests(1)), true).await.status, Status::Report);
    assert_eq!(shared.report(&mut a).await.status, Status::Open);
    assert_eq!(shared.step(&mut a, Some(requests(1)), true).await.status, Status::Closed);
    assert_eq!(a.alone, Amount::NONE, "nothing is promised either");
    shared.report(&mut b).await;
    assert!(!shared.grants(&mut a, requests(11)).await, "there were 50");
    assert!(shared.grants(&mut a, requests(10)).await);
}

#[tokio::test]
async fn after_a_minute_the_share_of_who_never_told_is_kept_back() {
    let mut shared = Shared::new(2).await;
    let mut a = Replica::new("a");
    shared.report(&mut a).await;
    for s in [1, 30, 64, 65] {
        shared.now = 1_000_000 + s * 1_000;
        shared.step(&mut a, None, true).await;
        shared.report(&mut a).await;
        let status = shared.step(&mut a, None, true).await.status;
        assert_eq!(status, if s < 65 { Status::Closed } else { Status::Open }, "{s}");
    }
    assert!(shared.grants(&mut a, requests(30)).await);
    assert!(!shared.grants(&mut a, requests(1)).await);
}

#[tokio::test]
async fn what_was_promised_is_granted_to_nobody_else() {
    let (mut shared, mut a, mut b) = two().await;
    for replica in [&a, &b] {
        assert_eq!(replica.alone.0[..3], requests(15).0[..3]);
        assert!(replica.alone.0[3] > 1 << 48, "it is not limited");
    }
    assert!(!shared.grants(&mut a, requests(46)).await);
    assert!(shared.grants(&mut a, requests(45)).await, "one's own promise is no hindrance");
    // B knows of its smaller promise when it has told so: until then, the greater one is held.
    shared.step(&mut b, None, false).await;
    assert!(!shared.grants(&mut a, requests(1)).await, "the answer was lost, and b goes by the one before");
    shared.step(&mut b, None, true).await;
    assert_eq!(b.alone.0[..3], [0; 3], "somebody waits for what is left");
    assert!(!shared.grants(&mut a, requests(1)).await, "b has not told yet that it knows");
    shared.step(&mut b, None, true).await;
    assert!(shared.grants(&mut a, requests(15)).await);
    // What is silent has no promise, and its share instead.
    shared.now += 61_000;
    a.log.clear();
    shared.step(&mut a, None, true).await;
    shared.report(&mut a).await;
    assert!(shared.grants(&mut a, requests(30)).await);
    assert!(!shared.grants(&mut a, requests(1)).await);
}

#[tokio::test]
async fn a_step_that_was_overtaken_changes_nothing() {
    let (shared, mut a, mut b) = two().await;
    a.log.push((0, requests(50)));
    shared.step(&mut a, None, true).await;
    shared.step(&mut a, None, true).await;
    let told =
        Told { limit: "limit", sequence: 1, most: MOST, want: Some(requests(1)), alone: Amount::NONE, log: Vec::new() };
    assert_eq!(shared.ask(&a, Some(told)).await.status, Status::Stale);
    assert!(!shared.grants(&mut b, requests(11)).await, "the 50 count");
}

#[tokio::test]
async fn a_report_that_comes_late_makes_nobody_present() {
    let (mut shared, mut a, b) = two().await;
    shared.now += 3_000;
    assert_eq!(shared.ask(&b, None).await.status, Status::Report, "said three seconds ago");
    shared.step(&mut a, None, true).await;
    assert_eq!(shared.report(&mut a).await.present, 1);
}

#[tokio::test]
async fn a_lost_grant_is_forgotten_and_a_lost_record_is_not_counted_for_ever() {
    let (mut shared, mut a, mut b) = two().await;
    assert_eq!(shared.step(&mut a, Some(requests(40)), false).await.status, Status::Granted);
    assert!(!shared.grants(&mut b, requests(30)).await);
    shared.step(&mut a, None, true).await;
    shared.step(&mut a, None, true).await;
    assert!(shared.grants(&mut b, requests(30)).await, "nobody got the 40");
    // B has ended, in order or not: what it was granted counts for a minute.
    shared.now += 59_000;
    shared.step(&mut a, None, true).await;
    shared.report(&mut a).await;
    shared.live = 1;
    assert!(!shared.grants(&mut a, requests(31)).await);
    shared.now += 1_000;
    assert!(shared.grants(&mut a, requests(60)).await);
    // And its records are gone some time later.
    shared.now += 200_000;
    a.log.clear();
    shared.step(&mut a, None, true).await;
    shared.report(&mut a).await;
    let keys = shared.link.call(|mut connection| async move {
        redis::cmd("HKEYS").arg(step::KEY).query_async::<Vec<String>>(&mut connection).await
    });
    let mut keys = keys.await.unwrap();
    keys.sort();
    assert_eq!(keys, ["complete", "contacts", "epoch", "limit/a"]);
}

#[tokio::test]
async fn an_answer_says_what_ends_to_count_and_when() {
    let (shared, mut a, _) = two().await;
    a.log = vec![(59_999, requests(1)), (55_000, requests(2)), (54_999, requests(4)), (0, requests(8))];
    let ends = shared.step(&mut a, None, true).await.ends;
    let expected = [3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8];
    assert_eq!(ends, expected.map(requests));
}

#[tokio::test]
async fn a_promise_is_used_without_asking_but_not_while_a_step_asks() {
    let Shared { link, .. } = Shared::new(1).await;
    let limiter = RedisLimiter::on_clock(link, || 1, Arc::new(VirtualClock::new(Timestamp::from_millis(1_000_000))));
    let (tenant, name, limits) = (TenantId::default(), "model".into(), RateLimits::new(10, 10_000));
    let request = LimitRequest { tenant, name, limits, input_tokens: 80, output_tokens: 20 };
    assert_eq!(limiter.acquire(&request).await, Verdict::Granted(1));
    let limit = limiter.limit(&request);
    let steps = || limit.state().sequence;
    let before = steps();
    for ticket in 2..=4 {
        assert_eq!(limiter.acquire(&request).await, Verdict::Granted(ticket));
    }
    assert_eq!(steps(), before, "what was promised costs no step");
    let asking = limit.ask();
    assert_eq!(limiter.promised(&limit, request.amount()), None, "the step may be granted all that is left");
    drop(asking);
    assert_eq!(limiter.promised(&limit, request.amount()), Some(5));
    for ticket in 6..=10 {
        assert_eq!(limiter.acquire(&request).await, Verdict::Granted(ticket));
    }
    assert!(matches!(limiter.acquire(&request).await, Verdict::Wait(_)));
    assert!(steps() > before, "who gets nothing by itself has asked");
}
