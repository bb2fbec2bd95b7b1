//! Hints get from one process to all others that use the same database of a Redis.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use aos_core::id::{RunId, TenantId};
use aos_server::backend::redis::{Hint, Hints, Link};
use aos_server::telemetry::Metrics;
use aos_testkit::service::Redis;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How long to wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process: what it tells by, and what it hears.
struct Process {
    hints: Hints,
    heard: UnboundedReceiver<Hint>,
}

impl Process {
    async fn start(url: &str) -> Self {
        let hints = Hints::new(Link::open(url, Metrics::new().unwrap(), PATIENCE).await.unwrap());
        let (sender, heard) = unbounded_channel();
        let listening = hints.clone();
        tokio::spawn(async move { listening.listen(move |hint| drop(sender.send(hint))).await });
        Self { hints, heard }
    }

    async fn hears(&mut self) -> Hint {
        tokio::time::timeout(PATIENCE, self.heard.recv()).await.unwrap().unwrap()
    }

    /// Waits until it hears what `other` tells: nobody says when a subscription has begun.
    async fn is_in_touch_with(&mut self, other: &Self) {
        let heard = async {
            loop {
                other.hints.tell(run("touch"));
                let next = tokio::time::timeout(Duration::from_millis(50), self.heard.recv()).await;
                if next.is_ok_and(|hint| hint == Some(run("touch"))) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.unwrap();
        // Of what is sent together, this comes last.
        other.hints.tell(Hint::Switches);
        while self.hears().await != Hint::Switches {}
    }
}

fn run(id: &str) -> Hint {
    Hint::Run(TenantId::default(), RunId::new(id).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn others_hear_what_is_told_and_hear_it_again_after_an_outage() {
    let redis = Redis::start(&[]).unwrap();
    let (mut one, mut two) = (Process::start(&redis.url()).await, Process::start(&redis.url()).await);
    let other = Process::start(&format!("{}/1", redis.url())).await;
    one.is_in_touch_with(&two).await;
    two.is_in_touch_with(&one).await;

    // Each of these once, however often it was told, and nothing of another database's.
    other.hints.tell(Hint::Switches);
    for hint in [Hint::Registry(TenantId::default()), Hint::Entries(RunId::new("r").unwrap()), run("r")] {
        one.hints.tell(hint.clone());
        assert_eq!(two.hears().await, hint);
    }
    // Work comes when the others have had the time to be first.
    one.hints.tell(Hint::Work);
    assert_eq!(two.hears().await, Hint::Work);

    redis.kill().unwrap();
    // Nobody waits for this to be lost.
    for number in 0..20_000 {
        one.hints.tell(run(&format!("lost-{number}")));
    }
    redis.restart().unwrap();
    two.is_in_touch_with(&one).await;
    // What one tells it does not hear itself.
    one.hints.tell(Hint::Switches);
    assert_eq!(two.hears().await, Hint::Switches);
    while let Ok(hint) = one.heard.try_recv() {
        assert_ne!(hint, Hint::Switches);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_often_is_sent_seldom() {
    const TOLD: usize = 5_000;
    let redis = Redis::start(&[]).unwrap();
    let (one, mut two) = (Process::start(&redis.url()).await, Process::start(&redis.url()).await);
    two.is_in_touch_with(&one).await;
    for _ in 0..TOLD {
        one.hints.tell(run("again"));
        tokio::task::yield_now().await;
    }
    one.hints.tell(run("last"));
    let mut times = 0;
    while two.hears().await != run("last") {
        times += 1;
    }
    assert!((1..TOLD / 2).contains(&times), "{times} of {TOLD}");
}
