//! Where the state of record is kept.

use std::path::PathBuf;

use crate::config::reader::Reader;
use crate::config::secret::Secret;
use crate::config::table;

/// Where runs, journals and the registry are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// One SQLite file.
    Sqlite(PathBuf),
    /// A Postgres database, by URL.
    Postgres(Secret),
}

impl Database {
    /// Reads a `DATABASE_URL`.
    ///
    /// # Errors
    /// What is wrong with it, without the URL itself, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("sqlite") => {
                let rest = &text["sqlite:".len()..];
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path == ":memory:" {
                    return Err("a database in memory loses acknowledged runs: name a file".into());
                }
                if path.contains(['?', '#']) {
                    return Err("a sqlite URL has no options here: expected sqlite:// and a path".into());
                }
                if path.is_empty() || path.ends_with('/') || path.contains('\0') {
                    return Err("the URL names no file: expected sqlite:// and a path".into());
                }
                Ok(Self::Sqlite(PathBuf::from(path)))
            }
            Some("postgres" | "postgresql") => match url::Url::parse(text) {
                Ok(url) if url.has_host() && url.path().len() > 1 => Ok(Self::Postgres(Secret::new(text))),
                Ok(_) => {
                    Err("the URL lacks a host or a database: expected postgres://user:password@host:port/database"
                        .into())
                }
                Err(error) => {
                    Err(format!("it is not a URL ({error}): expected postgres://user:password@host:port/database"))
                }
            },
            _ => Err(format!("the value is not {}", table::DATABASE_URL.expected)),
        }
    }

    /// Where it is, for people; no user, no password.
    pub fn place(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(url) => {
                let url = url::Url::parse(url.expose()).ok();
                let host = url.as_ref().and_then(url::Url::host_str).unwrap_or_default();
                let port = url.as_ref().and_then(url::Url::port).unwrap_or(5432);
                let name = url.as_ref().map(|url| url.path().trim_start_matches('/')).unwrap_or_default();
                format!("Postgres at {host}:{port}/{name}")
            }
        }
    }

    pub(crate) fn read(reader: &mut Reader) -> Option<Self> {
        reader.try_optional(&table::DATABASE_URL, Self::parse).flatten()
    }
}
