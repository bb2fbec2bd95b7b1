//! The server: from the bytes of a request to those of its answer.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aos_core::time::Timestamp;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::account::{Entry, Ledger, Record, Usage};
use super::connection::{Body, Dropped, Last, Piece, Socket};
use super::error::ApiError;
use super::latency::Latency;
use super::limits::{Demand, Headers, Limiter};
use super::model::{Model, page};
use super::product::Product;
use super::reply::{End, Made, Reply};
use super::request::{Endpoint, Request};
use super::rule::Book;
use super::validate;

/// The most bytes of a request.
const MOST_BYTES: usize = 32 << 20;

/// What all connections share.
pub(super) struct Shared {
    pub(super) started: Instant,
    pub(super) models: Vec<Model>,
    pub(super) keep: usize,
    pub(super) latency: Latency,
    /// Key and label.
    pub(super) keys: Mutex<Vec<(String, Arc<str>)>>,
    pub(super) book: Mutex<Book>,
    pub(super) limiter: Mutex<Limiter>,
    pub(super) ledger: Mutex<Ledger>,
    pub(super) requests: Mutex<VecDeque<Arc<Request>>>,
    /// How often a request has come, for random latencies.
    pub(super) repeats: Mutex<HashMap<u64, u64>>,
    pub(super) number: AtomicU64,
    /// How many of the next connections are reset at once.
    pub(super) resets: AtomicU64,
}

/// The states are consistent whoever panicked while holding one.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Accepts connections for ever.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, for one: it may be better in a moment.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let (socket, reset) = Socket::new(stream);
        let take = |left: u64| left.checked_sub(1);
        if shared.resets.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok() {
            reset.store(true, Ordering::Release);
            continue;
        }
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| serve(Arc::clone(&shared), Arc::clone(&reset), request));
            // A client that goes away is no error of the mock.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn serve(
    shared: Arc<Shared>,
    reset: Arc<AtomicBool>,
    request: hyper::Request<Incoming>,
) -> Result<Response<Body>, Dropped> {
    let (parts, body) = request.into_parts();
    let bytes = match Limited::new(body, MOST_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::request_too_large()),
        // The client has gone.
        Err(_) => return Err(Dropped),
    };
    let (request, error) = shared.request(parts, bytes);
    let answer = shared.answer(&request, error);
    if !answer.delay.is_zero() {
        tokio::time::sleep(answer.delay).await;
    }
    match answer.end {
        End::NoneClosed => Err(Dropped),
        End::NoneReset => {
            reset.store(true, Ordering::Release);
            Err(Dropped)
        }
        _ => Ok(answer.response(reset)),
    }
}

/// An answer that is decided and noted.
struct Answer {
    status: u16,
    headers: HeaderMap,
    pieces: VecDeque<Piece>,
    length: Option<u64>,
    delay: Duration,
    end: End,
    entry: Arc<Entry>,
}

