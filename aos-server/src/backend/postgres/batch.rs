//! Group commit: what many callers want written at one time becomes one statement, and so one `fsync`.

use std::collections::HashSet;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aos_core::runs::StoreError;
use tokio::sync::{mpsc, oneshot};

use super::error::{Fault, closed};
use super::held::Held;
use super::session::{Connection, Pool};

/// Pieces of work in one statement, at most.
const MAX_BATCH: usize = 256;

/// Pieces of work that may wait; who comes later waits for a place.
const MAX_QUEUED: usize = 4 * MAX_BATCH;

/// Batches under way at one time, each of runs of its own: while one waits for the disk, the other is sent.
pub(super) const LANES: usize = 2;

/// How long a batch is sent again when the connection fails under it.
const RETRY_FOR: Duration = Duration::from_secs(10);

/// The pause before the second try, doubled for each one after it.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How one kind of work is written, many pieces at a time.
pub(super) trait Batch: Send + Sync + 'static {
    /// A piece of work.
    type Item: Send + Sync + 'static;
    /// What it comes to.
    type Answer: Send + 'static;
    /// What no two pieces of one statement may share.
    type Key: Eq + Hash + Send;

    /// What is being done, for messages.
    const OPERATION: &'static str;

    fn key(item: &Self::Item) -> Self::Key;

    /// Writes all of `items`, or fails as a whole. `again` says that an earlier try may have taken effect.
    fn write(
        &self,
        connection: &mut Connection,
        items: &[Self::Item],
        again: bool,
    ) -> impl Future<Output = Result<Vec<Result<Self::Answer, StoreError>>, Fault>> + Send;
}

type Reply<B> = oneshot::Sender<Result<<B as Batch>::Answer, StoreError>>;
type Work<B> = (<B as Batch>::Item, Reply<B>);

/// Collects work of one kind. What shares a key is done in the order in which it came.
pub(super) struct Queue<B: Batch> {
    lanes: Vec<mpsc::Sender<Work<B>>>,
}

impl<B: Batch> Queue<B> {
    pub(super) fn start(pool: &Pool, place: &Arc<str>, batch: B) -> Self {
        let batch = Arc::new(batch);
        let lanes = (0..LANES).map(|_| {
            let (sender, receiver) = mpsc::channel(MAX_QUEUED);
            tokio::spawn(lane(Arc::clone(&batch), Held::new(pool, place), receiver));
            sender
        });
        Self { lanes: lanes.collect() }
    }

    /// Has a piece of work done; it is done even when the future is dropped once the work is queued.
    pub(super) async fn write(&self, item: B::Item) -> Result<B::Answer, StoreError> {
        let (reply, answer) = oneshot::channel();
        let mut hasher = DefaultHasher::new();
        B::key(&item).hash(&mut hasher);
        let lane = usize::try_from(hasher.finish() % LANES as u64).unwrap_or(0);
        self.lanes[lane].send((item, reply)).await.map_err(|_| closed(B::OPERATION))?;
        answer.await.map_err(|_| closed(B::OPERATION))?
    }
}

async fn lane<B: Batch>(batch: Arc<B>, mut held: Held, mut queue: mpsc::Receiver<Work<B>>) {
    // Of several pieces with one key, the first goes now and the others in later batches.
    let mut waiting: Vec<Work<B>> = Vec::new();
    loop {
        if waiting.is_empty() {
            let Some(work) = held.until(queue.recv()).await else { return };
            waiting.push(work);
        }
        while waiting.len() < MAX_BATCH
            && let Ok(work) = queue.try_recv()
        {
            waiting.push(work);
        }
        let mut keys = HashSet::new();
        let (now, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(item, _)| keys.insert(B::key(item)));
        waiting = later;
        let (items, replies): (Vec<_>, Vec<_>) = now.into_iter().unzip();
        let answers = write(&*batch, &mut held, items).await;
        for (reply, answer) in replies.into_iter().zip(answers) {
            // Nobody listens when the caller's future was dropped.
            reply.send(answer).ok();
        }
    }
}

/// Writes a batch, again and again while the connection fails; one answer for each item.
async fn write<B: Batch>(batch: &B, held: &mut Held, items: Vec<B::Item>) -> Vec<Result<B::Answer, StoreError>> {
    match write_with_retries(batch, held, &items).await {
        Ok(answers) => answers,
        // One piece of work spoils it for all: each on its own, then.
        Err(fault) if fault.is_local() && items.len() > 1 => {
            let mut answers = Vec::with_capacity(items.len());
            for item in &items {
                let answer = write_with_retries(batch, held, std::slice::from_ref(item)).await;
                answers.push(match answer {
                    Ok(answers) => answers.into_iter().next().unwrap_or_else(|| Err(closed(B::OPERATION))),
                    Err(fault) => Err(fault.store_error(B::OPERATION)),
                });
            }
            answers
        }
        Err(fault) => {
            tracing::error!(error = %fault, work = items.len(), "a database write failed");
            items.iter().map(|_| Err(fault.store_error(B::OPERATION))).collect()
        }
    }
}

async fn write_with_retries<B: Batch>(
    batch: &B,
    held: &mut Held,
    items: &[B::Item],
) -> Result<Vec<Result<B::Answer, StoreError>>, Fault> {
    let begun = Instant::now();
    let (mut again, mut pause) = (false, FIRST_PAUSE);
    loop {
        let written = held.work(async |connection: &mut Connection| batch.write(connection, items, again).await).await;
        let fault = match written {
            Ok(answers) => return Ok(answers),
            Err(fault) => fault,
        };
        if !fault.may_pass() || begun.elapsed() > RETRY_FOR {
            return Err(fault);
        }
        if !again {
            tracing::warn!(error = %fault, work = items.len(), "a database write failed; trying again");
        }
        // The connection may have broken after the commit.
        again = true;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
