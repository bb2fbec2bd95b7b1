//! The mock of the Claude API: over plain HTTP, and with the official SDKs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod account;
mod answers;
mod client;
mod faults;
mod keys_and_limits;
mod script;
mod sdks;
