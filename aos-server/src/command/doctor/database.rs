//! Whether the data file is what it should be, found out without changing it.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::Check;
use crate::command::ui::Exit;

const NAME: &str = "database";

pub(super) fn check(path: &Path) -> Check {
    let shown = path.display();
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(16).read_to_end(&mut head));
    let error = |found: String, advice: &str| Check::error(NAME, Exit::Unreachable, found, advice);
    match read {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Check::ok(NAME, format!("{shown} will be created")),
        Err(e) => error(format!("{shown} can't be read: {e}"), "check the path and who may read it"),
        Ok(0) => Check::ok(NAME, format!("{shown} is empty and will be filled")),
        Ok(_) if head != b"SQLite format 3\0" => error(
            format!("{shown} is not a SQLite file"),
            "restore it from a backup, or set DATABASE_URL to another file",
        ),
        Ok(_) if has_log(path) => Check::ok(
            NAME,
            format!("{shown} is a SQLite file, in use or not closed in order: its pages are not checked"),
        ),
        Ok(_) => match damage(path) {
            Ok(None) => Check::ok(NAME, format!("{shown} is a SQLite file, and whole")),
            Ok(Some(damage)) => error(format!("{shown} is damaged: {damage}"), "restore it from a backup"),
            Err(e) => {
                error(format!("{shown} can't be checked: {e}"), "restore it from a backup if no server starts on it")
            }
        },
    }
}

/// Whether there are changes beside the file that its pages do not have yet.
fn has_log(path: &Path) -> bool {
    let mut log = OsString::from(path);
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// The first thing that is wrong with the file's pages.
fn damage(path: &Path) -> rusqlite::Result<Option<String>> {
    // Immutable: no lock is taken and nothing is written, not even beside the file.
    let escaped = path.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let conn = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)?;
    let found = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match found {
        Ok(found) if found == "ok" => Ok(None),
        Ok(found) => Ok(Some(found)),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
            Ok(Some(error.to_string()))
        }
        Err(error) => Err(error),
    }
}
