//! The backends behind the core's contracts, by vendor.

pub mod sqlite;
