//! What `http_call` takes, and the checked request it makes of that.

use std::collections::BTreeMap;
use std::time::Duration;

use aos_core::trace::TraceParent;
use aos_core::{Failure, codes};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::telemetry;

const MAX_URL_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 16 * 1024;
const MAX_TIMEOUT_MS: u64 = 600_000;
const MAX_BYTES: usize = 10_000_000;
const MAX_REDIRECTS: u32 = 20;

/// Headers that belong to the connection, not to the caller.
const CONNECTION_HEADERS: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The input of `http_call`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Request method.
    #[serde(default)]
    pub method: Method,
    /// Absolute http or https URL, without user name and password.
    pub url: String,
    /// Request headers. Those that belong to the connection (`host`, `content-length`, …) are refused.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Query parameters, appended to those of the URL.
    #[serde(default)]
    pub query: BTreeMap<String, QueryValue>,
    /// Request body: a string is sent as text, every other value but null as JSON.
    #[serde(default)]
    pub body: Value,
    /// Bound on the whole exchange, redirects and body included, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    #[schemars(range(min = 1, max = 600_000))]
    pub timeout_ms: u64,
    /// Bound on the response body, in bytes after decompression.
    #[serde(default = "default_max_bytes")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_bytes: usize,
    /// How many redirects are followed; with 0 a redirect is returned as it is.
    #[serde(default = "default_max_redirects")]
    #[schemars(range(max = 20))]
    pub max_redirects: u32,
    /// Statuses that count as success; empty means every status below 400.
    #[serde(default)]
    pub expect_status: Vec<u16>,
    /// Response headers to return besides the usual ones (content type, caching, links, rate limits).
    #[serde(default)]
    pub response_headers: Vec<String>,
}

/// A request method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the names are HTTP's")]
pub enum Method {
    #[default]
    Get,
    Head,
    Options,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub(super) const fn http(self) -> reqwest::Method {
        match self {
            Self::Get => reqwest::Method::GET,
            Self::Head => reqwest::Method::HEAD,
            Self::Options => reqwest::Method::OPTIONS,
            Self::Post => reqwest::Method::POST,
            Self::Put => reqwest::Method::PUT,
            Self::Patch => reqwest::Method::PATCH,
            Self::Delete => reqwest::Method::DELETE,
        }
    }
}

/// The value of a query parameter; a list repeats the parameter.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[allow(missing_docs, reason = "the names are JSON's")]
pub enum QueryValue {
    Text(String),
    Integer(i64),
    Number(f64),
    Boolean(bool),
    List(Vec<QueryValue>),
}

const fn default_timeout_ms() -> u64 {
    30_000
}

const fn default_max_bytes() -> usize {
    2_000_000
}

const fn default_max_redirects() -> u32 {
    5
}

/// A request that is well-formed and within its bounds. Where it may go is not decided yet.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: reqwest::Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
    pub(super) timeout: Duration,
    pub(super) max_bytes: usize,
    pub(super) max_redirects: u32,
    pub(super) expect_status: Vec<u16>,
    pub(super) response_headers: Vec<HeaderName>,
}

impl Input {
    /// Checks what the schema can't express.
    pub(super) fn check(self, idempotency_key: &str, trace: Option<TraceParent>) -> Result<Request, Failure> {
        within("timeout_ms", self.timeout_ms, 1, MAX_TIMEOUT_MS)?;
        within("max_bytes", self.max_bytes as u64, 1, MAX_BYTES as u64)?;
        within("max_redirects", self.max_redirects.into(), 0, MAX_REDIRECTS.into())?;
        let method = self.method.http();
        let url = url(&self.url, &self.query)?;
        let (body, content_type) = body(self.body)?;
        let mut headers = headers(&self.headers)?;
        if let Some(content_type) = content_type {
            headers.entry(CONTENT_TYPE).or_insert(content_type);
        }
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!("aos-http-call/", env!("CARGO_PKG_VERSION"))));
        if !method.is_safe() {
            let key = HeaderValue::from_str(idempotency_key)
                .map_err(|_| Failure::new(codes::INTERNAL, "an idempotency key is not a header value"))?;
            headers.entry(HeaderName::from_static("idempotency-key")).or_insert(key);
        }
        if let Some(trace) = trace.and_then(telemetry::header) {
            headers.entry(telemetry::TRACEPARENT).or_insert(trace);
        }
        let names = self.response_headers.iter().take(MAX_HEADERS);
        Ok(Request {
            method,
            url,
            headers,
            body,
            timeout: Duration::from_millis(self.timeout_ms),
            max_bytes: self.max_bytes,
            max_redirects: self.max_redirects,
            expect_status: self.expect_status,
            response_headers: names.map(|name| header_name("response_headers", name)).collect::<Result<_, _>>()?,
        })
    }
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(codes::INVALID_INPUT, message)
}

