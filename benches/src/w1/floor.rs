//! What the disk and SQLite give by themselves: inserts of 200 bytes, `synchronous=FULL`, through the same driver.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use super::Result;

/// Commits per second of one connection with `rows` rows in each.
pub async fn commits_per_second(file: &Path, rows: usize, time: Duration) -> Result<f64> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = options.connect().await?;
    connection.execute("CREATE TABLE floor (id INTEGER PRIMARY KEY, payload BLOB NOT NULL)").await?;
    let values = vec!["(?)"; rows].join(",");
    let insert = format!("INSERT INTO floor (payload) VALUES {values}");
    let payload = vec![b'x'; 200];
    let (begin, mut commits) = (Instant::now(), 0_u32);
    while begin.elapsed() < time {
        let mut query = sqlx::query(AssertSqlSafe(insert.clone()));
        for _ in 0..rows {
            query = query.bind(&payload);
        }
        query.execute(&mut connection).await?;
        commits += 1;
    }
    let rate = f64::from(commits) / begin.elapsed().as_secs_f64();
    connection.close().await?;
    Ok(rate)
}
