//! The contract of a shared rate limit: requests and tokens per minute.

mod amount;
mod window;

use std::time::Duration;

use crate::BoxFuture;
use crate::id::TenantId;

pub use amount::{Amount, RateLimits};
pub use window::{WINDOW, Window};

/// What one caller wants of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitRequest {
    /// On whose behalf.
    pub tenant: TenantId,
    /// Which limit, `claude` say.
    pub name: String,
    /// How much that limit allows: the same for all who share it.
    pub limits: RateLimits,
    /// Tokens the call will read, by estimate.
    pub input_tokens: u64,
    /// Tokens the call will write at most.
    pub output_tokens: u64,
}

impl LimitRequest {
    /// What the call counts as until it is settled.
    pub fn amount(&self) -> Amount {
        Amount::call(self.input_tokens, self.output_tokens)
    }
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
/// - In no window of a minute is more granted than the limits allow, of requests or of any kind of tokens (5 % at most
///   over, across replicas). Each tenant has a window of its own for each name.
/// - A request that no window could hold is granted alone in an empty one, never refused for ever.
/// - What is granted counts as it was asked for until it is settled, and then as it was used; without being settled, it
///   counts for a minute all the same. A ticket is settled once.
/// - It never fails open: without its backend it grants a share that is safe for every replica.
pub trait Limiter: Send + Sync {
    /// Asks for one call; a granted one is counted from now on.
    fn acquire<'a>(&'a self, request: &'a LimitRequest) -> BoxFuture<'a, Verdict>;
    /// Says what the call of `ticket` did use, which was granted to this very request: [`Amount::call`] if it was sent,
    /// [`Amount::NONE`] if it never was.
    fn settle<'a>(&'a self, request: &'a LimitRequest, ticket: u64, used: Amount) -> BoxFuture<'a, ()>;
}
