//! A Claude API on a free port: the Messages API with its checks, limits and errors, and with answers by script.
//!
//! What it knows is the API as of 2026-11-26, in both of its versions: `POST /v1/messages` plain and streamed,
//! `POST /v1/messages/count_tokens`, `GET /v1/models` and `GET /v1/models/{id}`. Everything else is a 404.

mod account;
mod answer;
mod connection;
mod error;
mod latency;
mod limits;
mod message;
mod model;
mod product;
mod reply;
mod request;
mod rule;
mod server;
mod tokens;
mod validate;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub use account::{Account, Peak, Record, Usage};
pub use error::ApiError;
pub use latency::Latency;
pub use limits::{Limits, Scope};
pub use model::Model;
pub use reply::Reply;
pub use request::{Endpoint, Request};
pub use rule::Rule;

use self::server::{Shared, lock};

/// The organisation of all keys.
const ORGANISATION: &str = "00000000-0000-4000-8000-000000000000";

/// A Claude API of its own. It ends, and its connections with it, when this is dropped.
///
/// # Answers
/// A request gets the next answer of the queue ([`push`](Self::push)); or that of the first [`Rule`] that applies
/// ([`on`](Self::on)); or an answer that is a function of the request:
///
/// - with `thinking` of type `enabled` or `adaptive`, it begins with a thinking block;
/// - a `tool_choice` that demands a call is obeyed, with input that conforms to the tool's schema;
/// - with `output_config.format` it is JSON that conforms to the schema;
/// - otherwise it is `Echo: ` and the last text of the last user message, or of the tool result there.
///
/// Text ends before the first of the `stop_sequences` and at `max_tokens`.
///
/// # Tokens
/// A token is four bytes; begun ones count. Input is `system`, `messages` and `tools` as JSON without spaces, together.
/// Output counts block by block: text, thinking, or a tool's name and input as JSON.
///
/// # Account
/// [`account`](Self::account) has what a provider would bill: the usage of every answer that was made, whether the client
/// got it or was gone, and nothing for errors. A streamed answer that a scripted error ends is billed as far as it came.
///
/// ```
/// use aos_testkit::service::claude::{ApiError, MockClaude, Reply, Rule};
///
/// let claude = MockClaude::start()?;
/// claude.push(Reply::error(ApiError::overloaded()));
/// claude.on(Rule::new(Reply::text("Paris")).when_text("capital of France"));
/// // … a client works against `claude.base_url()` with the key `claude.key()` …
/// assert_eq!(claude.account().requests, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct MockClaude {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Dropped, it ends the server.
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// How a [`MockClaude`] is set up.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    keys: Vec<(String, Arc<str>)>,
    models: Vec<Model>,
    latency: Latency,
    limits: Option<Limits>,
    keep: usize,
    threads: usize,
    port: u16,
}

impl Default for Builder {
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(2);
        let models = Model::known();
        Self { keys: Vec::new(), models, latency: Latency::None, limits: None, keep: 10_000, threads, port: 0 }
    }
}

impl Builder {
    /// Accepts this key, and names it `label` in records. Without any, [`MockClaude::key`] is the only one.
    pub fn key(mut self, label: &str, key: &str) -> Self {
        self.keys.push((key.to_owned(), label.into()));
        self
    }

    /// Knows this model, too, or this one in place of the one with the same id.
    pub fn model(mut self, model: Model) -> Self {
        self.models.retain(|known| known.id != model.id);
        self.models.push(model);
        self
    }

    /// Thinks so long before each answer.
    pub const fn latency(mut self, latency: Latency) -> Self {
        self.latency = latency;
        self
    }

    /// Limits rates from the start.
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Remembers so many of the last requests and records (10,000 when nothing is said). The account and the peaks are
    /// of all.
    pub const fn keep(mut self, requests: usize) -> Self {
        self.keep = requests;
        self
    }

