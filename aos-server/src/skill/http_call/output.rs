//! What `http_call` gives.

use std::collections::BTreeMap;

use reqwest::header::{HeaderMap, HeaderName};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// Response headers that are returned when a server sends them. Cookies are not: they are credentials.
const HEADERS: &[&str] = &[
    "age",
    "cache-control",
    "content-disposition",
    "content-language",
    "content-type",
    "date",
    "etag",
    "expires",
    "last-modified",
    "link",
    "location",
    "retry-after",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-request-id",
];

/// Those of them that differ from call to call without meaning.
pub(super) const VOLATILE_HEADERS: &[&str] =
    &["age", "date", "expires", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-request-id"];

/// The output of `http_call`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// Response status.
    pub status: u16,
    /// Selected response headers, names in lower case; repeated ones joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// The URL that answered, after redirects.
    pub url: String,
    /// How many redirects were followed.
    pub redirects: u32,
    /// What `body` holds.
    pub body_kind: BodyKind,
    /// The body: a JSON value, a text, or null when it is empty or binary.
    pub body: Value,
    /// A binary body in base64 (RFC 4648, padded).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// Length of the body in bytes after decompression.
    pub body_bytes: usize,
    /// The encoding a text was read with, as the Encoding Standard names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// Why a body that calls itself JSON is given as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_error: Option<String>,
    /// How long the exchange took, in milliseconds. Not part of the content hash.
    pub elapsed_ms: u64,
}

/// What a response body was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyKind {
    /// There was none.
    Empty,
    /// JSON, parsed.
    Json,
    /// Text, decoded.
    Text,
    /// Bytes, in `body_base64`.
    Binary,
}

/// The headers to return: the usual ones and those asked for.
pub(super) fn select(headers: &HeaderMap, wanted: &[HeaderName]) -> BTreeMap<String, String> {
    let names = HEADERS.iter().copied().chain(wanted.iter().map(HeaderName::as_str));
    names
        .filter_map(|name| {
            let values: Vec<_> =
                headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()).collect();
            (!values.is_empty()).then(|| (name.to_owned(), values.join(", ")))
        })
        .collect()
}
