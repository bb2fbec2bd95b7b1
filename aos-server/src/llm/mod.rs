//! What stands between a step and a model: everything that an adapter itself need not know.

mod cached;
mod estimate;
mod live;

pub use cached::CachedAdapter;
pub use estimate::Estimate;
pub use live::{Pieces, watched};
