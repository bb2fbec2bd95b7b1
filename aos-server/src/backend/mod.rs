//! The backends behind the core's contracts, by vendor.

pub mod postgres;
pub mod sqlite;
mod watch;
