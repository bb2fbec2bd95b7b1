//! Request bodies: bounded in size, time and depth, JSON or YAML by content type.

use std::time::Duration;

use aos_core::{Failure, codes};
use axum::body::{self, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::definition;
use crate::http::problem::{ApiError, ApiResult};

/// The largest body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 10_000_000;

/// How long a caller may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a body is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json` and `…+json`.
    Json,
    /// `application/yaml` and its older names.
    Yaml,
}

/// A body as text, not parsed.
#[derive(Clone, Debug)]
pub struct Text {
    /// What it is written in.
    pub format: Format,
    /// The text.
    pub text: String,
}

/// A body that was parsed into `T`.
#[derive(Clone, Debug)]
pub struct Doc<T>(pub T);

/// A body that may be absent; `T::default()` then.
#[derive(Clone, Debug)]
pub struct MaybeDoc<T>(pub T);

impl<S: Sync> FromRequest<S> for Text {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> ApiResult<Self> {
        let format = format_of(&request)?;
        let bytes = read(request).await?;
        text(bytes, format)
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Doc<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        let text = Text::from_request(request, state).await?;
        text.parse().map(Self)
    }
}

impl<S: Sync, T: DeserializeOwned + Default> FromRequest<S> for MaybeDoc<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> ApiResult<Self> {
        let format = format_of(&request);
        let bytes = read(request).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        text(bytes, format?)?.parse().map(Self)
    }
}

impl Text {
    /// Parses the text into a JSON value.
    ///
    /// # Errors
    /// [`codes::INVALID_JSON`] or [`codes::INVALID_YAML`] with line and column, [`codes::TOO_DEEP`], and
    /// [`codes::NUMBER_OUT_OF_RANGE`] for an integer that no 64 bits hold.
    pub fn value(&self) -> Result<Value, Failure> {
        match self.format {
            Format::Json => {
                let value = serde_json::from_str(&self.text).map_err(|e| json_error(&e))?;
                huge_integer(&self.text)?;
                Ok(value)
            }
            Format::Yaml => definition::yaml(&self.text),
        }
    }

    /// Parses the text into `T`.
    ///
    /// # Errors
    /// As [`Text::value`], and [`codes::INVALID_REQUEST`] with the path of the field that does not fit.
    pub fn parse<T: DeserializeOwned>(&self) -> ApiResult<T> {
        let value = self.value()?;
        serde_path_to_error::deserialize(value).map_err(|e| {
            let path = e.path().to_string();
            let place = if path == "." { "the body".into() } else { format!("{path:?} in the body") };
            let message = format!("{place}: {}", e.inner());
            Failure::new(codes::INVALID_REQUEST, message)
                .details(serde_json::json!({ "errors": [{ "path": path, "message": e.inner().to_string() }] }))
                .into()
        })
    }
}

fn json_error(error: &serde_json::Error) -> Failure {
    let message = error.to_string();
    if message.starts_with("recursion limit exceeded") {
        return Failure::new(codes::TOO_DEEP, format!("the body nests too deep: {message}"));
    }
    Failure::new(codes::INVALID_JSON, format!("the body is not JSON: {message}"))
        .details(serde_json::json!({ "line": error.line(), "column": error.column() }))
}

/// The parser makes a float of an integer beyond 64 bits without a word, and nobody downstream could tell.
fn huge_integer(json: &str) -> Result<(), Failure> {
    /// The shortest integers that may not fit into 64 bits have this many digits.
    const SUSPICIOUS: usize = 19;
    let bytes = json.as_bytes();
    let (mut at, mut in_string) = (0, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => at += 1,
            b'0'..=b'9' if !in_string => {
                let rest = &json[at..];
                let token = rest.find(|c: char| !matches!(c, '0'..='9' | '.' | 'e' | 'E' | '+' | '-'));
                let token = &rest[..token.unwrap_or(rest.len())];
                let integer = token.bytes().all(|b| b.is_ascii_digit());
                if integer && token.len() >= SUSPICIOUS && token.parse::<u64>().is_err() {
                    let before = &json[..at];
                    let line = before.matches('\n').count() + 1;
                    let column = at - before.rfind('\n').map_or(0, |newline| newline + 1) + 1;
                    let number: String = token.chars().take(40).collect();
                    return Err(Failure::new(
                        codes::NUMBER_OUT_OF_RANGE,
                        format!(
                            "the number {number} at line {line} column {column} is beyond 2^53 - 1: send it as a string"
                        ),
                    ));
                }
                at += token.len() - 1;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

fn format_of(request: &Request) -> ApiResult<Format> {
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else {
        return Err(unsupported("the request has no content type"));
    };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" | "text/json" => Ok(Format::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" => Ok(Format::Yaml),
        other if other.starts_with("application/") && other.ends_with("+json") => Ok(Format::Json),
        other if other.starts_with("application/") && other.ends_with("+yaml") => Ok(Format::Yaml),
        other => Err(unsupported(&format!("the content type {other:?} is not supported"))),
    }
}

fn unsupported(what: &str) -> ApiError {
    let message = format!(
        "{what}: expected application/json or application/yaml, for example curl -H 'content-type: application/json'"
    );
    ApiError::invalid(message).status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
}

async fn read(request: Request) -> ApiResult<Bytes> {
    if let Some(encoding) = request.headers().get(header::CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(ApiError::invalid(format!("the body is encoded as {encoding:?}: send it as it is"))
            .status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(too_large());
    }
    let reading = body::to_bytes(request.into_body(), MAX_BODY_BYTES);
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_length_limit(&error) => Err(too_large()),
        Ok(Err(error)) => Err(ApiError::invalid(format!("the body could not be read: {error}"))),
        Err(_) => Err(ApiError::new(
            codes::TIMEOUT,
            format!("the body did not arrive within {} seconds", BODY_TIMEOUT.as_secs()),
        )
        .status(StatusCode::REQUEST_TIMEOUT)),
    }
}

fn is_length_limit(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        next = error.source();
    }
    false
}

fn too_large() -> ApiError {
    ApiError::new(codes::PAYLOAD_TOO_LARGE, format!("the body has more than {MAX_BODY_BYTES} bytes"))
}

fn text(bytes: Bytes, format: Format) -> ApiResult<Text> {
    match String::from_utf8(bytes.into()) {
        Ok(text) => Ok(Text { format, text }),
        Err(error) => {
            let code = match format {
                Format::Json => codes::INVALID_JSON,
                Format::Yaml => codes::INVALID_YAML,
            };
            Err(ApiError::new(code, format!("the body is not UTF-8: {}", error.utf8_error())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_beyond_64_bits_are_found_where_they_stand() {
        for (json, place) in [
            (r#"[1, 18446744073709551615, 1e30, 123456789012345678901234.5, "123456789012345678901234"]"#, None),
            (r#"{"a": "\\", "b": 123456789012345678901234}"#, Some("line 1 column 18")),
            ("[\"\\\"\",\n  -123456789012345678901234]", Some("line 2 column 4")),
            ("18446744073709551616", Some("line 1 column 1")),
        ] {
            assert!(serde_json::from_str::<Value>(json).is_ok(), "{json}");
            let found = huge_integer(json).map_err(|failure| failure.message);
            assert_eq!(found.is_err(), place.is_some(), "{json}");
            assert!(found.err().is_none_or(|message| message.contains(place.unwrap())), "{json}");
        }
    }
}
