//! What Postgres reports, as the contracts' errors.

use std::fmt;
use std::sync::Arc;

use aos_core::runs::StoreError;

/// A failure of the database, which may concern many pieces of work at once.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    place: Arc<str>,
    error: Arc<sqlx::Error>,
}

impl Fault {
    pub(super) fn new(place: &Arc<str>, error: sqlx::Error) -> Self {
        Self { place: Arc::clone(place), error: Arc::new(error) }
    }

    /// The SQLSTATE, when the database itself answered.
    fn state(&self) -> Option<String> {
        self.error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
    }

    /// Whether the same statement may well do on another connection, or a moment later.
    pub(super) fn may_pass(&self) -> bool {
        match &*self.error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::PoolTimedOut => true,
            // Serialisation, deadlock; a server that starts, stops, was demoted or has too many connections.
            sqlx::Error::Database(_) => self.state().is_some_and(|state| {
                matches!(
                    state.as_str(),
                    "40001" | "40P01" | "57P01" | "57P02" | "57P03" | "25006" | "53300" | "25P03" | "57P05"
                ) || state.starts_with("08")
            }),
            _ => false,
        }
    }

    /// Whether only the statement's data is to blame, so that others may do well without it.
    pub(super) fn is_local(&self) -> bool {
        match &*self.error {
            sqlx::Error::Database(_) => {
                self.state().is_some_and(|state| ["22", "23", "54"].iter().any(|class| state.starts_with(class)))
            }
            sqlx::Error::Encode(_) => true,
            _ => false,
        }
    }

    pub(super) fn store_error(&self, operation: &'static str) -> StoreError {
        match &*self.error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
                StoreError::Corrupt { what: "row in", id: self.place.to_string(), why: self.error.to_string() }
            }
            _ => StoreError::Unavailable { operation, source: Box::new(self.clone()) },
        }
    }

    fn advice(&self) -> &'static str {
        match &*self.error {
            sqlx::Error::Io(_) => "; check that the server runs and that this address reaches it",
            sqlx::Error::Tls(_) => "; check `sslmode` and the certificates in DATABASE_URL",
            sqlx::Error::PoolTimedOut => "; every connection is busy, or the server does not answer",
            _ => match self.state().as_deref() {
                Some("28P01" | "28000") => "; check user and password in DATABASE_URL",
                Some("3D000") => "; create the database, or correct its name in DATABASE_URL",
                Some("42501") => "; give this user the right to use the tables",
                Some("42P01" | "42703" | "42883") => "; the tables are not this release's: run `aos-server migrate`",
                Some("26000" | "42P05") => {
                    "; a pooler stands before the server: take `pgbouncer=false` out of DATABASE_URL"
                }
                Some("53100") => "; free space on the database's disk",
                Some("53300") => "; raise `max_connections`, or put a connection pooler in front",
                Some("25006") => "; the server is a read-only standby: point DATABASE_URL at the primary",
                _ => "",
            },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Postgres at {}: {}{}", self.place, self.error, self.advice())
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The message has it already.
        None
    }
}

/// What is asked of a store that was closed.
#[derive(Debug, thiserror::Error)]
#[error("the store is closed")]
pub(super) struct Closed;

/// The error of an operation on a closed store.
pub(super) fn closed(operation: &'static str) -> StoreError {
    StoreError::Unavailable { operation, source: Box::new(Closed) }
}
