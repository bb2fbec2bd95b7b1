//! A connection that answers soon or not at all.
//!
//! Whoever asks waits 200 ms at most, and once: the first command that meets trouble opens the circuit, and from then on
//! all are told so at once, until the one task that mends the connection has seen Redis take a write again. That task
//! also looks once a second by itself, so that an outage is noticed when nobody asks.
//!
//! A connection that breaks and is whole again at the next try is nobody's business. Everything else is an outage:
//! there is one warning when it begins and one line when it is over.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, RedisResult};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::jitter::Jitter;
use super::trouble::{Trouble, TroubleKind};
use crate::telemetry::Metrics;

/// How long one call may take.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long connecting may take; nobody waits for it.
const CONNECT: Duration = Duration::from_secs(2);

/// How often to look whether Redis still takes writes.
const LOOK: Duration = Duration::from_secs(1);

/// After an outage Redis has to be well for this long before it is used again.
const CONVALESCENCE: Duration = Duration::from_millis(300);

/// The first pause between two tries, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// A connection that has lasted this long was not a bad one.
const STEADY: Duration = Duration::from_secs(5);

/// So many connections in a row that did not last are an outage, although each could be made.
const MAX_UNSTEADY: u32 = 3;

/// Commands that may wait to be sent.
const BUFFER: usize = 1_000;

/// A Redis, as far as it can be reached. Cheap to clone; the last clone ends the connection.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
    _keeper: Arc<DropGuard>,
}

struct Shared {
    client: Client,
    place: String,
    state: watch::Sender<State>,
    lost: Notify,
    metrics: Metrics,
}

#[derive(Clone)]
enum State {
    Up(MultiplexedConnection, u64),
    Down(Trouble),
}

impl Link {
    /// Begins to connect, and waits for the outcome, but no longer than `patience`. A Redis that can't be reached is no
    /// error: it may come.
    ///
    /// Needs a tokio runtime, and that runtime's timer.
    ///
    /// # Errors
    /// A URL that can't be used.
    pub async fn open(url: &str, metrics: Metrics, patience: Duration) -> Result<Self, String> {
        let client = client(url).map_err(|error| error.to_string())?;
        let place = client.get_connection_info().addr().to_string();
        let down = Trouble { kind: TroubleKind::Away, what: "no connection has been made yet".into() };
        let (state, mut changes) = watch::channel(State::Down(down));
        let shared = Arc::new(Shared { client, place, state, lost: Notify::new(), metrics });
        let stop = CancellationToken::new();
        let keeper = Keeper::new(Arc::clone(&shared));
        tokio::spawn(stop.clone().run_until_cancelled_owned(keeper.keep()));
        let _ = timeout(patience, changes.changed()).await;
        Ok(Self { shared, _keeper: Arc::new(stop.drop_guard()) })
    }

    /// Does `work` on the connection.
    ///
    /// # Errors
    /// What is wrong with Redis, after 200 ms at most; at once while it is known to be away.
    pub async fn call<T, F, W>(&self, work: W) -> Result<T, Trouble>
    where
        F: Future<Output = RedisResult<T>>,
        W: FnOnce(MultiplexedConnection) -> F,
    {
        // The borrow is a lock, and ends here.
        let state = self.shared.state.borrow().clone();
        let (connection, number) = match state {
            State::Up(connection, number) => (connection, number),
            State::Down(trouble) => return Err(trouble),
        };
        let trouble = match timeout(PATIENCE, work(connection)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Trouble::from(&error),
            Err(_) => Trouble::slow(format!("no answer within {} ms", PATIENCE.as_millis())),
        };
        if trouble.kind.concerns_all() {
            self.shared.lose(number, &trouble);
        }
        Err(trouble)
    }

    /// Asks for an answer.
    ///
    /// # Errors
    /// As [`Link::call`].
    pub async fn ping(&self) -> Result<(), Trouble> {
        self.call(|mut connection| async move { redis::cmd("PING").exec_async(&mut connection).await }).await
    }

    /// Whether Redis is there, as far as anybody knows.
    pub(super) fn is_up(&self) -> bool {
        matches!(&*self.shared.state.borrow(), State::Up(..))
    }

    /// Resolves once Redis is there.
    pub async fn up(&self) {
        let mut changes = self.shared.state.subscribe();
        // This handle keeps the sender.
        let _ = changes.wait_for(|state| matches!(state, State::Up(..))).await;
    }

    /// Host and port, or a path: never a password.
    pub fn place(&self) -> &str {
        &self.shared.place
    }

    /// Makes connections of their own, for whoever blocks one.
    pub(super) fn client(&self) -> &Client {
        &self.shared.client
    }
}

