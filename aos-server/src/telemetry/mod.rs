//! What the process says about itself: log lines, metrics and traces.

mod bounded;
pub mod log;
mod metrics;
mod model;
mod observer;
mod trace;

pub use metrics::Metrics;
pub use model::CountedAdapter;
pub use observer::Observed;
pub use trace::{Share, Span, TRACEPARENT, Tracer, asked_within, below, header};
