//! The HTTP surface: every endpoint and every error, in process and over a socket.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod approve;
mod audit;
mod bulk;
mod control;
mod document;
mod errors;
mod follow;
mod health;
mod keys;
mod money;
mod mutated;
mod pause;
mod queue;
mod registry;
mod replay;
mod retry;
mod runs;
mod schedules;
mod simulate;
mod socket;
mod support;
mod talk;
mod workflows;
