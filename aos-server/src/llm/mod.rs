//! What stands between a step and a model: everything that an adapter itself need not know.
//!
//! A call of a live adapter passes, in this order: the cache, if the step allows it; the breaker, which leaves a provider
//! alone that is not well; its turn within the limits; the account, which reserves what it may cost; and at the last
//! moment the operator's switches. After it, everybody learns how it ended.

mod account;
mod cached;
mod estimate;
mod guarded;
mod live;
mod pace;
mod setup;
mod sweep;

pub use account::Account;
pub use cached::CachedAdapter;
pub use estimate::Estimate;
pub use guarded::{GuardedAdapter, Parts};
pub use live::{Pieces, watched};
pub use pace::{Pace, Ticket};
pub use setup::{Surroundings, adapters};
pub use sweep::keep_sweeping;
