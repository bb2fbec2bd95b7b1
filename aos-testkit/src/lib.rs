//! Golden replays, scripted adapters, determinism checks and conformance suites for AOS.

pub mod conformance;
pub mod determinism;
pub mod fault;
pub mod golden;
pub mod harness;
pub mod history;
pub mod recording;
pub mod scenario;
pub mod script;
pub mod skills;

mod executor;
