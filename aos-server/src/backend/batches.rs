//! How much is written at one time.

use std::sync::{Arc, OnceLock};

use crate::telemetry::Metrics;

/// Counts the batches of a backend, once it was told where to. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::backend) struct Batches(Arc<OnceLock<Metrics>>);

impl Batches {
    /// Has them counted there. Whoever is first stays it.
    pub(in crate::backend) fn count_in(&self, metrics: &Metrics) {
        let _ = self.0.set(metrics.clone());
    }

    /// So many pieces of work became durable together.
    pub(in crate::backend) fn written(&self, pieces: usize) {
        if let Some(metrics) = self.0.get() {
            metrics.batch(pieces);
        }
    }
}
