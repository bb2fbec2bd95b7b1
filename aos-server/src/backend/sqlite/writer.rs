//! The one writer: a thread that takes everything queued and commits it in one transaction.
//!
//! A commit waits for the disk once, however many runs it advances; that wait is when the next batch gathers. Each
//! piece of work is judged on its own, inside the transaction, against the database itself, so other processes may
//! write the same file. Who is refused changes nothing and fails nobody else.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use aos_core::runs::StoreError;
use aos_core::time::{Clock, Timestamp};
use rusqlite::{CachedStatement, Connection};
use tokio::sync::{mpsc, oneshot};

use super::connection;
use super::error::{Fault, Stop, closed};
use crate::backend::batches::Batches;
use crate::backend::watch::{Topic, Waiters};

/// Pieces of work in one transaction.
const MAX_BATCH: usize = 256;

/// Pieces of work that wait; beyond that, callers wait to get in.
const MAX_QUEUE: usize = 4_096;

/// The way to the writer thread. The thread ends with it.
pub(super) struct Writer {
    commands: mpsc::Sender<Command>,
}

enum Command {
    Work(Box<dyn Work>),
    Close(oneshot::Sender<()>),
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(
        conn: Connection,
        path: &Path,
        clock: Arc<dyn Clock>,
        waiters: Arc<Waiters>,
        batches: Batches,
    ) -> Result<Self, StoreError> {
        let (commands, queue) = mpsc::channel(MAX_QUEUE);
        let thread = Thread { conn, path: path.to_owned(), clock, now: Timestamp::EPOCH, waiters, batches };
        thread::Builder::new().name("aos-sqlite".into()).spawn(move || thread.run(queue)).map_err(|error| {
            StoreError::Unavailable { operation: "start the writer thread", source: Box::new(error) }
        })?;
        Ok(Self { commands })
    }

    /// Has `work` done in the next transaction; resolves when that is durable, or has failed.
    ///
    /// `work` must make up its mind before it writes: what it wrote before refusing would stay. It runs again when
    /// another piece of work spoiled the transaction, so it must not use itself up. Dropping the future takes
    /// nothing back once the work is queued.
    pub(super) async fn write<T, W>(&self, operation: &'static str, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnMut(&Tx<'_>) -> Result<T, Stop> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let work = Box::new(Job { operation, work, answer: None, reply });
        self.commands.send(Command::Work(work)).await.map_err(|_| closed(operation))?;
        answer.await.map_err(|_| closed(operation))?
    }

    /// Finishes what is queued, refuses the rest, and closes the file.
    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        // Either fails only when the thread has ended already.
        if self.commands.send(Command::Close(done)).await.is_ok() {
            closed.await.ok();
        }
    }
}

/// What a piece of work sees: the connection inside the transaction, and the time.
pub(super) struct Tx<'a> {
    pub(super) conn: &'a Connection,
    /// The store's clock, which never goes back.
    pub(super) now: Timestamp,
    changed: RefCell<Vec<Topic>>,
}

impl<'a> Tx<'a> {
    /// A statement, prepared once for the life of the connection.
    pub(super) fn sql(&self, sql: &'static str) -> rusqlite::Result<CachedStatement<'a>> {
        self.conn.prepare_cached(sql)
    }

    /// Tells those who wait for this, once the transaction is durable.
    pub(super) fn changed(&self, topic: Topic) {
        self.changed.borrow_mut().push(topic);
    }
}

trait Work: Send {
    fn operation(&self) -> &'static str;
    fn execute(&mut self, tx: &Tx<'_>) -> Result<(), rusqlite::Error>;
    fn acknowledge(self: Box<Self>);
    fn fail(self: Box<Self>, error: StoreError);
}

struct Job<T, W> {
    operation: &'static str,
    work: W,
    answer: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W> Work for Job<T, W>
where
    T: Send,
    W: FnMut(&Tx<'_>) -> Result<T, Stop> + Send,
{
    fn operation(&self) -> &'static str {
        self.operation
    }

    fn execute(&mut self, tx: &Tx<'_>) -> Result<(), rusqlite::Error> {
        self.answer = Some(match (self.work)(tx) {
            Ok(answer) => Ok(answer),
            Err(Stop::Rejected(error)) => Err(error),
            Err(Stop::Sql(error)) => return Err(error),
        });
        Ok(())
    }

    fn acknowledge(self: Box<Self>) {
        // Nobody listens when the caller's future was dropped.
        let answer = self.answer.unwrap_or_else(|| Err(closed(self.operation)));
        self.reply.send(answer).ok();
    }

    fn fail(self: Box<Self>, error: StoreError) {
        self.reply.send(Err(error)).ok();
    }
}

struct Thread {
    conn: Connection,
    path: PathBuf,
    clock: Arc<dyn Clock>,
    now: Timestamp,
    waiters: Arc<Waiters>,
    batches: Batches,
}

impl Thread {
    fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        let mut closing = Vec::new();
        while let Some(command) = queue.blocking_recv() {
            let mut next = Some(command);
            while let Some(command) = next {
                match command {
                    Command::Work(work) => batch.push(work),
                    Command::Close(done) => {
                        queue.close();
                        closing.push(done);
                    }
                }
                next = if batch.len() < MAX_BATCH { queue.try_recv().ok() } else { None };
            }
            self.commit(&mut batch);
        }
        connection::checkpoint(&self.conn, &self.path);
        drop(self.conn);
        for done in closing {
            // The one who asked may be gone.
            done.send(()).ok();
        }
    }

    /// Does a batch in one transaction, and empties it.
    fn commit(&mut self, batch: &mut Vec<Box<dyn Work>>) {
        while !batch.is_empty() {
            match self.transaction(batch) {
                Ok(changed) => {
                    self.batches.written(batch.len());
                    batch.drain(..).for_each(Work::acknowledge);
                    self.waiters.notify(&changed);
                }
                // One piece of work spoiled it: the others try again without that one.
                Err((fault, Some(culprit))) if fault.is_local() => {
                    let work = batch.remove(culprit);
                    let error = fault.store_error(work.operation());
                    work.fail(error);
                }
                Err((fault, _)) => {
                    tracing::error!(error = %fault, work = batch.len(), "a database transaction failed");
                    for work in batch.drain(..) {
                        let error = fault.store_error(work.operation());
                        work.fail(error);
                    }
                }
            }
        }
    }

    /// One transaction; on failure, it is undone, and the second value says whose statement failed.
    fn transaction(&mut self, batch: &mut [Box<dyn Work>]) -> Result<Vec<Topic>, (Fault, Option<usize>)> {
        self.now = self.now.max(self.clock.now());
        let result = self.try_transaction(batch);
        if result.is_err() && !self.conn.is_autocommit() {
            // If this fails too, the next BEGIN does, and says why.
            self.conn.execute_batch("ROLLBACK").ok();
        }
        result.map_err(|(error, culprit)| (Fault::new(&self.path, error), culprit))
    }

    fn try_transaction(&self, batch: &mut [Box<dyn Work>]) -> Result<Vec<Topic>, (rusqlite::Error, Option<usize>)> {
        let run = |sql| self.conn.prepare_cached(sql)?.execute([]).map(drop);
        run("BEGIN IMMEDIATE").map_err(|error| (error, None))?;
        let tx = Tx { conn: &self.conn, now: self.now, changed: RefCell::default() };
        for (index, work) in batch.iter_mut().enumerate() {
            work.execute(&tx).map_err(|error| (error, Some(index)))?;
        }
        run("COMMIT").map_err(|error| (error, None))?;
        Ok(tx.changed.into_inner())
    }
}
