//! The contract of [`RunStore`](aos_core::runs::RunStore), by what it is about.

mod create;
mod end;
mod inbox;
mod lease;
mod list;
mod queue;

pub use create::*;
pub use end::*;
pub use inbox::*;
pub use lease::*;
pub use list::*;
pub use queue::*;
