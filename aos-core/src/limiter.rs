//! The contract of a shared rate limit: requests and tokens per minute.

use std::time::Duration;

use crate::BoxFuture;
use crate::id::TenantId;

/// What one caller wants of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitRequest {
    /// On whose behalf.
    pub tenant: TenantId,
    /// Which limit, `claude` say.
    pub name: String,
    /// Tokens the call will use at most, by estimate.
    pub tokens: u64,
}

/// The answer of a limiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go ahead; settle with this ticket.
    Granted(u64),
    /// Not before this time has passed.
    Wait(Duration),
}

/// Grants calls within limits per minute.
///
/// # Contract
/// - In no window of a minute are more than the limit's requests, or tokens, granted (5 % at most over, across replicas).
/// - A request that no window could hold is granted alone in an empty one, never refused for ever.
/// - It never fails open: without its backend it grants a share that is safe for every replica.
pub trait Limiter: Send + Sync {
    /// Asks for one call; a granted one is counted from now on.
    fn acquire<'a>(&'a self, request: &'a LimitRequest) -> BoxFuture<'a, Verdict>;
    /// Says how many tokens the call of `ticket` did use.
    fn settle<'a>(&'a self, request: &'a LimitRequest, ticket: u64, used: u64) -> BoxFuture<'a, ()>;
}
