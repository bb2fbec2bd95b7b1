//! Golden replays, scripted adapters, determinism checks and conformance suites for AOS.

pub mod fault;
pub mod harness;
pub mod script;
pub mod skills;

mod executor;
