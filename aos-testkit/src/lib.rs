//! Golden replays, scripted adapters, determinism checks and conformance suites for AOS.

pub mod clock;
pub mod fault;
pub mod script;

mod executor;
