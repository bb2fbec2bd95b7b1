//! The `http_call` skill: one HTTP request to a public address, bounded in time and size.

mod allow;
mod guard;

pub use allow::AllowList;
pub use guard::{Blocked, Guard, is_public};
