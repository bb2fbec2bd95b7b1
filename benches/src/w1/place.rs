//! Where W1 keeps its runs: files of SQLite, or a Postgres database.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aos_server::backend::Backend;
use aos_server::backend::postgres::PostgresStores;
use aos_server::backend::sqlite::SqliteStores;
use aos_testkit::service::Postgres;
use tempfile::TempDir;

use super::{Options, Result, floor};

/// A place to measure.
pub enum Place {
    /// A new file for each figure.
    Sqlite { dir: TempDir, next: AtomicU64 },
    /// One database; the server when it is this command's own.
    Postgres { url: String, _server: Option<Postgres> },
}

impl Place {
    pub async fn open(options: &Options) -> Result<Self> {
        if let Some(url) = &options.database_url {
            return Ok(Self::Postgres { url: url.clone(), _server: None });
        }
        if options.postgres {
            // Settings as they come: `fsync` and `synchronous_commit` are on.
            let server = Postgres::start(&[])?;
            let url = server.database()?.url;
            return Ok(Self::Postgres { url, _server: Some(server) });
        }
        std::fs::create_dir_all(&options.dir)?;
        Ok(Self::Sqlite { dir: tempfile::tempdir_in(&options.dir)?, next: AtomicU64::new(0) })
    }

    /// What the floor is made of.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "bare SQLite, FULL",
            Self::Postgres { .. } => "bare Postgres, fsync",
        }
    }

    /// Stores in the place.
    pub async fn stores(&self) -> Result<Backend> {
        Ok(match self {
            Self::Sqlite { dir, next } => Backend::Sqlite(SqliteStores::open(new_file(dir, next)).await?),
            Self::Postgres { url, .. } => Backend::Postgres(PostgresStores::open(url).await?),
        })
    }

    /// Commits per second of one connection with `rows` rows in each.
    pub async fn floor(&self, rows: usize, time: Duration) -> Result<f64> {
        match self {
            Self::Sqlite { dir, next } => floor::sqlite(&new_file(dir, next), rows, time).await,
            Self::Postgres { url, .. } => floor::postgres(url, rows, time).await,
        }
    }

    pub async fn close(self) {
        if let Self::Postgres { url, _server: None } = &self
            && let Err(error) = floor::remove(url).await
        {
            println!("the table of the floor could not be removed: {error}");
        }
    }
}

fn new_file(dir: &TempDir, next: &AtomicU64) -> PathBuf {
    dir.path().join(format!("{}.db", next.fetch_add(1, Ordering::Relaxed)))
}