fn client(url: &str) -> RedisResult<Client> {
    let client = Client::open(url)?;
    let info = client.get_connection_info().clone();
    let redis = info.redis_settings().clone().set_lib_name("aos-server", env!("CARGO_PKG_VERSION"));
    Client::open(info.set_redis_settings(redis).set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

impl Shared {
    /// Opens the circuit, unless somebody has done so or the connection is another one by now.
    fn lose(&self, number: u64, trouble: &Trouble) {
        let lost = self.state.send_if_modified(|state| match state {
            State::Up(_, current) if *current == number => {
                *state = State::Down(trouble.clone());
                true
            }
            _ => false,
        });
        if lost {
            tracing::debug!(%trouble, "Redis failed; connecting anew");
            self.lost.notify_one();
        }
    }

    fn is_up(&self, number: u64) -> bool {
        matches!(&*self.state.borrow(), State::Up(_, current) if *current == number)
    }
}

/// The task that makes connections and says how they fare.
struct Keeper {
    shared: Arc<Shared>,
    config: AsyncConnectionConfig,
    jitter: Jitter,
    /// Connections so far.
    number: u64,
    /// Tries in a row after which Redis was not there for long, since the last outage or within this one.
    failures: u32,
    /// Since when there is an outage.
    outage: Option<Instant>,
}

impl Keeper {
    fn new(shared: Arc<Shared>) -> Self {
        // Timeouts are this module's own.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let config = config.set_pipeline_buffer_size(BUFFER);
        Self { shared, config, jitter: Jitter::new(), number: 0, failures: 0, outage: None }
    }

    async fn keep(mut self) {
        loop {
            match self.connect().await {
                Ok(connection) => {
                    let began = Instant::now();
                    self.begin(connection.clone());
                    self.watch(connection).await;
                    if began.elapsed() >= STEADY {
                        self.failures = 0;
                        // Most often somebody has closed it because it was idle.
                        continue;
                    }
                    self.failures += 1;
                    let lost = self.shared.state.borrow().clone();
                    if let (State::Down(trouble), MAX_UNSTEADY..) = (lost, self.failures) {
                        self.end(trouble);
                    }
                }
                Err(trouble) => {
                    self.failures += 1;
                    self.end(trouble);
                }
            }
            let (first, longest) = PAUSES;
            let pause = first.saturating_mul(1 << (self.failures - 1).min(10)).min(longest);
            sleep(self.jitter.up_to(pause)).await;
        }
    }

    /// A connection on which Redis takes writes.
    async fn connect(&self) -> Result<MultiplexedConnection, Trouble> {
        let connecting = self.shared.client.get_multiplexed_async_connection_with_config(&self.config);
        let connection = match timeout(CONNECT, connecting).await {
            Ok(connected) => connected.map_err(|error| Trouble::from(&error))?,
            Err(_) => return Err(Trouble::slow(format!("no connection within {} s", CONNECT.as_secs()))),
        };
        probe(&connection).await?;
        if self.outage.is_some() {
            sleep(CONVALESCENCE).await;
            probe(&connection).await?;
        }
        Ok(connection)
    }

    /// Looks at a connection until it is lost.
    async fn watch(&mut self, connection: MultiplexedConnection) {
        while self.shared.is_up(self.number) {
            tokio::select! {
                () = self.shared.lost.notified() => {}
                () = sleep(self.jitter.up_to(LOOK)) => if let Err(trouble) = probe(&connection).await {
                    self.shared.lose(self.number, &trouble);
                },
            }
        }
    }

    fn begin(&mut self, connection: MultiplexedConnection) {
        self.number += 1;
        self.shared.state.send_replace(State::Up(connection, self.number));
        if let Some(since) = self.outage.take() {
            self.failures = 0;
            self.shared.metrics.rate_limiter_degraded(false);
            tracing::info!(redis = self.shared.place, after_s = since.elapsed().as_secs_f32(), "Redis is back");
        }
    }

    fn end(&mut self, trouble: Trouble) {
        if self.outage.is_none() {
            self.outage = Some(Instant::now());
            self.shared.metrics.rate_limiter_degraded(true);
            tracing::warn!(
                redis = self.shared.place,
                error = trouble.what,
                "Redis is of no use: going on without it, with this process's share of the rate limits; {}",
                trouble.kind.advice()
            );
        }
        self.shared.state.send_replace(State::Down(trouble));
    }
}

/// Whether Redis runs scripts and takes writes.
async fn probe(connection: &MultiplexedConnection) -> Result<(), Trouble> {
    const SCRIPT: &str = "return redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000)";
    let mut connection = connection.clone();
    let mut probe = redis::cmd("EVAL");
    probe.arg(SCRIPT).arg(1).arg("aos:probe").arg(std::process::id());
    match timeout(PATIENCE, probe.exec_async(&mut connection)).await {
        Ok(done) => done.map_err(|error| Trouble::from(&error)),
        Err(_) => Err(Trouble::slow(format!("no answer within {} ms", PATIENCE.as_millis()))),
    }
}
