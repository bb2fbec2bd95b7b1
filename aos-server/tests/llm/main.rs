//! The adapters of providers, against servers that answer as those do, and as they should not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod claude_errors;
mod claude_stream;
mod claude_wire;
mod conformance;
mod keys;
mod mock;
mod openai;
mod process;
mod support;
mod transport;
