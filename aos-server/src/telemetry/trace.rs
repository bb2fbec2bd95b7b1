//! Spans of traces, sent by OTLP to the collector that settings name.
//!
//! A span is made once it has ended: its ids are known before it begins, because those below a run are derived (see
//! [`aos_core::trace`]), so that nothing has to be carried along for it. Spans that the collector does not take in
//! time are dropped: a run never waits for them.

mod collector;

use std::borrow::Cow;
use std::num::{NonZeroU64, NonZeroU128};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aos_core::trace::TraceParent;
use aos_core::{Failure, codes};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor};
use url::Url;

use self::collector::Collector;

/// The header by which a trace goes from one service to the next.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The trace that a caller asks within.
pub fn asked_within(headers: &HeaderMap) -> Option<TraceParent> {
    headers.get(TRACEPARENT)?.to_str().ok()?.parse().ok()
}

/// What [`TRACEPARENT`] says to a service that is asked within a span; none when nobody keeps it, so that the service
/// decides for itself whether it begins a trace of its own.
pub fn header(trace: TraceParent) -> Option<HeaderValue> {
    trace.is_sampled().then(|| HeaderValue::from_str(&trace.to_string()).ok())?
}

/// Which share of the traces that begin here is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Those with a number below this; none for all of them.
    below: Option<u64>,
}

impl Share {
    /// All of them.
    pub const ALL: Self = Self { below: None };

    /// The share of a text: a number from 0 to 1.
    pub fn parse(text: &str) -> Option<Self> {
        let share: f64 = text.parse().ok().filter(|share| (0.0..=1.0).contains(share))?;
        if share == 1.0 {
            return Some(Self::ALL);
        }
        Some(Self { below: Some((share * u64::MAX as f64) as u64) })
    }

    fn keeps(self, number: u64) -> bool {
        self.below.is_none_or(|below| number < below)
    }
}

/// Where spans go; by default nowhere.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Exporting>>);

struct Exporting {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    share: Share,
}

/// A span that has ended.
pub struct Span {
    /// What it is, with few different values.
    pub name: Cow<'static, str>,
    /// How it stands to what is on its other side.
    pub kind: SpanKind,
    /// The span that it is below.
    pub parent: Option<TraceParent>,
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What there is to know of it.
    pub attributes: Vec<KeyValue>,
    /// The code of what it failed with.
    pub error: Option<String>,
}

impl Span {
    /// A span that ends now.
    pub fn ended(name: impl Into<Cow<'static, str>>, parent: Option<TraceParent>, took: Duration) -> Self {
        let now = SystemTime::now();
        Self {
            name: name.into(),
            kind: SpanKind::Internal,
            parent,
            began: now.checked_sub(took).unwrap_or(now),
            took,
            attributes: Vec::new(),
            error: None,
        }
    }

    /// Of another kind.
    pub fn kind(self, kind: SpanKind) -> Self {
        Self { kind, ..self }
    }

    /// With one more attribute.
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push(KeyValue::new(key, value.into()));
        self
    }

    /// With one more attribute, if there is a value.
    pub fn with_some(self, key: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Failed with this code, if there is one.
    pub fn failed(mut self, code: Option<impl ToString>) -> Self {
        self.error = code.map(|code| code.to_string());
        match self.error.clone() {
            Some(code) => self.with("error.type", code),
            None => self,
        }
    }
}

