//! The files by which AOS is deployed: well-formed by the official schemas, and true of this release.
//!
//! No container engine is needed: what the files name (settings, commands, paths, ports, times) is compared with the
//! program, and the load balancer's configuration is put to work.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod alerts;
mod compose;
mod dashboards;
mod dockerfile;
mod haproxy;
mod kubernetes;
#[path = "../operator_support/mod.rs"]
mod operator_support;
mod queries;
mod routes;
mod scraped;
mod support;
