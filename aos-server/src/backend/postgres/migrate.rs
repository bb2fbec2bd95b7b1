//! The tables, and how they come to be those of this release.

use std::sync::Arc;

use aos_core::runs::StoreError;
use sqlx::PgPool;
use sqlx::migrate::{Migrate, MigrateError, Migrator};

use super::error::Fault;

static MIGRATOR: Migrator = sqlx::migrate!("migrations/postgres");

/// A change of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// What it does.
    pub description: String,
    /// Its SQL.
    pub sql: String,
}

/// The changes that a database still lacks, oldest first. Changes nothing.
///
/// # Errors
/// As [`PostgresStores::open`](super::PostgresStores::open).
pub async fn pending(stores: &super::PostgresStores) -> Result<Vec<Migration>, StoreError> {
    let (pool, place) = (&stores.0.pool, &stores.0.place);
    let fault = |error| Fault::new(place, error).store_error("read the migrations");
    let mut connection = pool.acquire().await.map_err(fault)?;
    let table = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL");
    let there: bool = table.fetch_one(&mut *connection).await.map_err(fault)?;
    let applied = if there {
        connection.list_applied_migrations(&MIGRATOR.table_name).await.map_err(|error| of(place, error))?
    } else {
        Vec::new()
    };
    let lacks = |version: i64| !applied.iter().any(|migration| migration.version == version);
    let pending = MIGRATOR.iter().filter(|migration| lacks(migration.version)).map(|migration| Migration {
        version: migration.version,
        description: migration.description.to_string(),
        sql: migration.sql.as_str().to_owned(),
    });
    Ok(pending.collect())
}

/// Brings the tables up to date, one process at a time (an advisory lock sees to it).
pub(super) async fn run(pool: &PgPool, place: &Arc<str>) -> Result<(), StoreError> {
    let mut migrator = Migrator::with_migrations(MIGRATOR.iter().cloned().collect());
    // Tables of the next release serve this one too: an upgrade changes the tables first and the processes after that.
    migrator.set_ignore_missing(true);
    migrator.run(pool).await.map_err(|error| of(place, error))
}

fn of(place: &Arc<str>, error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            Fault::new(place, error).store_error("bring the tables up to date")
        }
        error => StoreError::Conflict(format!(
            "the tables of Postgres at {place} can't be brought up to date: {error}; they were made by another \
             release or changed by hand"
        )),
    }
}
