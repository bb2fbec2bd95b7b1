//! The Redis cache and the Redis limiter keep the contracts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aos_core::memory::VirtualClock;
use aos_core::time::Timestamp;
use aos_server::backend::redis::{Link, RedisCache, RedisLimiter};
use aos_server::telemetry::Metrics;
use aos_testkit::conformance::{Backend, BoxFuture, Roles};
use aos_testkit::conformance_tests;
use aos_testkit::service::Redis;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

struct Tested;

impl Backend for Tested {
    fn block_on(&self, clause: BoxFuture<'_, ()>) {
        RUNTIME.block_on(clause);
    }

    fn fresh(&self) -> BoxFuture<'_, Roles> {
        Box::pin(async {
            let redis = Redis::shared();
            let database = redis.database().to_string();
            let url = format!("{}/{database}", redis.url());
            let link = Link::open(&url, Metrics::new().unwrap(), Duration::from_secs(30)).await.unwrap();
            let clock = VirtualClock::new(Timestamp::from_millis(1_700_000_000_000));
            let limiter = RedisLimiter::on_clock(link.clone(), || 1, Arc::new(clock.clone()));
            Roles {
                cache: Some(Arc::new(RedisCache::new(link))),
                limiter: Some(Arc::new(limiter)),
                advance: Some(Box::new(move |duration| {
                    clock.advance(duration);
                    age(&database, duration);
                    Box::pin(std::future::ready(()))
                })),
                ..Roles::default()
            }
        })
    }
}

/// Takes that much from what each key of a database has left to live, as time would.
fn age(database: &str, by: Duration) {
    let script = "for _, key in ipairs(redis.call('KEYS', '*')) do
        local left = redis.call('PTTL', key)
        if left >= 0 then redis.call('PEXPIRE', key, left - ARGV[1]) end
    end";
    Redis::shared().cli(&["-n", database, "EVAL", script, "0", &by.as_millis().to_string()]).unwrap();
}

conformance_tests!(cache, Tested);
conformance_tests!(limiter, Tested);
