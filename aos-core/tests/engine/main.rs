//! The engine's behaviour, one file per topic, through one harness.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::result_large_err, reason = "tests")]

mod agent;
mod agent_bounds;
mod content_hash;
mod crash;
mod drift;
mod flow;
mod fork;
mod harness;
mod retry;
mod signal;
mod steps;
mod vectors;
