//! The cache: keys that expire by themselves.

use std::sync::Arc;
use std::time::Duration;

use aos_core::BoxFuture;
use aos_core::cache::Cache;
use aos_core::canonical::Hash;
use aos_core::id::TenantId;

use super::connection::Link;

/// What is larger is not kept: it would hold up everybody else on the connection.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// A cache that all processes share. Trouble is a miss.
pub struct RedisCache {
    link: Link,
}

impl RedisCache {
    /// A cache in the Redis at the other end.
    pub fn new(link: Link) -> Self {
        Self { link }
    }
}

impl Cache for RedisCache {
    fn get<'a>(&'a self, tenant: &'a TenantId, key: &'a str) -> BoxFuture<'a, Option<Arc<[u8]>>> {
        Box::pin(async move {
            let mut get = redis::cmd("GET");
            get.arg(name(tenant, key));
            let got = self.link.call(|mut connection| async move { get.query_async(&mut connection).await });
            let value: Option<Vec<u8>> = got.await.ok().flatten();
            value.map(Arc::from)
        })
    }

    fn put<'a>(&'a self, tenant: &'a TenantId, key: &'a str, value: Arc<[u8]>, ttl: Duration) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).min(MAX_TTL_MS);
            let mut put = redis::cmd("SET");
            if value.len() <= MAX_VALUE_BYTES && ms > 0 {
                put.arg(name(tenant, key)).arg(&*value).arg("PX").arg(ms);
            } else {
                // The value that was there before is not the last one that was put.
                put = redis::cmd("DEL");
                put.arg(name(tenant, key));
            }
            let _ = self.link.call(|mut connection| async move { put.exec_async(&mut connection).await }).await;
        })
    }
}

/// A hundred years; Redis refuses what overflows its clock.
const MAX_TTL_MS: u64 = 100 * 365 * 24 * 3_600 * 1_000;

/// Any text makes a short key; a tenant's name has no line feed, so no key of one tenant is one of another.
fn name(tenant: &TenantId, key: &str) -> String {
    format!("aos:cache:{}", Hash::of(format!("{tenant}\n{key}")).to_hex().as_str())
}
