//! What can go wrong in an exchange, as failures with stable codes.

use std::time::{Duration, SystemTime};

use aos_core::{Failure, codes};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde_json::json;
use url::Url;

use super::client::chain;
use super::guard::Blocked;

/// No server can put off a retry for longer than this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A URL that may not be requested, or a name that stands for no allowed address.
pub(super) fn blocked(why: &Blocked, url: &Url) -> Failure {
    let mut message = format!("{why}, so http_call may not reach it");
    if let Blocked::Address { host, .. } = why {
        let port = url.port_or_known_default().unwrap_or_default();
        message = format!("{message}; if it is meant to be reached, add {host}:{port} to AOS_HTTP_ALLOW");
    }
    Failure::new(codes::HTTP_BLOCKED, message).details(json!({"url": without_query(url)}))
}

/// A request that got no answer, or an answer that broke off.
pub(super) fn failed(error: &reqwest::Error, method: &Method, url: &Url) -> Failure {
    if let Some(why) = find_blocked(error) {
        return blocked(why, url);
    }
    // What was never sent may be sent again; what was sent may be repeated if repeating does no harm.
    let repeatable = error.is_connect() || method.is_idempotent();
    let what = if error.is_connect() { "could not be sent" } else { "got no complete answer" };
    let message = format!("{method} {} {what}: {}", without_query(url), chain(&error_without_url(error)));
    Failure::new(codes::HTTP_FAILED, message)
        .retryable(repeatable)
        .details(json!({"url": without_query(url), "sent": !error.is_connect()}))
}

/// An exchange that took longer than its bound.
pub(super) fn timed_out(timeout: Duration, method: &Method, url: &Url) -> Failure {
    let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    Failure::new(codes::TIMEOUT, format!("{method} {} took longer than {ms} ms", without_query(url)))
        .retryable(method.is_idempotent())
        .details(json!({"url": without_query(url), "timeout_ms": ms}))
}

/// An answer with a status that is not success.
pub(super) fn status(status: StatusCode, headers: &HeaderMap, excerpt: &str, method: &Method, url: &Url) -> Failure {
    let retryable = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
    let name = status.canonical_reason().map(|name| format!(" {name}")).unwrap_or_default();
    let message = format!("{method} {} was answered with {}{name}", without_query(url), status.as_u16());
    let failure = Failure::new(codes::HTTP_STATUS, message).retryable(retryable);
    let failure = match retry_after(headers).filter(|_| retryable) {
        Some(after) => failure.retry_after(after),
        None => failure,
    };
    failure.details(json!({"body": excerpt, "status": status.as_u16(), "url": without_query(url)}))
}

/// A body larger than its bound.
pub(super) fn too_large(max_bytes: usize, url: &Url) -> Failure {
    let message = format!("the answer of {} has more than {max_bytes} bytes: raise max_bytes", without_query(url));
    Failure::new(codes::HTTP_TOO_LARGE, message).details(json!({"max_bytes": max_bytes, "url": without_query(url)}))
}

/// Redirects that lead nowhere.
pub(super) fn redirect(why: &str, url: &Url) -> Failure {
    Failure::new(codes::HTTP_FAILED, format!("{} {why}", without_query(url)))
        .retryable(false)
        .details(json!({"url": without_query(url)}))
}

/// `Retry-After` in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let after = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).unwrap_or_default(),
    };
    Some(after.min(MAX_RETRY_AFTER))
}

/// A URL for messages: query parameters may hold credentials.
pub(super) fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    if url.query().is_some() {
        url.set_query(Some("…"));
    }
    // Failing means that the URL can't have these.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.to_string().replace("?%E2%80%A6", "?…")
}

fn find_blocked(error: &reqwest::Error) -> Option<&Blocked> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(blocked) = cause.downcast_ref::<Blocked>() {
            return Some(blocked);
        }
        source = cause.source();
    }
    None
}

/// reqwest's own message repeats the URL with its query.
struct WithoutUrl<'a>(&'a reqwest::Error);

fn error_without_url(error: &reqwest::Error) -> WithoutUrl<'_> {
    WithoutUrl(error)
}

impl std::fmt::Display for WithoutUrl<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_connect() {
            "no connection"
        } else if self.0.is_body() || self.0.is_decode() {
            "the body broke off or could not be decoded"
        } else {
            "the exchange broke off"
        })
    }
}

impl std::fmt::Debug for WithoutUrl<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for WithoutUrl<'_> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(self.0)
    }
}
