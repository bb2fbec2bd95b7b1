//! The way to the collector, which says once when it is gone and once when it is back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_otlp::SpanExporter as Otlp;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use url::Url;

#[derive(Debug)]
pub(super) struct Collector {
    inner: Otlp,
    place: String,
    /// Spans lost since it last took some.
    lost: AtomicU64,
}

impl Collector {
    pub(super) fn new(inner: Otlp, place: &Url) -> Self {
        Self { inner, place: place.to_string(), lost: AtomicU64::new(0) }
    }
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        match self.inner.export(batch).await {
            Ok(()) => {
                let lost = self.lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    tracing::info!(collector = self.place, lost, "the collector of traces takes spans again");
                }
            }
            Err(error) => {
                if self.lost.fetch_add(spans, Ordering::Relaxed) == 0 {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        collector = self.place,
                        error,
                        "the collector of traces takes no spans: they are lost"
                    );
                }
            }
        }
        // It is said already, and the processor would say it every time.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
