//! The way of a call from a step to a provider, with real servers before a provider that counts for itself.
//!
//! Each test is short by default. `AOS_LLM_MINUTES` says for how long limits are watched (2), `AOS_LLM_RUNS` how many runs
//! the storm meets (300), `AOS_LLM_TURNS` how often switches are turned and keys changed (3).

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking and reports")]

mod agent;
mod canary;
mod fleet;
mod keys;
mod limits;
#[path = "../operator_support/mod.rs"]
mod operator_support;
mod storm;
mod switches;

use std::str::FromStr;

/// A number that the environment may set.
fn setting<T: FromStr<Err: std::fmt::Debug>>(key: &str, default: T) -> T {
    std::env::var(key).map_or(default, |text| text.parse().unwrap())
}
