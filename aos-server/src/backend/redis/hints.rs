//! Hints between processes: what changed, so that whoever waits for it looks at once.
//!
//! A hint that is lost costs the time until the next poll and nothing else. So telling never waits and never fails:
//! hints are put into a set, and one task sends what is in it every few milliseconds, each hint once.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aos_core::id::{EffectId, RunId, TenantId};
use futures::StreamExt;
use redis::RedisResult;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::connection::Link;
use super::jitter::Jitter;
use crate::llm::Pieces;

/// What is told within this time is told once.
const GATHER: Duration = Duration::from_millis(5);

/// Hints that wait to be sent; more are lost.
const MAX_WAITING: usize = 10_000;

/// How long connecting and subscribing may take, and an answer on that connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often to ask whether the other end is still there: nothing else would tell silence from a dead connection.
const ASK: Duration = Duration::from_secs(5);

/// Work is heard of within this time, by one process sooner and by another one later: there may be one run and a
/// hundred workers.
const SPREAD: Duration = Duration::from_millis(20);

/// The longest pause between two tries to subscribe.
const PAUSE: Duration = Duration::from_secs(1);

/// Something that others may want to know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hint {
    /// There may be runs to claim.
    Work,
    /// A run has ended, or got a message.
    Run(TenantId, RunId),
    /// A run has got further.
    Entries(RunId),
    /// A tenant's registry has changed.
    Registry(TenantId),
    /// A switch was turned.
    Switches,
    /// A model has written more of an answer.
    Written(Pieces),
}

/// Where hints are told and heard. Cheap to clone; what was told is sent as long as a clone lives.
#[derive(Clone)]
pub struct Hints {
    outbox: Arc<Outbox>,
    _sender: Arc<DropGuard>,
}

struct Outbox {
    link: Link,
    channel: String,
    /// Tells this process's own hints from those of others.
    me: String,
    waiting: Mutex<BTreeSet<Hint>>,
    told: Notify,
}

impl Hints {
    /// Hints by way of the Redis at the other end: among those who use the same database of it.
    pub fn new(link: Link) -> Self {
        // Channels know no databases.
        let channel = format!("aos:hints:{}", link.client().get_connection_info().redis_settings().db());
        let me = Uuid::new_v4().simple().to_string();
        let outbox = Arc::new(Outbox { link, channel, me, waiting: Mutex::default(), told: Notify::new() });
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(send(Arc::clone(&outbox))));
        Self { outbox, _sender: Arc::new(stop.drop_guard()) }
    }

    /// Tells the others, soon and if it can be done.
    pub fn tell(&self, hint: Hint) {
        let mut waiting = self.outbox.waiting();
        if waiting.len() < MAX_WAITING && waiting.insert(hint) {
            drop(waiting);
            self.outbox.told.notify_one();
        }
    }

    /// Hears what other processes tell, on a connection of its own, for as long as it is polled.
    pub async fn listen(&self, hear: impl Fn(Hint)) {
        let mut jitter = Jitter::new();
        loop {
            self.outbox.link.up().await;
            if let Err(error) = self.outbox.listen(&mut jitter, &hear).await {
                tracing::debug!(%error, "the connection that hears hints is lost; connecting anew");
            }
            sleep(jitter.up_to(PAUSE)).await;
        }
    }
}

async fn send(outbox: Arc<Outbox>) {
    loop {
        outbox.told.notified().await;
        sleep(GATHER).await;
        let hints = std::mem::take(&mut *outbox.waiting());
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(&outbox.channel).arg(outbox.message(&hints));
        let sent = outbox.link.call(|mut connection| async move { publish.exec_async(&mut connection).await });
        if let Err(trouble) = sent.await {
            tracing::debug!(%trouble, hints = hints.len(), "hints are lost");
        }
    }
}

impl Outbox {
    /// The sender, and one line for each hint.
    fn message(&self, hints: &BTreeSet<Hint>) -> String {
        use fmt::Write as _;
        let mut message = self.me.clone();
        for hint in hints {
            // Writing to a text can't fail.
            let _ = write!(message, "\n{hint}");
        }
        message
    }

