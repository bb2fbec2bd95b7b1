//! The engine's behaviour, one file per topic, through one harness.

#![allow(clippy::unwrap_used, reason = "tests")]

mod crash;
mod drift;
mod flow;
mod harness;
mod retry;
mod signal;