impl Tracer {
    /// Sends to the collector at `endpoint`, which is asked for `/v1/traces` below it; of the traces that begin here,
    /// this share.
    ///
    /// # Errors
    /// TLS that can't be set up on this machine.
    pub fn to(endpoint: &Url, share: Share) -> Result<Self, Failure> {
        let mut url = endpoint.clone();
        url.set_path(&format!("{}/v1/traces", endpoint.path().trim_end_matches('/')));
        let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
        let exporter = exporter.with_endpoint(url.as_str()).build().map_err(|e| {
            Failure::new(codes::INVALID_SETTING, format!("OTEL_EXPORTER_OTLP_ENDPOINT is {endpoint}: no exporter: {e}"))
        })?;
        let mut processor = BatchSpanProcessor::builder(Collector::new(exporter, endpoint)).build();
        processor.set_resource(&resource());
        let scope = InstrumentationScope::builder("aos-server").with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Self(Some(Arc::new(Exporting { processor, scope, share }))))
    }

    /// A trace that begins here. It is not kept where nothing is sent to a collector.
    pub fn begin(&self) -> TraceParent {
        let (high, low) = (random(), random());
        let trace = NonZeroU128::new(u128::from(high) << 64 | u128::from(low)).unwrap_or(NonZeroU128::MIN);
        let kept = self.0.as_ref().is_some_and(|exporting| exporting.share.keeps(low));
        TraceParent::new(trace, NonZeroU64::new(random()).unwrap_or(NonZeroU64::MIN), kept)
    }

    /// Sends a span; it is not even made where nobody would see it.
    pub fn emit(&self, place: TraceParent, span: impl FnOnce() -> Span) {
        let Some(exporting) = self.0.as_ref().filter(|_| place.is_sampled()) else { return };
        let Span { name, kind, parent, began, took, attributes, error } = span();
        let span_id = |of: TraceParent| SpanId::from(of.span_id());
        exporting.processor.on_end(SpanData {
            span_context: SpanContext::new(
                TraceId::from(place.trace_id()),
                span_id(place),
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: parent.map_or(SpanId::INVALID, span_id),
            parent_span_is_remote: kind == SpanKind::Server || kind == SpanKind::Consumer,
            span_kind: kind,
            name,
            start_time: began,
            end_time: began + took,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: error.map_or(Status::Unset, Status::error),
            instrumentation_scope: exporting.scope.clone(),
        });
    }

    /// Sends what is left, when the process is about to end.
    pub async fn close(&self) {
        let Some(exporting) = self.0.clone() else { return };
        // Blocks for a few seconds at most, when the collector does not answer.
        let closing = tokio::task::spawn_blocking(move || exporting.processor.shutdown());
        // What went wrong was logged by whoever sends.
        let _ = closing.await;
    }
}

/// A span below another one that is like no other, for what may happen any number of times there.
pub fn below(parent: TraceParent) -> TraceParent {
    parent.child(&random().to_string())
}

/// Without randomness there is no telling spans apart, but whatever is traced goes on.
fn random() -> u64 {
    getrandom::u64().unwrap_or(1)
}

/// What all spans of the process have in common. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win.
fn resource() -> Resource {
    let ours = [
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", uuid::Uuid::now_v7().to_string()),
    ];
    let mut resource = Resource::builder().with_attributes(ours);
    let named = std::env::var_os("OTEL_SERVICE_NAME").is_some()
        || std::env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|text| text.contains("service.name="));
    if !named {
        resource = resource.with_service_name("aos-server");
    }
    resource.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_kept_traces_is_as_asked() {
        let url: Url = "http://127.0.0.1:9".parse().unwrap();
        for (share, expected) in [("0", 0..=0), ("0.25", 150..=350), ("1", 1_000..=1_000)] {
            let tracer = Tracer::to(&url, Share::parse(share).unwrap()).unwrap();
            let kept = (0..1_000).filter(|_| tracer.begin().is_sampled()).count();
            assert!(expected.contains(&kept), "{share}: {kept}");
        }
        assert!(["", "-0.1", "1.1", "NaN", "half"].into_iter().all(|text| Share::parse(text).is_none()));
        assert!(!Tracer::default().begin().is_sampled());
        assert_ne!(Tracer::default().begin(), Tracer::default().begin());
        let parent = Tracer::default().begin();
        assert!(below(parent) != below(parent) && below(parent).trace_id() == parent.trace_id());
    }

    #[test]
    fn nothing_is_made_for_nobody() {
        let off = Tracer::default();
        off.emit(off.begin(), || unreachable!("no span is made"));
    }
}