    /// The hints of a message, unless it is one of this process. What a newer release may tell is passed over.
    fn hints<'a>(&self, message: &'a str) -> impl Iterator<Item = Hint> + use<'a> {
        let mut lines = message.lines();
        let mine = lines.next() == Some(&self.me);
        lines.filter(move |_| !mine).filter_map(parse)
    }

    async fn listen(&self, jitter: &mut Jitter, hear: &impl Fn(Hint)) -> RedisResult<()> {
        let subscribing = async {
            let mut connection = self.link.client().get_async_pubsub().await?;
            connection.subscribe(&self.channel).await?;
            RedisResult::Ok(connection.split())
        };
        let (mut sink, mut stream) = timeout(PATIENCE, subscribing).await.map_err(late)??;
        let mut work_at = None;
        loop {
            tokio::select! {
                message = stream.next() => {
                    let Some(message) = message else { return Ok(()) };
                    let text = std::str::from_utf8(message.get_payload_bytes()).unwrap_or_default();
                    for hint in self.hints(text) {
                        match hint {
                            Hint::Work => drop(work_at.get_or_insert_with(|| Instant::now() + jitter.below(SPREAD))),
                            hint => hear(hint),
                        }
                    }
                }
                () = sleep_until(work_at.unwrap_or_else(Instant::now)), if work_at.is_some() => {
                    work_at = None;
                    hear(Hint::Work);
                }
                () = sleep(ASK) => {
                    timeout(PATIENCE, sink.ping::<redis::Value>()).await.map_err(late)?.map(drop)?;
                }
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeSet<Hint>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn late(_: tokio::time::error::Elapsed) -> std::io::Error {
    std::io::ErrorKind::TimedOut.into()
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work => f.write_str("work"),
            Self::Run(tenant, run) => write!(f, "run {tenant} {run}"),
            Self::Entries(run) => write!(f, "entries {run}"),
            Self::Registry(tenant) => write!(f, "registry {tenant}"),
            Self::Switches => f.write_str("switches"),
            Self::Written(Pieces { run, effect, attempt, seq, deltas }) => {
                write!(f, "written {run} {effect} {attempt} {seq} {deltas}")
            }
        }
    }
}

fn parse(line: &str) -> Option<Hint> {
    if let Some(written) = line.strip_prefix("written ") {
        let mut words = written.splitn(5, ' ');
        return Some(Hint::Written(Pieces {
            run: RunId::new(words.next()?).ok()?,
            effect: EffectId::new(words.next()?).ok()?,
            attempt: words.next()?.parse().ok()?,
            seq: words.next()?.parse().ok()?,
            // JSON has no line feed in it.
            deltas: words.next()?.to_owned(),
        }));
    }
    let mut words = line.split(' ');
    let hint = match words.next()? {
        "work" => Hint::Work,
        "run" => Hint::Run(TenantId::new(words.next()?).ok()?, RunId::new(words.next()?).ok()?),
        "entries" => Hint::Entries(RunId::new(words.next()?).ok()?),
        "registry" => Hint::Registry(TenantId::new(words.next()?).ok()?),
        "switches" => Hint::Switches,
        _ => return None,
    };
    words.next().is_none().then_some(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_read_as_they_were_written_and_nothing_else_is() {
        let tenant = TenantId::default();
        for hint in [
            Hint::Work,
            Hint::Run(tenant.clone(), RunId::new("0193-a.b_c").unwrap()),
            Hint::Entries(RunId::new("1").unwrap()),
            Hint::Registry(tenant),
            Hint::Switches,
            Hint::Written(Pieces {
                run: RunId::new("r").unwrap(),
                effect: EffectId::new("ask[1]/x").unwrap(),
                attempt: 2,
                seq: 3,
                deltas: r#"[{"type":"text","block":0,"text":"a  b\n"}]"#.into(),
            }),
        ] {
            assert_eq!(parse(&hint.to_string()), Some(hint));
        }
        for text in [
            "",
            "work ",
            "run",
            "run default",
            "run default a b",
            "run a/b c",
            "entries",
            "registry",
            "later",
            "Work",
            "written r e 1 x []",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
