//! Turns in virtual time, over the limiter in memory.

use std::collections::BTreeMap;

use aos_core::llm::Left;
use aos_core::memory::{MemoryLimiter, VirtualClock};
use futures::future::{join, join_all};

use super::*;

/// Longer than anything here takes.
const EVER: Duration = Duration::from_secs(3_600);

fn at(s: u64) -> Timestamp {
    Timestamp::from_millis(s * 1_000)
}

fn pace(clock: &VirtualClock, limits: RateLimits) -> Pace {
    let limiter = Arc::new(MemoryLimiter::new(Arc::new(clock.clone())));
    Pace::new("claude", limits, limiter, Arc::new(clock.clone()), Metrics::new().unwrap())
}

impl Pace {
    /// A turn for a call that reads so many tokens and writes none.
    async fn ask(&self, tokens: u64, patience: Duration) -> Result<Ticket, Failure> {
        self.turn(&TenantId::default(), tokens, 0, None, patience).await
    }
}

fn refused(turn: Result<Ticket, Failure>) -> u64 {
    let failure = turn.err().expect("there was a turn");
    assert_eq!(failure.code, codes::LLM_RATE_LIMIT);
    failure.retry_after_ms.unwrap()
}

/// Waits until somebody sleeps, in however many steps.
async fn asleep(clock: &VirtualClock) {
    while clock.sleepers() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn turns_come_in_order_and_within_the_limits() {
    let clock = VirtualClock::auto(at(0));
    let pace = pace(&clock, RateLimits::new(3, 1_000));
    let order = Mutex::new(Vec::new());
    // The small ones behind the large one would fit before it.
    let calls = [300, 600, 900, 50, 50, 500].into_iter().enumerate();
    join_all(calls.map(|(number, tokens)| {
        let (pace, order, clock) = (&pace, &order, &clock);
        async move {
            let _ticket = pace.ask(tokens, EVER).await.unwrap();
            order.lock().unwrap().push((number, clock.now().as_millis() / 1_000));
        }
    }))
    .await;
    assert_eq!(order.into_inner().unwrap(), [(0, 0), (1, 0), (2, 60), (3, 60), (4, 60), (5, 120)]);
    let page = pace.metrics.page().unwrap();
    assert!(page.contains("aos_rate_limit_waits_seconds_count{adapter=\"claude\"} 4"), "{page}");
}

#[tokio::test]
async fn who_can_have_no_turn_in_time_hears_so_at_once() {
    let clock = VirtualClock::new(at(0));
    let pace = pace(&clock, RateLimits::new(2, 1_000));
    let _first = pace.ask(100, EVER).await.unwrap();
    clock.advance(Duration::from_secs(20));
    let _second = pace.ask(100, EVER).await.unwrap();
    clock.advance(Duration::from_secs(10));
    assert_eq!(refused(pace.ask(1, Duration::from_millis(29_999)).await), 30_000);
    let deadline = Some(at(59));
    assert_eq!(refused(pace.turn(&TenantId::default(), 1, 1, deadline, EVER).await), 30_000);
    assert_eq!(refused(pace.ask(1, Duration::ZERO).await), 30_000);
    let page = pace.metrics.page().unwrap();
    assert!(!page.contains("aos_rate_limit_waits_seconds_count"), "nobody waited: {page}");
    // Nothing was counted, and another tenant has a limit of its own.
    clock.advance(Duration::from_secs(30));
    let _third = pace.ask(100, Duration::ZERO).await.unwrap();
    assert_eq!(refused(pace.ask(100, Duration::ZERO).await), 20_000);
    let other = "other".parse().unwrap();
    assert!(pace.turn(&other, 100, 0, None, Duration::ZERO).await.is_ok());
}

#[tokio::test]
async fn who_waits_behind_one_that_waits_for_too_long_hears_so_at_once() {
    let clock = VirtualClock::auto(at(0));
    let pace = pace(&clock, RateLimits::new(1, 1_000));
    let _first = pace.ask(100, EVER).await.unwrap();
    let head = async { pace.ask(100, EVER).await.map(|_| clock.now()) };
    let behind = async {
        let waits = refused(pace.ask(1, Duration::from_secs(59)).await);
        (waits, clock.now())
    };
    let (head, behind) = join(head, behind).await;
    assert_eq!((head.unwrap(), behind), (at(60), (60_000, at(0))));
}

#[tokio::test]
async fn who_is_too_large_to_wait_hinders_nobody() {
    let clock = VirtualClock::auto(at(0));
    let pace = pace(&clock, RateLimits::new(9, 1_000));
    let _first = pace.ask(500, EVER).await.unwrap();
    let (large, small) = join(pace.ask(501, Duration::from_secs(10)), pace.ask(500, Duration::from_secs(10))).await;
    assert_eq!(refused(large), 60_000);
    assert!(small.is_ok());
    assert_eq!(clock.now(), at(0));
}

#[tokio::test]
async fn what_a_call_did_not_use_is_there_for_who_waits() {
    for (used, input) in [("less", Some(499)), ("nothing", None)] {
        let clock = VirtualClock::new(at(0));
        let pace = pace(&clock, RateLimits::new(2, 1_000));
        let first = pace.ask(900, EVER).await.unwrap();
        let settle = async {
            asleep(&clock).await;
            match input {
                Some(input) => first.settle(input, 1).await,
                None => first.not_sent().await,
            }
        };
        let (second, ()) = join(pace.ask(500, EVER), settle).await;
        assert!(second.is_ok());
        assert_eq!(clock.now(), at(0), "{used}");
        assert_eq!(pace.ask(500, Duration::ZERO).await.is_ok(), input.is_none(), "{used}");
    }
}

#[tokio::test]
async fn a_turn_that_nobody_waits_for_any_more_is_passed_on() {
    let clock = VirtualClock::auto(at(0));
    let pace = pace(&clock, RateLimits::new(1, 1_000));
    let _first = pace.ask(100, EVER).await.unwrap();
    let gone = async {
        tokio::select! {
            biased;
            _ = pace.ask(100, EVER) => panic!("there was a turn"),
            () = clock.sleep_until(at(30)) => {}
        }
    };
    let ((), next) = join(gone, async { pace.ask(100, EVER).await.map(|_| clock.now()) }).await;
    assert_eq!(next.unwrap(), at(60));
}

#[tokio::test]
async fn the_provider_is_obeyed() {
    let left = |limit, remaining, full_at| Some(Left { limit, remaining, full_at: at(full_at) });
    let no_tokens = Room { input_tokens: left(1_000, 0, 60), ..Room::default() };
    let one_request = Room { requests: left(60, 1, 59), tokens: left(1_000, 900, 6), ..Room::default() };
    let second = Duration::from_secs(1);
    for (what, room, retry_after, turns) in [
        ("nothing was said", None, None, [0, 0, 0]),
        ("a pause", None, Some(7 * second), [7, 7, 7]),
        ("a pause, and less room", Some(no_tokens), Some(7 * second), [7, 12, 18]),
        ("no tokens", Some(no_tokens), None, [6, 12, 18]),
        ("one request", Some(one_request), None, [0, 1, 2]),
        ("nothing of interest", Some(Room::default()), None, [0, 0, 0]),
    ] {
        let clock = VirtualClock::auto(at(0));
        let pace = pace(&clock, RateLimits::new(1_000, 1_000_000));
        pace.heard(room.as_ref(), retry_after);
        for turn in turns {
            let _ticket = pace.ask(100, EVER).await.unwrap();
            assert_eq!(clock.now(), at(turn), "{what}");
        }
        // Said once more, a shorter pause does not end a longer one.
        pace.heard(None, Some(9 * second));
        pace.heard(None, Some(second));
        assert_eq!(refused(pace.ask(1, 8 * second).await), 9_000, "{what}");
    }
}

#[tokio::test]
async fn many_at_once_all_get_their_turn_and_no_minute_more_than_the_limit() {
    let clock = VirtualClock::auto(at(0));
    let pace = pace(&clock, RateLimits::new(60, 100_000));
    let granted = Mutex::new(BTreeMap::<u64, u64>::new());
    join_all((0..300).map(|_| async {
        let ticket = pace.ask(100, EVER).await.unwrap();
        *granted.lock().unwrap().entry(clock.now().as_millis() / 60_000).or_default() += 1;
        clock.sleep_until(clock.now().saturating_add(Duration::from_millis(300))).await;
        ticket.settle(90, 10).await;
    }))
    .await;
    assert_eq!(granted.into_inner().unwrap(), (0..5).map(|minute| (minute, 60)).collect());
}
