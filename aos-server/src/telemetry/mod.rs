//! What the process says about itself: log lines and metrics.

pub mod log;
mod metrics;

pub use metrics::Metrics;
