//! What disk and database give by themselves: inserts of 200 bytes, each commit durable, through the same driver.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use super::Result;

/// Bytes of a row.
const PAYLOAD: usize = 200;

/// Commits per second of one connection to SQLite with `rows` rows in each.
pub async fn sqlite(file: &Path, rows: usize, time: Duration) -> Result<f64> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = options.connect().await?;
    connection.execute("CREATE TABLE floor (id INTEGER PRIMARY KEY, payload BLOB NOT NULL)").await?;
    let values = vec!["(?)"; rows].join(",");
    let insert = format!("INSERT INTO floor (payload) VALUES {values}");
    let payload = vec![b'x'; PAYLOAD];
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

/// Commits per second of one connection to Postgres with `rows` rows in each.
pub async fn postgres(url: &str, rows: usize, time: Duration) -> Result<f64> {
    let mut connection = PgConnection::connect(url).await?;
    let table = "CREATE TABLE IF NOT EXISTS aos_floor (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload bytea NOT NULL)";
    connection.execute(table).await?;
    connection.execute("TRUNCATE aos_floor").await?;
    let values = vec![vec![b'x'; PAYLOAD]; rows];
    let (begin, mut commits) = (Instant::now(), 0_u32);
    while begin.elapsed() < time {
        // The statement is prepared once, and its values come as one array: what a careful client does.
        let query = sqlx::query("INSERT INTO aos_floor (payload) SELECT * FROM unnest($1::bytea[])").bind(&values);
        query.execute(&mut connection).await?;
        commits += 1;
    }
    let rate = f64::from(commits) / begin.elapsed().as_secs_f64();
    connection.close().await?;
    Ok(rate)
}

/// Removes what [`postgres`] has left in a database.
pub async fn remove(url: &str) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute("DROP TABLE IF EXISTS aos_floor").await?;
    Ok(connection.close().await?)
}
