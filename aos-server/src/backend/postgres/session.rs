//! Statements: prepared once on each connection, or safe behind a pooler.
//!
//! A pooler in transaction mode (PgBouncer) lends out a connection of the database for one transaction at a time.
//! Preparing a statement and executing it are two messages, between which the connection may change: what is executed
//! then is missing, or somebody else's. So there every statement is in a transaction, and none is kept.

use std::fmt;
use std::ops::DerefMut;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use sqlx::error::BoxDynError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{
    AssertSqlSafe, Connection as _, Describe, Either, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr,
};

use super::doubt::Doubt;

/// What every transaction behind a pooler sets; elsewhere the connection has it from the start.
const SETTINGS: &str = "SET LOCAL idle_in_transaction_session_timeout = '5s'";

/// Connections of one process to the database.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    connections: PgPool,
    /// Which of them are trusted.
    doubt: Doubt,
    /// Whether a pooler stands before the database.
    is_pooled: bool,
}

/// A connection of a [`Pool`], or a transaction on one; `C` is what holds it.
#[derive(Debug)]
pub(super) struct Session<C> {
    inner: C,
    statements: Statements,
}

/// A connection; what it executes is committed at once.
pub(super) type Connection = Session<PoolConnection<Postgres>>;

/// A transaction; what it executes is undone unless it is committed.
pub(super) type Transaction = Session<sqlx::Transaction<'static, Postgres>>;

/// How statements are executed.
#[derive(Clone, Copy, Debug)]
enum Statements {
    /// Prepared once, and kept.
    Kept,
    /// Prepared each time, in the transaction that is open.
    Unkept,
    /// The same, each in a transaction of its own.
    Alone,
}

/// What a statement gives, step by step.
type Step = Either<PgQueryResult, PgRow>;

impl Pool {
    pub(super) fn new(connections: PgPool, doubt: &Doubt, is_pooled: bool) -> Self {
        Self { connections, doubt: doubt.clone(), is_pooled }
    }

    pub(super) fn doubt(&self) -> &Doubt {
        &self.doubt
    }

    pub(super) async fn acquire(&self) -> sqlx::Result<Connection> {
        let statements = if self.is_pooled { Statements::Alone } else { Statements::Kept };
        Ok(Session { inner: self.connections.acquire().await?, statements })
    }

    pub(super) async fn begin(&self) -> sqlx::Result<Transaction> {
        self.begin_with("BEGIN").await
    }

    /// As [`Pool::begin`], by another statement than `BEGIN`.
    pub(super) async fn begin_with(&self, begin: &'static str) -> sqlx::Result<Transaction> {
        let (inner, statements) = if self.is_pooled {
            let begin = format!("{begin}; {SETTINGS}");
            (self.connections.begin_with(AssertSqlSafe(begin)).await?, Statements::Unkept)
        } else {
            (self.connections.begin_with(begin).await?, Statements::Kept)
        };
        Ok(Session { inner, statements })
    }

    pub(super) fn is_pooled(&self) -> bool {
        self.is_pooled
    }

    pub(super) fn is_closed(&self) -> bool {
        self.connections.is_closed()
    }

    /// Resolves once the pool is being closed.
    pub(super) fn close_event(&self) -> sqlx::pool::CloseEvent {
        self.connections.close_event()
    }

    /// Closes all connections once their work is done.
    pub(super) async fn close(&self) {
        self.connections.close().await;
    }
}

impl Connection {
    /// Makes it one that is not used again.
    pub(super) fn close_on_drop(&mut self) {
        self.inner.close_on_drop();
    }
}

impl Transaction {
    pub(super) async fn commit(self) -> sqlx::Result<()> {
        self.inner.commit().await
    }

    pub(super) async fn rollback(self) -> sqlx::Result<()> {
        self.inner.rollback().await
    }
}

impl<'c> Executor<'c> for &'c Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Step>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if !self.is_pooled {
            return self.connections.fetch_many(query);
        }
        let steps = async move { alone(&mut *self.connections.acquire().await?, query).await };
        steps.map_ok(|steps| stream::iter(steps).map(Ok)).try_flatten_stream().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if !self.is_pooled {
            return self.connections.fetch_optional(query);
        }
        async move { Ok(first(alone(&mut *self.connections.acquire().await?, query).await?)) }.boxed()
    }

    fn prepare_with<'e>(self, sql: SqlStr, types: &'e [PgTypeInfo]) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        self.connections.prepare_with(sql, types)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'c: 'e,
    {
        self.connections.describe(sql)
    }
}

impl<'c, C> Executor<'c> for &'c mut Session<C>
where
    C: DerefMut<Target = PgConnection> + fmt::Debug + Send,
{
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Step>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let connection = &mut *self.inner;
        match self.statements {
            Statements::Kept => connection.fetch_many(query),
            Statements::Unkept => connection.fetch_many(Unkept(query)),
            Statements::Alone => {
                let steps = alone(connection, query);
                steps.map_ok(|steps| stream::iter(steps).map(Ok)).try_flatten_stream().boxed()
            }
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let connection = &mut *self.inner;
        match self.statements {
            Statements::Kept => connection.fetch_optional(query),
            Statements::Unkept => connection.fetch_optional(Unkept(query)),
            Statements::Alone => alone(connection, query).map_ok(first).boxed(),
        }
    }

    fn prepare_with<'e>(self, sql: SqlStr, types: &'e [PgTypeInfo]) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        self.inner.prepare_with(sql, types)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'c: 'e,
    {
        self.inner.describe(sql)
    }
}

/// Executes a statement in a transaction of its own: nothing of its answer counts before the commit.
async fn alone<'q, E: 'q + Execute<'q, Postgres>>(connection: &mut PgConnection, query: E) -> sqlx::Result<Vec<Step>> {
    let mut transaction = connection.begin_with(AssertSqlSafe(format!("BEGIN; {SETTINGS}"))).await?;
    match transaction.fetch_many(Unkept(query)).try_collect().await {
        Ok(steps) => transaction.commit().await.map(|()| steps),
        Err(error) => {
            // At once, not when the connection is used again: until then the pooler can lend it to nobody.
            transaction.rollback().await.ok();
            Err(error)
        }
    }
}

fn first(steps: Vec<Step>) -> Option<PgRow> {
    steps.into_iter().find_map(Either::right)
}

/// A query whose statement is not kept.
struct Unkept<E>(E);

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Unkept<E> {
    fn sql(self) -> SqlStr {
        self.0.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.0.take_arguments()
    }

    fn persistent(&self) -> bool {
        false
    }
}
