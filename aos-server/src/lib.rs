//! The AOS server: HTTP, worker loop and the backends behind the core's contracts.

pub mod audit;
pub mod backend;
pub mod backlog;
mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod definition;
pub mod gate;
mod hex;
pub mod history;
pub mod http;
pub mod hub;
pub mod llm;
pub mod plans;
pub mod redact;
pub mod schedule;
pub mod server;
pub mod skill;
pub mod state;
pub mod switchboard;
pub mod telemetry;
pub mod waits;
pub mod worker;
