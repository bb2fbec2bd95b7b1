//! Request bodies: bounded in size, time and depth, JSON or YAML by content type.

use std::time::Duration;

use aos_core::{Failure, codes, json};
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
    /// As [`json::parse`] and [`yaml_value`](aos_core::workflow::yaml_value), about the body.
    pub fn value(&self) -> Result<Value, Failure> {
        let value = match self.format {
            Format::Json => json::parse(&self.text),
            Format::Yaml => definition::yaml(&self.text),
        };
        value.map_err(|failure| Failure { message: format!("the body: {}", failure.message), ..failure })
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

/// The body of a request, whole.
pub(super) async fn read(request: Request) -> ApiResult<Bytes> {
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
