//! Query parameters and headers in the forms people write them.

use std::time::Duration;

use aos_core::id::RunId;
use aos_core::time::{Day, Timestamp};
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use serde::de::DeserializeOwned;

use crate::http::problem::{ApiError, ApiResult};

/// The longest that a request may wait for a run.
pub const MAX_WAIT: Duration = Duration::from_secs(300);

/// What `?wait` without a value means.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// The longest idempotency key.
const MAX_KEY: usize = 255;

/// The query string, read into `T`; mistakes are problem documents.
#[derive(Clone, Debug)]
pub struct Params<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|rejection| ApiError::invalid(format!("the query string: {}", root_cause(&rejection))))
    }
}

/// The variable parts of a path, read into `T`; mistakes are problem documents.
#[derive(Clone, Debug)]
pub struct PathOf<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathOf<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        Path::<T>::from_request_parts(parts, state)
            .await
            .map(|path| Self(path.0))
            .map_err(|rejection| ApiError::invalid(format!("the path: {}", root_cause(&rejection))))
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Reads a run's id from a path. A text that can't be an id names no run.
pub fn run_id(text: &str) -> ApiResult<RunId> {
    RunId::new(text).map_err(|e| ApiError::not_found("run", format!("{:?}: {e}", clip(text))))
}

/// How long to wait: from `?wait=30s`, or else from `Prefer: wait=30` (RFC 7240, in seconds).
///
/// # Errors
/// A malformed duration, or one above [`MAX_WAIT`]. A malformed `Prefer` is ignored, as its standard demands.
pub fn wait(query: Option<&str>, headers: &HeaderMap) -> ApiResult<Option<Duration>> {
    let Some(text) = query else { return Ok(prefer_wait(headers)) };
    let wait = if text.is_empty() { Some(DEFAULT_WAIT) } else { duration(text) };
    match wait {
        Some(wait) if wait <= MAX_WAIT => Ok(Some(wait)),
        Some(_) => Err(ApiError::invalid(format!("wait is {text:?}: expected at most {}s", MAX_WAIT.as_secs()))),
        None => Err(ApiError::invalid(format!(
            "wait is {:?}: expected a whole number with a unit (ms, s or m), for example wait=30s",
            clip(text)
        ))),
    }
}

/// A whole number with a unit: `250ms`, `30s`, `5m`, `2h`, `7d`.
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.saturating_mul(ms)))
}

/// A time of RFC 3339, from 1970 on.
pub fn timestamp(text: &str) -> Option<Timestamp> {
    let at = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    u64::try_from(at.timestamp_millis()).ok().map(Timestamp::from_millis)
}

/// A time, or the beginning of a day (UTC).
///
/// # Errors
/// A text that is neither.
pub fn time(name: &str, text: Option<&str>) -> ApiResult<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    let at = text.parse::<Day>().ok().map(Day::start).or_else(|| timestamp(text));
    let error = || {
        let found = clip(text);
        ApiError::invalid(format!(
            "{name} is {found:?}: expected a day such as 2026-11-23, or a time such as 2026-11-23T20:15:00Z"
        ))
    };
    at.map(Some).ok_or_else(error)
}

fn prefer_wait(headers: &HeaderMap) -> Option<Duration> {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let seconds = preferences.flat_map(|value| value.split([',', ';'])).find_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').parse::<u64>().ok())?
    })?;
    Some(Duration::from_secs(seconds).min(MAX_WAIT))
}

/// The `Idempotency-Key` header.
///
/// # Errors
/// An empty key, one that is too long, or one that is not printable ASCII.
pub fn idempotency_key(headers: &HeaderMap) -> ApiResult<Option<String>> {
    const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=MAX_KEY).contains(&key.len()) => Ok(Some(key.into())),
        _ => Err(ApiError::invalid(format!(
            "the Idempotency-Key header is not 1 to {MAX_KEY} printable ASCII characters"
        ))),
    }
}

/// A caller's text, short enough for a message.
pub fn clip(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn waits_as_people_write_them() {
        let none = HeaderMap::new();
        for (text, ms) in [("30s", 30_000), ("250ms", 250), ("2m", 120_000), ("0s", 0), ("", 30_000)] {
            assert_eq!(wait(Some(text), &none).unwrap(), Some(Duration::from_millis(ms)), "{text:?}");
        }
        for text in ["30", "s", "-1s", "1.5s", "6m", "99999999999999999999s", "1h", "é"] {
            assert!(wait(Some(text), &none).is_err(), "{text:?}");
        }
        assert_eq!(wait(None, &none).unwrap(), None);
    }

    #[test]
    fn prefer_is_read_leniently() {
        for (value, seconds) in [
            ("wait=10", Some(10)),
            ("respond-async, wait=5", Some(5)),
            ("Wait = \"7\"", Some(7)),
            ("wait=100000", Some(MAX_WAIT.as_secs())),
            ("wait=soon", None),
            ("handling=lenient", None),
        ] {
            let headers = HeaderMap::from_iter([(HeaderName::from_static("prefer"), HeaderValue::from_static(value))]);
            assert_eq!(wait(None, &headers).unwrap(), seconds.map(Duration::from_secs), "{value:?}");
        }
    }
}
