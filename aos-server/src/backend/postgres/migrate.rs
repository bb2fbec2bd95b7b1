//! The tables, and how they come to be those of this release.

use std::collections::HashMap;
use std::sync::Arc;

use aos_core::runs::StoreError;
use sqlx::Executor as _;
use sqlx::migrate::Migrator;

use super::Stop;
use super::error::Fault;
use super::session::{Pool, Transaction};
use crate::backend::Migration;

static MIGRATOR: Migrator = sqlx::migrate!("migrations/postgres");

/// One process at a time, until the end of its transaction: a pooler knows no other end.
const LOCK: &str = "SELECT pg_advisory_xact_lock(20255431)";

/// What was done already, in the table that `sqlx` keeps of it.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (
    version bigint PRIMARY KEY,
    description text NOT NULL,
    installed_on timestamptz NOT NULL DEFAULT now(),
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
)";

/// The number of the last change that this release knows.
pub fn latest() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The changes that a database still lacks, oldest first. Changes nothing.
///
/// # Errors
/// As [`PostgresStores::open`](super::PostgresStores::open).
pub async fn pending(stores: &super::PostgresStores) -> Result<Vec<Migration>, StoreError> {
    let (pool, place) = (&stores.0.pool, &stores.0.place);
    let missing = look(pool, place).await.map_err(|stop| failed(stop, place, "read the migrations"))?;
    Ok(missing.into_iter().map(|migration| Migration::new(migration.version, migration.sql.as_str())).collect())
}

/// Brings the tables up to date: all changes, or none.
pub(super) async fn run(pool: &Pool, place: &Arc<str>) -> Result<(), StoreError> {
    let done = async {
        // Most often there is nothing to do, and no right to do it is needed.
        if look(pool, place).await?.is_empty() {
            return Ok(());
        }
        let mut transaction = pool.begin().await?;
        transaction.execute(LOCK).await?;
        transaction.execute(TABLE).await?;
        for migration in missing(&mut transaction, place).await? {
            transaction.execute(migration.sql.clone()).await?;
            let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                       VALUES ($1, $2, true, $3, 0)";
            let query = sqlx::query(sql).bind(migration.version).bind(&*migration.description);
            query.bind(&*migration.checksum).execute(&mut transaction).await?;
        }
        Ok(transaction.commit().await?)
    };
    done.await.map_err(|stop| failed(stop, place, "bring the tables up to date"))
}

type Change = &'static sqlx::migrate::Migration;

async fn look(pool: &Pool, place: &str) -> Result<Vec<Change>, Stop> {
    let mut transaction = pool.begin().await?;
    let missing = missing(&mut transaction, place).await;
    transaction.rollback().await?;
    missing
}

/// Of the changes of this release, those that were not made. Tables of the next release serve this one too: an upgrade
/// changes the tables first and the processes after that.
async fn missing(transaction: &mut Transaction, place: &str) -> Result<Vec<Change>, Stop> {
    let sql = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    let is_there: bool = sqlx::query_scalar(sql).fetch_one(&mut *transaction).await?;
    let mut made: HashMap<i64, Vec<u8>> = HashMap::new();
    if is_there {
        let sql = "SELECT version, checksum FROM _sqlx_migrations WHERE success";
        made.extend(sqlx::query_as::<_, (i64, Vec<u8>)>(sql).fetch_all(transaction).await?);
    }
    let mut missing = Vec::new();
    for migration in MIGRATOR.iter() {
        match made.get(&migration.version) {
            None => missing.push(migration),
            Some(checksum) if *checksum == *migration.checksum => {}
            Some(_) => {
                let what = format!(
                    "change {} of the tables of Postgres at {place} is not this release's: they were made by another \
                     release or changed by hand",
                    migration.version
                );
                return Err(StoreError::Conflict(what).into());
            }
        }
    }
    Ok(missing)
}

fn failed(stop: Stop, place: &Arc<str>, operation: &'static str) -> StoreError {
    match stop {
        Stop::Rejected(error) => error,
        Stop::Sql(error) => Fault::new(place, error).store_error(operation),
    }
}
