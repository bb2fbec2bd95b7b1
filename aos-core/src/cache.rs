//! The contract of a cache: what it forgets costs time, never correctness.

use std::sync::Arc;
use std::time::Duration;

use crate::BoxFuture;
use crate::id::TenantId;

/// Keeps values for a while.
///
/// # Contract
/// - `get` gives a value that was put under this tenant and key no longer than its time to live ago, or `None`.
/// - A cache may forget anything at any time and never fails: trouble is a miss.
/// - Nothing of one tenant is visible to another.
pub trait Cache: Send + Sync {
    /// The value under `key`.
    fn get<'a>(&'a self, tenant: &'a TenantId, key: &'a str) -> BoxFuture<'a, Option<Arc<[u8]>>>;
    /// Keeps `value` under `key` for at most `ttl`.
    fn put<'a>(&'a self, tenant: &'a TenantId, key: &'a str, value: Arc<[u8]>, ttl: Duration) -> BoxFuture<'a, ()>;
}
