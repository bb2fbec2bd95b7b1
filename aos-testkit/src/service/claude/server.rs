//! The server: from the bytes of a request to those of its answer.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aos_core::time::Timestamp;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::account::{Entry, Ledger, Record, Usage};
use super::answer;
use super::connection::{Body, Dropped, Last, Piece, Socket};
use super::error::ApiError;
use super::latency::Latency;
use super::limits::{Demand, Headers, Limiter};
use super::message::Message;
use super::model::Model;
use super::reply::{End, Made, Reply, Script};
use super::request::{Endpoint, Request};
use super::rule::Book;
use super::{ORGANISATION, validate};

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
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(ApiError::request_too_large()),
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

/// What was made of a reply.
struct Product {
    status: u16,
    content_type: String,
    /// The parts of the body: an event each, when they are events.
    parts: Vec<String>,
    usage: Usage,
    headers: Headers,
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
            Ok(Judged { reply, input_tokens, demand }) => {
                let product = self.make(&reply, request, input_tokens, &request_id);
                let limits = demand.map(|max_tokens| self.settle(request, input_tokens, max_tokens, &product.usage));
                (reply, product, limits.unwrap_or_default(), request.endpoint == Endpoint::Messages)
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
        let headers = headers(&record.request_id, &made, &limits, &reply.headers);
        let entry = lock(&self.ledger).note(record, accepted, self.keep, self.started);
        let (pieces, length) = pieces(made, &reply);
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
        let scripted = || lock(&self.book).answer(request);
        let shown = |value: &Value| Judged::free(Reply::raw(200, "application/json", value.to_string()));
        let model = |id: &str| self.models.iter().find(|model| model.id == id);
        match request.endpoint {
            Endpoint::Unknown => Err(plain(ApiError::not_found("Not Found"))),
            Endpoint::Models => match scripted() {
                Some(reply) => Ok(Judged::free(reply)),
                None => page(&self.models, &request.query).map(|page| shown(&page)).map_err(plain),
            },
            Endpoint::Model => match (scripted(), request.path.rsplit('/').next().and_then(model)) {
                (Some(reply), _) => Ok(Judged::free(reply)),
                (None, Some(model)) => Ok(shown(&model.json())),
                (None, None) => {
                    let id = request.path.rsplit('/').next().unwrap_or_default();
                    Err(plain(ApiError::not_found(format!("model: {id}"))))
                }
            },
            Endpoint::CountTokens => {
                let (_, input_tokens) = validate::messages(&request.body, version, true, model).map_err(plain)?;
                Ok(scripted().map_or_else(|| shown(&json!({"input_tokens": input_tokens})), Judged::free))
            }
            Endpoint::Messages => {
                let (_, input_tokens) = validate::messages(&request.body, version, false, model).map_err(plain)?;
                let max_tokens = request.body["max_tokens"].as_u64().unwrap_or_default();
                if let Some(demand) = demand(request, input_tokens, max_tokens) {
                    lock(&self.limiter).admit(&demand, self.started.elapsed(), clock())?;
                }
                let reply = scripted().unwrap_or_else(Reply::echo);
                Ok(Judged { reply, input_tokens, demand: Some(max_tokens) })
            }
        }
    }

    /// Corrects the limits by what was written.
    fn settle(&self, request: &Request, input_tokens: u64, max_tokens: u64, usage: &Usage) -> Headers {
        let Some(demand) = demand(request, input_tokens, max_tokens) else { return Headers::new() };
        lock(&self.limiter).settle(&demand, usage.output_tokens, self.started.elapsed(), clock())
    }

    fn make(&self, reply: &Reply, request: &Request, input_tokens: u64, request_id: &str) -> Product {
        let made = match &reply.made {
            Made::Message(script) => message(script, request, input_tokens),
            Made::Error(error) => Err(error.clone()),
            Made::Raw { status, content_type, body } => {
                return Product {
                    status: *status,
                    content_type: content_type.clone(),
                    parts: vec![body.clone()],
                    usage: Usage::default(),
                    headers: Headers::new(),
                };
            }
        };
        match (made, &reply.made) {
            (Err(error), _) => Product::error(&error, request_id),
            (Ok(message), Made::Message(script)) if request.stream() => {
                let (events, usage) = message.events(script, request_id);
                let parts = events.into_iter().map(|event| event.text).collect();
                Product::of("text/event-stream; charset=utf-8", parts, usage)
            }
            (Ok(message), _) => Product::of("application/json", vec![message.json().to_string()], message.usage),
        }
    }
}

/// What becomes of a request that is not refused.
struct Judged {
    reply: Reply,
    input_tokens: u64,
    /// `max_tokens` of a request that the limits have to know.
    demand: Option<u64>,
}

impl Judged {
    const fn free(reply: Reply) -> Self {
        Self { reply, input_tokens: 0, demand: None }
    }
}

impl Product {
    fn of(content_type: &str, parts: Vec<String>, usage: Usage) -> Self {
        Self { status: 200, content_type: content_type.to_owned(), parts, usage, headers: Headers::new() }
    }

