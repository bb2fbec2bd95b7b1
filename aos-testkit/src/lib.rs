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
pub mod service;
pub mod skills;

mod executor;

/// The Rust of the pages, as doc tests: what a page shows compiles and holds.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../README.md")]
    mod readme {}
    #[doc = include_str!("../../docs/src/getting-started-embedded.md")]
    mod embedded {}
    #[doc = include_str!("../../docs/src/writing-a-skill.md")]
    mod skill {}
    #[doc = include_str!("../../docs/src/writing-a-backend.md")]
    mod backend {}
    #[doc = include_str!("../../docs/src/golden-tests.md")]
    mod golden {}
    #[cfg(feature = "claude")]
    #[doc = include_str!("../../docs/src/mock-claude.md")]
    mod mock_claude {}
}