impl Shared {
    /// Reads a request; the error says why that came to nothing.
    fn request(&self, parts: Parts, bytes: Result<Bytes, ApiError>) -> (Arc<Request>, Option<ApiError>) {
        let (endpoint, misrouted) = match route(&parts.method, parts.uri.path()) {
            Ok(endpoint) => (endpoint, None),
            Err(error) => (Endpoint::Unknown, Some(error)),
        };
        let (bytes, too_large) = match bytes {
            Ok(bytes) => (bytes, None),
            Err(error) => (Bytes::new(), Some(error)),
        };
        let (body, unreadable) = match serde_json::from_slice(&bytes) {
            Ok(body) => (body, None),
            Err(error) if parts.method == Method::POST => {
                (Value::Null, Some(ApiError::invalid_request(format!("The request body is not valid JSON: {error}"))))
            }
            Err(_) => (Value::Null, None),
        };
        let mut headers = parts.headers;
        let (key, unknown) = match self.key(&headers) {
            Ok(label) => (Some(label), None),
            Err(error) => (None, Some(error)),
        };
        for secret in ["x-api-key", "authorization"] {
            if let Some(value) = headers.get_mut(secret) {
                value.set_sensitive(true);
            }
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let request = Arc::new(Request { number, endpoint, path, query, key, headers, bytes, body });
        if self.keep > 0 {
            let mut requests = lock(&self.requests);
            if requests.len() >= self.keep {
                requests.pop_front();
            }
            requests.push_back(Arc::clone(&request));
        }
        (request, too_large.or(unknown).or(misrouted).or(unreadable))
    }

    /// The label of the key in the headers.
    fn key(&self, headers: &HeaderMap) -> Result<Arc<str>, ApiError> {
        let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
        let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let (key, wrong) = match (text("x-api-key"), bearer) {
            (Some(key), _) => (key, "invalid x-api-key"),
            (None, Some(key)) => (key, "Invalid bearer token"),
            (None, None) => return Err(ApiError::authentication("x-api-key header is required")),
        };
        let keys = lock(&self.keys);
        let found = keys.iter().find(|(known, _)| known == key);
        found.map(|(_, label)| Arc::clone(label)).ok_or_else(|| ApiError::authentication(wrong))
    }

    /// Decides about a request and notes what it gets.
    fn answer(&self, request: &Request, error: Option<ApiError>) -> Answer {
        let request_id = format!("req_011{:021}", request.number);
        let judged = error.map_or_else(|| self.judge(request), |error| Err((error, Headers::new())));
        let (reply, made, limits, accepted) = match judged {
            Ok(Judged { reply, input_tokens, max_tokens }) => {
                let product = Product::of(&reply, request, input_tokens, &request_id);
                let limits =
                    max_tokens.map(|max_tokens| self.settle(request, input_tokens, max_tokens, &product.usage));
                (reply, product, limits.unwrap_or_default(), max_tokens.is_some())
            }
            Err((error, limits)) => {
                let product = Product::error(&error, &request_id);
                (Reply::error(error), product, limits, false)
            }
        };
        let answered = !matches!(reply.end, End::NoneClosed | End::NoneReset);
        let record = Record {
            number: request.number,
            at: Duration::ZERO,
            endpoint: request.endpoint,
            key: request.key.clone(),
            model: request.model().to_owned(),
            status: answered.then_some(made.status),
            request_id,
            usage: made.usage,
            whole: false,
        };
        let headers = made.headers(&record.request_id, &limits, &reply.headers);
        let entry = lock(&self.ledger).note(record, accepted, self.keep, self.started);
        let (pieces, length) = made.pieces(&reply);
        let delay = reply.delay.unwrap_or_else(|| self.latency.of(request, &self.repeats));
        Answer {
            status: entry.record.status.unwrap_or_default(),
            headers,
            pieces,
            length,
            delay,
            end: reply.end,
            entry,
        }
    }

    /// Refuses a request as the API would, or chooses its answer.
    fn judge(&self, request: &Request) -> Result<Judged, (ApiError, Headers)> {
        let plain = |error| (error, Headers::new());
        let version = validate::version(request.header("anthropic-version")).map_err(plain)?;
        let model = |id: &str| self.models.iter().find(|model| model.id == id);
        let scripted = || lock(&self.book).answer(request);
        // What a message would be elsewhere is the usual answer here, with what happens to it on its way.
        let usual = |body: Value| {
            let usual = Reply::raw(200, "application/json", body.to_string());
            let reply = match scripted() {
                Some(reply) if matches!(reply.made, Made::Message(_)) => Reply { made: usual.made, ..reply },
                Some(reply) => reply,
                None => usual,
            };
            Judged { reply, input_tokens: 0, max_tokens: None }
        };
        match request.endpoint {
            Endpoint::Unknown => Err(plain(ApiError::not_found("Not Found"))),
            Endpoint::Models => page(&self.models, &request.query).map(usual).map_err(plain),
            Endpoint::Model => {
                let id = request.path.rsplit('/').next().unwrap_or_default();
                let model = model(id).ok_or_else(|| plain(ApiError::not_found(format!("model: {id}"))))?;
                Ok(usual(model.json()))
            }
            Endpoint::CountTokens => {
                let (_, input_tokens) = validate::messages(&request.body, version, true, model).map_err(plain)?;
                Ok(usual(json!({"input_tokens": input_tokens})))
            }
            Endpoint::Messages => {
                let (_, input_tokens) = validate::messages(&request.body, version, false, model).map_err(plain)?;
                let max_tokens = request.body["max_tokens"].as_u64().unwrap_or_default();
                if let Some(demand) = demand(request, input_tokens, max_tokens) {
                    lock(&self.limiter).admit(&demand, self.started.elapsed(), clock())?;
                }
                let reply = scripted().unwrap_or_else(Reply::echo);
                Ok(Judged { reply, input_tokens, max_tokens: Some(max_tokens) })
            }
        }
    }

    /// Corrects the limits by what was written.
    fn settle(&self, request: &Request, input_tokens: u64, max_tokens: u64, usage: &Usage) -> Headers {
        let Some(demand) = demand(request, input_tokens, max_tokens) else { return Headers::new() };
        lock(&self.limiter).settle(&demand, usage.output_tokens, self.started.elapsed(), clock())
    }
}

/// What becomes of a request that is not refused.
struct Judged {
    reply: Reply,
    input_tokens: u64,
    /// For the limits; `None` for requests that these don't concern.
    max_tokens: Option<u64>,
}

impl Answer {
    fn response(self, reset: Arc<AtomicBool>) -> Response<Body> {
        let last = match self.end {
            End::Cut(_) => Last::Close,
            End::Reset(_) => Last::Reset,
            End::Stall(_) => Last::Stall,
            _ => Last::End,
        };
        let body = Body::new(self.pieces, self.length, last, self.entry, reset);
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = self.headers;
        response
    }
}

fn route(method: &Method, path: &str) -> Result<Endpoint, ApiError> {
    let endpoint = match path {
        "/v1/messages" => Endpoint::Messages,
        "/v1/messages/count_tokens" => Endpoint::CountTokens,
        "/v1/models" => Endpoint::Models,
        _ if path.strip_prefix("/v1/models/").is_some_and(|id| !id.is_empty() && !id.contains('/')) => Endpoint::Model,
        _ => return Err(ApiError::not_found("Not Found")),
    };
    let expected = match endpoint {
        Endpoint::Messages | Endpoint::CountTokens => Method::POST,
        _ => Method::GET,
    };
    if *method == expected {
        Ok(endpoint)
    } else {
        Err(ApiError::new(405, "invalid_request_error", "Method Not Allowed"))
    }
}

fn demand(request: &Request, input_tokens: u64, max_tokens: u64) -> Option<Demand<'_>> {
    Some(Demand { key: request.key.as_ref()?, model: request.model(), input_tokens, max_tokens })
}

fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.saturating_add(since)
}
