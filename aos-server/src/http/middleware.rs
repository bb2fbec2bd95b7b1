//! What happens around every handler: request id, log span, panic to problem, problem document, metrics.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use aos_core::codes;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use opentelemetry::trace::SpanKind;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::http::problem::ApiError;
use crate::http::request_id::{self, RequestId};
use crate::telemetry::{Metrics, Span, Tracer, asked_within, below};

/// Routes that begin so are not traced.
const UNTRACED: &[&str] = &["/health", "/metrics"];

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Wraps a request in its span and its answer in the API's conventions.
pub async fn observe(State((metrics, tracer)): State<(Metrics, Tracer)>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let parent = asked_within(request.headers());
    let trace = parent.map_or_else(|| tracer.begin(), below);
    request.extensions_mut().insert(trace);
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let span = tracing::info_span!(
        "request",
        request_id = %id.as_str(),
        trace_id = trace.trace_text(),
        key = tracing::field::Empty,
    );
    let path = request.uri().path().to_string();
    let answering = async {
        let mut response = match refuse_cross_site(&request) {
            Some(refusal) => refusal.into_response(),
            None => match AssertUnwindSafe(next.run(request)).catch_unwind().await {
                Ok(response) => response,
                Err(panic) => panicked(&*panic).into_response(),
            },
        };
        if let Some(error) = response.extensions_mut().remove::<ApiError>() {
            log(&error, method, &path);
            response = error.respond(id.as_str());
        }
        response.headers_mut().insert(request_id::HEADER, id.header());
        let status = response.status();
        let took = started.elapsed();
        let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
        metrics.http(method, route, status.as_u16(), took);
        // Probes and scrapes would be most of what is kept.
        if !UNTRACED.iter().any(|prefix| route.starts_with(prefix)) {
            tracer.emit(trace, || {
                Span::ended(format!("{method} {route}"), parent, took)
                    .kind(SpanKind::Server)
                    .with("http.request.method", method)
                    .with("http.route", route.to_owned())
                    .with("url.path", path.clone())
                    .with("http.response.status_code", i64::from(status.as_u16()))
                    .with("aos.request_id", id.as_str().to_owned())
                    .failed(status.is_server_error().then(|| status.as_str().to_owned()))
            });
        }
        tracing::debug!(method, path, status = status.as_u16(), ms = took.as_secs_f64() * 1e3, "answered");
        response
    };
    answering.instrument(span).await
}

/// Tells callers of a process that is about to end not to send the next request on this connection.
pub async fn close(State(leaving): State<CancellationToken>, request: Request, next: Next) -> Response {
    // Later versions have no such header.
    let is_kept = request.version() <= Version::HTTP_11;
    let mut response = next.run(request).await;
    if is_kept && leaving.is_cancelled() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Answers to a path that no route has.
pub async fn no_route(request: Request) -> ApiError {
    ApiError::new(
        codes::NOT_FOUND,
        format!("there is no route {}: /openapi.json lists all there are", clip(request.uri().path())),
    )
}

/// Answers to a method that a route does not have.
pub async fn no_method(request: Request) -> ApiError {
    ApiError::invalid(format!(
        "{} does not answer to {}: /openapi.json lists what there is",
        clip(request.uri().path()),
        clip(request.method().as_str())
    ))
    .status(StatusCode::METHOD_NOT_ALLOWED)
}

/// A page in somebody's browser must not start runs on a server that needs no key. Browsers say where a request comes
/// from; programs don't, and pass.
fn refuse_cross_site(request: &Request) -> Option<ApiError> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let site = request.headers().get(SEC_FETCH_SITE)?;
    (!safe && site != "same-origin" && site != "none").then(|| {
        ApiError::new(codes::FORBIDDEN, "the request comes from a page of another site, which may not change anything")
    })
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> ApiError {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into());
    tracing::error!(panic = text, "a request handler panicked");
    ApiError::new(codes::INTERNAL, "a request handler panicked; the log has the message under this request id")
}

fn log(error: &ApiError, method: &str, path: &str) {
    let failure = error.failure();
    if failure.code.info().is_some_and(|info| info.http_status >= 500) {
        tracing::error!(code = %failure.code, method, path, "{}", failure.message);
    } else {
        tracing::info!(code = %failure.code, method, path, "{}", failure.message);
    }
}

/// Methods are a label, so a made-up one must not become a new series.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn clip(text: &str) -> String {
    text.chars().take(200).collect()
}
