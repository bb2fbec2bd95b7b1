//! What the process says about itself: log lines and metrics.

mod bounded;
pub mod log;
mod metrics;
mod model;
mod observer;

pub use metrics::Metrics;
pub use model::CountedAdapter;
pub use observer::Attempts;