fn within(field: &str, value: u64, min: u64, max: u64) -> Result<(), Failure> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(invalid(format!("/{field} is {value}: expected {min} to {max}")))
}

fn url(text: &str, query: &BTreeMap<String, QueryValue>) -> Result<Url, Failure> {
    let mut url = Url::parse(text.trim()).map_err(|e| {
        let hint = if text.contains("://") { "" } else { " (it needs a scheme: https://…)" };
        invalid(format!("/url is not an absolute URL: {e}{hint}"))
    })?;
    url.set_fragment(None);
    if !query.is_empty() && !url.cannot_be_a_base() {
        let mut pairs = url.query_pairs_mut();
        for (name, value) in query {
            append(&mut pairs, name, value, 0)?;
        }
    }
    if url.as_str().len() > MAX_URL_BYTES {
        return Err(invalid(format!("/url has {} bytes: expected at most {MAX_URL_BYTES}", url.as_str().len())));
    }
    Ok(url)
}

fn append(
    pairs: &mut url::form_urlencoded::Serializer<'_, url::UrlQuery<'_>>,
    name: &str,
    value: &QueryValue,
    depth: usize,
) -> Result<(), Failure> {
    match value {
        QueryValue::Text(text) => pairs.append_pair(name, text),
        QueryValue::Integer(number) => pairs.append_pair(name, &number.to_string()),
        QueryValue::Number(number) => pairs.append_pair(name, &number.to_string()),
        QueryValue::Boolean(flag) => pairs.append_pair(name, &flag.to_string()),
        QueryValue::List(_) if depth > 0 => return Err(invalid(format!("/query/{name} is a list within a list"))),
        QueryValue::List(items) => return items.iter().try_for_each(|item| append(pairs, name, item, depth + 1)),
    };
    Ok(())
}

fn body(body: Value) -> Result<(Option<Vec<u8>>, Option<HeaderValue>), Failure> {
    let (bytes, content_type) = match body {
        Value::Null => return Ok((None, None)),
        Value::String(text) => (text.into_bytes(), "text/plain; charset=utf-8"),
        json => (json.to_string().into_bytes(), "application/json"),
    };
    if bytes.len() > MAX_BYTES {
        let message = format!("/body has {} bytes: expected at most {MAX_BYTES}", bytes.len());
        return Err(Failure::new(codes::PAYLOAD_TOO_LARGE, message));
    }
    Ok((Some(bytes), Some(HeaderValue::from_static(content_type))))
}

fn headers(given: &BTreeMap<String, String>) -> Result<HeaderMap, Failure> {
    if given.len() > MAX_HEADERS {
        return Err(invalid(format!("/headers has {} headers: expected at most {MAX_HEADERS}", given.len())));
    }
    let mut headers = HeaderMap::new();
    let mut bytes = 0;
    for (name, value) in given {
        let header = header_name("headers", name)?;
        if CONNECTION_HEADERS.contains(&header.as_str()) {
            return Err(invalid(format!("/headers/{name} can't be set: it belongs to the connection")));
        }
        bytes += name.len() + value.len();
        // A bad value is not repeated in the message: headers carry credentials.
        let value = HeaderValue::from_str(value)
            .map_err(|_| invalid(format!("/headers/{name} has a value with line ends or control characters")))?;
        if headers.insert(header, value).is_some() {
            return Err(invalid(format!("/headers/{name} is there twice, in different letter case")));
        }
    }
    if bytes > MAX_HEADER_BYTES {
        return Err(invalid(format!("/headers has {bytes} bytes: expected at most {MAX_HEADER_BYTES}")));
    }
    Ok(headers)
}

fn header_name(field: &str, name: &str) -> Result<HeaderName, Failure> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        let short: String = name.chars().take(80).collect();
        invalid(format!("/{field} names {short:?}, which is not a header name"))
    })
}