    fn error(error: &ApiError, request_id: &str) -> Self {
        let retry_after = error.retry_after.map(|seconds| ("retry-after".to_owned(), seconds.to_string()));
        let should_retry = error.should_retry.map(|should| ("x-should-retry".to_owned(), should.to_string()));
        let product = Self::of("application/json", vec![error.body(request_id).to_string()], Usage::default());
        Self { status: error.status, headers: retry_after.into_iter().chain(should_retry).collect(), ..product }
    }
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

/// The message of a script, with everything it leaves open as a function of the request.
fn message(script: &Script, request: &Request, input_tokens: u64) -> Result<Message, ApiError> {
    if let Some((_, error)) = script.error_after.as_ref().filter(|_| !request.stream()) {
        return Err(error.clone());
    }
    let (mut content, mut stop_reason, stop_sequence) = match &script.content {
        None => {
            let answer = answer::to(request)?;
            (answer.content, answer.stop_reason.to_owned(), answer.stop_sequence)
        }
        Some(content) => {
            let calls = content.iter().any(|block| block["type"] == "tool_use");
            (content.clone(), if calls { "tool_use" } else { "end_turn" }.to_owned(), None)
        }
    };
    for (index, block) in content.iter_mut().enumerate() {
        if block["type"] == "tool_use" && block.get("id").is_none() {
            block["id"] = format!("toolu_01{:018}{index:04}", request.number).into();
        }
    }
    if let Some(reason) = &script.stop_reason {
        stop_reason.clone_from(reason);
    }
    let usage = script.usage.unwrap_or_else(|| {
        let written = |block: &&Value| super::tokens::of_block(block);
        let thought = content.iter().filter(|block| block["type"] == "thinking");
        Usage {
            thinking_tokens: thought.map(|block| written(&block)).sum(),
            ..Usage::new(input_tokens, content.iter().map(|block| written(&block)).sum())
        }
    });
    let id = format!("msg_01{:022}", request.number);
    Ok(Message { id, model: request.model().to_owned(), content, stop_reason, stop_sequence, usage })
}

/// A page of `GET /v1/models`.
fn page(models: &[Model], query: &str) -> Result<Value, ApiError> {
    let parameter = |name: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
    let limit = match parameter("limit").map(|(_, value)| value.parse::<usize>()) {
        None => 20,
        Some(Ok(limit)) if (1..=1_000).contains(&limit) => limit,
        Some(_) => return Err(ApiError::invalid_request("limit: Input should be between 1 and 1000")),
    };
    let position = |name| {
        let Some((_, id)) = parameter(name) else { return Ok(None) };
        let position = models.iter().position(|model| model.id == id);
        position.map(Some).ok_or_else(|| ApiError::invalid_request(format!("{name}: {id} is not a model")))
    };
    let (after, before) = (position("after_id")?, position("before_id")?);
    let (from, to) = match (after, before) {
        (Some(after), _) => (after + 1, models.len()),
        (None, Some(before)) => (before.saturating_sub(limit), before),
        (None, None) => (0, models.len()),
    };
    let shown = &models[from..to.min(from + limit)];
    let has_more = if before.is_some() { from > 0 } else { from + shown.len() < models.len() };
    Ok(json!({
        "data": shown.iter().map(Model::json).collect::<Vec<_>>(),
        "has_more": has_more,
        "first_id": shown.first().map(|model| &model.id),
        "last_id": shown.last().map(|model| &model.id)
    }))
}

fn headers(request_id: &str, product: &Product, limits: &Headers, more: &Headers) -> HeaderMap {
    let own = [
        ("content-type", product.content_type.as_str()),
        ("request-id", request_id),
        ("anthropic-organization-id", ORGANISATION),
    ];
    let mut headers = HeaderMap::with_capacity(own.len() + limits.len() + more.len());
    let given = product.headers.iter().chain(limits).chain(more).map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in own.into_iter().chain(given) {
        // What can't be sent is left out.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    headers
}

/// The parts of a body with the waits between them, and the length to announce.
fn pieces(product: Product, reply: &Reply) -> (VecDeque<Piece>, Option<u64>) {
    let streamed = product.content_type.starts_with("text/event-stream");
    let length = product.parts.iter().map(String::len).sum::<usize>() as u64;
    let mut pieces: VecDeque<Piece> = match (reply.trickle, streamed && !reply.event_delay.is_zero()) {
        (Some((bytes, after)), _) => {
            let all = Bytes::from(product.parts.concat());
            let starts = (0..all.len()).step_by(bytes.max(1));
            starts.map(|start| Piece { after, bytes: all.slice(start..all.len().min(start + bytes.max(1))) }).collect()
        }
        (None, true) => {
            product.parts.into_iter().map(|part| Piece { after: reply.event_delay, bytes: part.into() }).collect()
        }
        (None, false) => [Piece { after: Duration::ZERO, bytes: product.parts.concat().into() }].into(),
    };
    if let End::Cut(bytes) | End::Reset(bytes) | End::Stall(bytes) = reply.end {
        let mut left = bytes;
        for piece in &mut pieces {
            piece.bytes.truncate(left);
            left -= piece.bytes.len();
        }
    }
    pieces.retain(|piece| !piece.bytes.is_empty());
    (pieces, (!streamed).then_some(length))
}

fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.saturating_add(since)
}