    /// Serves with so many threads (two, or one where there is only one processor).
    pub const fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Listens on this port in place of a free one.
    pub const fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    /// The port is taken, or there is no thread to be had.
    pub fn start(self) -> io::Result<MockClaude> {
        let listener = TcpListener::bind(("127.0.0.1", self.port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let mut keys = self.keys;
        if keys.is_empty() {
            keys.push((KEY.to_owned(), "default".into()));
        }
        let mut limiter = limits::Limiter::default();
        limiter.set(self.limits);
        let shared = Arc::new(Shared {
            started: Instant::now(),
            models: self.models,
            keep: self.keep,
            latency: self.latency,
            keys: Mutex::new(keys),
            book: Mutex::default(),
            limiter: Mutex::new(limiter),
            ledger: Mutex::default(),
            requests: Mutex::default(),
            repeats: Mutex::new(HashMap::new()),
            number: AtomicU64::new(0),
            resets: AtomicU64::new(0),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(self.threads.max(1))
            .thread_name("mock-claude")
            .enable_all()
            .build()?;
        let (end, ended) = oneshot::channel::<()>();
        let serving = Arc::clone(&shared);
        let thread = thread::Builder::new().name("mock-claude".into()).spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                let accepting = tokio::spawn(server::accept(listener, serving));
                let _ = ended.await;
                accepting.abort();
            });
        })?;
        Ok(MockClaude { address, shared, end: Some(end), thread: Some(thread) })
    }
}

/// The key that a mock accepts when it was given none.
const KEY: &str = "sk-ant-mock-key";

impl MockClaude {
    /// A mock with everything as it is by default.
    ///
    /// # Errors
    /// No free port.
    pub fn start() -> io::Result<Self> {
        Builder::default().start()
    }

    /// A mock that is set up otherwise.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it is: `http://127.0.0.1:PORT`, without a path, as the official SDKs want it.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key that is accepted when the builder was given none.
    pub const fn key(&self) -> &'static str {
        KEY
    }

    /// Accepts one more key, named `label` in records.
    pub fn add_key(&self, label: &str, key: &str) {
        lock(&self.shared.keys).push((key.to_owned(), label.into()));
    }

    /// Accepts the keys with this label no more. Answers that are under way go on.
    pub fn revoke_key(&self, label: &str) {
        lock(&self.shared.keys).retain(|(_, known)| &**known != label);
    }

    /// Answers one more request to `/v1/messages` with this, after those that wait already.
    pub fn push(&self, reply: Reply) {
        lock(&self.shared.book).queue.push_back(reply);
    }

    /// Adds a rule after those there are. Queued answers go before all rules.
    pub fn on(&self, rule: Rule) {
        lock(&self.shared.book).rules.push(rule);
    }

    /// Forgets all rules and the answers that wait.
    pub fn clear(&self) {
        *lock(&self.shared.book) = rule::Book::default();
    }

    /// How many answers wait.
    pub fn queued(&self) -> usize {
        lock(&self.shared.book).queue.len()
    }

    /// Resets the next so many connections before anything of a request is read.
    pub fn reset_connections(&self, connections: u64) {
        self.shared.resets.store(connections, Ordering::Release);
    }

    /// Limits rates like this from now on, or not at all. What was used before does not count.
    pub fn set_limits(&self, limits: Option<Limits>) {
        lock(&self.shared.limiter).set(limits);
    }

    /// What was answered so far, and what a provider would bill for it.
    pub fn account(&self) -> Account {
        lock(&self.shared.ledger).account.clone()
    }

    /// The last requests and their answers, the oldest first. A request is here before its answer is sent.
    pub fn records(&self) -> Vec<Record> {
        lock(&self.shared.ledger).records()
    }

    /// The last requests as they came, the oldest first.
    pub fn requests(&self) -> Vec<Arc<Request>> {
        lock(&self.shared.requests).iter().cloned().collect()
    }

    /// The most that was accepted in any half-open window of that length, whatever the mock's own limits: a request to
    /// `/v1/messages` is accepted when neither the checks nor the limits refuse it, also when it gets a scripted error.
    pub fn peak_in_window(&self, window: Duration) -> Peak {
        lock(&self.shared.ledger).peak(window)
    }
}

impl Drop for MockClaude {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
