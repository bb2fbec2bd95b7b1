//! Opens the file: finds out whether it is ours to use, and brings its schema up to date.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::time::Duration;

use aos_core::runs::StoreError;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::error::{Fault, Stop};
use crate::backend::Migration;

/// Marks a file as ours in its header: "AOS1".
const APPLICATION_ID: i32 = 0x414F_5331;

/// The schema, step by step. A released step never changes; the header's `user_version` counts those taken.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/sqlite/0001_init.sql"),
    include_str!("../../../migrations/sqlite/0002_queue.sql"),
    include_str!("../../../migrations/sqlite/0003_lists.sql"),
    include_str!("../../../migrations/sqlite/0004_control.sql"),
    include_str!("../../../migrations/sqlite/0005_ledger.sql"),
    include_str!("../../../migrations/sqlite/0006_keys.sql"),
    include_str!("../../../migrations/sqlite/0007_trace.sql"),
    include_str!("../../../migrations/sqlite/0008_switch_until.sql"),
    include_str!("../../../migrations/sqlite/0009_audit.sql"),
];

/// How long to wait for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const OPEN: &str = "open the database file";

/// Opens the connection that writes, creating file and directory when missing.
///
/// # Errors
/// [`StoreError::Conflict`] for a file of another application or of a newer release, [`StoreError::Corrupt`] for a
/// file that is no database, [`StoreError::Unavailable`] for the rest; each says what to do.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    create(path)?;
    let wrap = |stop: Stop| stop.into_store_error(OPEN, path);
    let mut conn = connect(path).map_err(|error| wrap(error.into()))?;
    check_owner(&conn, path).map_err(wrap)?;
    configure(&conn).map_err(|error| wrap(error.into()))?;
    migrate(&mut conn, path).map_err(wrap)?;
    Ok(conn)
}

/// The changes that a file still lacks, oldest first; all of them when it is not there. Changes nothing.
///
/// # Errors
/// As [`open_writer`].
pub(super) fn pending(path: &Path) -> Result<Vec<Migration>, StoreError> {
    let done = if path.exists() {
        let wrap = |stop: Stop| stop.into_store_error(OPEN, path);
        let conn = connect(path).map_err(|error| wrap(error.into()))?;
        check_owner(&conn, path).map_err(wrap)?;
        schema_version(&conn).map_err(|error| wrap(error.into()))?
    } else {
        0
    };
    let changes = MIGRATIONS.iter().zip(1..).skip(done);
    Ok(changes.map(|(sql, version)| Migration::new(version, sql)).collect())
}

/// The number of the last change that this release knows.
pub(super) fn latest() -> i64 {
    MIGRATIONS.len() as i64
}

/// Opens a connection that only reads.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let conn = connect(path)?;
    conn.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -8192;")?;
    Ok(conn)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // No SQLITE_OPEN_CREATE: `create` has made the file, and one that vanished must not come back empty.
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

/// Makes the file, for its owner's eyes only: journals hold what prompts and answers hold.
fn create(path: &Path) -> Result<(), StoreError> {
    let refuse = |what: &str, at: &Path, error: io::Error| {
        let advice = match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => "a file is in its way: move that",
            io::ErrorKind::IsADirectory => "a directory is in its way: move that",
            _ => "make it writable for this user",
        };
        let why = format!("{what} {}: {error}; {advice}, or keep the data elsewhere", at.display());
        StoreError::Unavailable { operation: OPEN, source: Box::new(io::Error::new(error.kind(), why)) }
    };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory).map_err(|error| refuse("cannot create directory", directory, error))?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(|error| refuse("cannot write", path, error))
}

fn check_owner(conn: &Connection, path: &Path) -> Result<(), Stop> {
    let application: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version = schema_version(conn)?;
    let foreign = match application {
        APPLICATION_ID => false,
        0 => conn.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))?,
        _ => true,
    };
    if foreign {
        return Err(StoreError::Conflict(format!(
            "{} is the database of another application; keep the data of AOS in a file of its own",
            path.display()
        ))
        .into());
    }
    refuse_newer(version, path)
}

fn refuse_newer(version: usize, path: &Path) -> Result<(), Stop> {
    if version <= MIGRATIONS.len() {
        return Ok(());
    }
    Err(StoreError::Conflict(format!(
        "{} was written by a newer release (schema {version}, and this one knows up to {}); start that release, or \
         restore a backup from before the upgrade",
        path.display(),
        MIGRATIONS.len()
    ))
    .into())
}

/// Commits reach the disk before they are acknowledged (`FULL`); readers never wait for the writer (WAL).
fn configure(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 4000;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA cache_size = -65536;
         PRAGMA temp_store = MEMORY;",
    )
}

fn migrate(conn: &mut Connection, path: &Path) -> Result<(), Stop> {
    if schema_version(conn)? == MIGRATIONS.len() {
        return Ok(());
    }
    // Looked up again inside: another process may have been faster.
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = schema_version(&transaction)?;
    refuse_newer(version, path)?;
    for step in MIGRATIONS.iter().skip(version) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    transaction.commit()?;
    Ok(())
}

fn schema_version(conn: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // A negative number is nobody's; it reads as newer than anything.
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

/// Writes back what the log still holds, so that the file alone is complete. Failing is harmless: the log stays.
pub(super) fn checkpoint(conn: &Connection, path: &Path) {
    if let Err(error) = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        tracing::warn!(error = %Fault::new(path, error), "the database's log was not written back; it will be at the next start");
    }
}
