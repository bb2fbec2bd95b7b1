//! One exchange: requests from redirect to redirect, each judged, then the answer within its bounds.

use std::time::Instant;

use aos_core::Failure;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, LOCATION};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::client::Clients;
use super::input::Request;
use super::output::{self, Output};
use super::{body, failure};

/// How much of an error's body goes into a failure.
const EXCERPT_BYTES: usize = 2_048;

/// Request headers that may follow a redirect to another origin: they can't be credentials.
const HARMLESS_HEADERS: &[&str] = &[
    "accept",
    "accept-language",
    "cache-control",
    "content-language",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    "user-agent",
];

/// Carries out a request within its time.
pub(super) async fn run(clients: &Clients, request: Request) -> Result<Output, Failure> {
    let (method, url, timeout) = (request.method.clone(), request.url.clone(), request.timeout);
    match tokio::time::timeout(timeout, exchange(clients, request)).await {
        Ok(result) => result,
        Err(_) => Err(failure::timed_out(timeout, &method, &url)),
    }
}

async fn exchange(clients: &Clients, mut request: Request) -> Result<Output, Failure> {
    let began = Instant::now();
    let mut redirects = 0;
    let mut response = loop {
        let response = send(clients, &request).await?;
        let Some(target) = redirect_target(&response, &request)? else { break response };
        if request.max_redirects == 0 {
            break response;
        }
        if redirects == request.max_redirects {
            let why = format!("redirects more than {} times", request.max_redirects);
            return Err(failure::redirect(&why, &request.url));
        }
        redirects += 1;
        follow(&mut request, response.status(), target);
    };
    let status = response.status();
    if !is_expected(status, &request.expect_status) {
        // The excerpt is a courtesy: an error while reading it must not hide the status.
        let bytes = read(&mut response, EXCERPT_BYTES, &request).await.unwrap_or_else(|(_, partial)| partial);
        let excerpt = body::excerpt(&bytes, EXCERPT_BYTES);
        return Err(failure::status(status, response.headers(), &excerpt, &request.method, &request.url));
    }
    let bytes = read(&mut response, request.max_bytes, &request).await.map_err(|(failure, _)| failure)?;
    let headers = response.headers();
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let body = body::read(&bytes, content_type);
    Ok(Output {
        status: status.as_u16(),
        headers: output::select(headers, &request.response_headers),
        url: request.url.into(),
        redirects,
        body_kind: body.kind,
        body: body.value,
        body_base64: body.base64,
        body_bytes: bytes.len(),
        charset: body.charset.map(str::to_owned),
        json_error: body.json_error,
        elapsed_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

async fn send(clients: &Clients, request: &Request) -> Result<Response, Failure> {
    clients.guard.url(&request.url).map_err(|why| failure::blocked(&why, &request.url))?;
    let mut builder = clients
        .for_url(&request.url)
        .request(request.method.clone(), request.url.clone())
        .headers(request.headers.clone());
    if let Some(body) = &request.body {
        builder = builder.body(body.clone());
    }
    builder.send().await.map_err(|e| failure::failed(&e, &request.method, &request.url))
}

/// Where a redirect leads; `None` for every other answer.
fn redirect_target(response: &Response, request: &Request) -> Result<Option<Url>, Failure> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) || request.max_redirects == 0 {
        return Ok(None);
    }
    let Some(location) = response.headers().get(LOCATION) else { return Ok(None) };
    let location = String::from_utf8_lossy(location.as_bytes());
    let mut target = request
        .url
        .join(&location)
        .map_err(|e| failure::redirect(&format!("redirects to something that is not a URL: {e}"), &request.url))?;
    target.set_fragment(None);
    Ok(Some(target))
}

/// Turns a request into the one that follows the redirect, as the Fetch standard has it.
fn follow(request: &mut Request, status: StatusCode, target: Url) {
    let becomes_get = match status.as_u16() {
        301 | 302 => request.method == Method::POST,
        303 => !matches!(request.method, Method::GET | Method::HEAD),
        _ => false,
    };
    if becomes_get {
        request.method = Method::GET;
        request.body = None;
        for name in ["content-type", "content-language", "content-encoding", "content-location", "idempotency-key"] {
            request.headers.remove(name);
        }
    }
    if request.url.origin() != target.origin() {
        request.headers = harmless(&request.headers);
    }
    request.url = target;
}

fn harmless(headers: &HeaderMap) -> HeaderMap {
    let known = |name: &HeaderName| HARMLESS_HEADERS.contains(&name.as_str());
    headers.iter().filter(|(name, _)| known(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn is_expected(status: StatusCode, expected: &[u16]) -> bool {
    if expected.is_empty() { status.as_u16() < 400 } else { expected.contains(&status.as_u16()) }
}

/// Reads a body chunk by chunk, counting bytes after decompression. A failure comes with what was read before it.
async fn read(response: &mut Response, max: usize, request: &Request) -> Result<Vec<u8>, (Failure, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                bytes.extend_from_slice(&chunk);
                if bytes.len() > max {
                    return Err((failure::too_large(max, &request.url), bytes));
                }
            }
            Ok(None) => return Ok(bytes),
            Err(e) => return Err((failure::failed(&e, &request.method, &request.url), bytes)),
        }
    }
}
