//! What SQLite reports, as the contracts' errors.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use aos_core::runs::StoreError;
use rusqlite::ErrorCode;

/// Why a piece of work on the database ended without an answer.
pub(super) enum Stop {
    /// The store refuses it.
    Rejected(StoreError),
    /// The database failed.
    Sql(rusqlite::Error),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Rejected(error)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Stop {
    pub(super) fn into_store_error(self, operation: &'static str, path: &Path) -> StoreError {
        match self {
            Self::Rejected(error) => error,
            Self::Sql(error) => Fault::new(path, error).store_error(operation),
        }
    }
}

/// A failure of the database, which may concern many pieces of work at once.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    path: Arc<str>,
    error: Arc<rusqlite::Error>,
}

impl Fault {
    pub(super) fn new(path: &Path, error: rusqlite::Error) -> Self {
        Self { path: path.display().to_string().into(), error: Arc::new(error) }
    }

    /// Whether only the statement at hand is to blame, so that others may do well in a transaction without it.
    pub(super) fn is_local(&self) -> bool {
        use ErrorCode::{ConstraintViolation, ParameterOutOfRange, TooBig, TypeMismatch};
        match self.error.sqlite_error_code() {
            Some(code) => matches!(code, ConstraintViolation | TooBig | TypeMismatch | ParameterOutOfRange),
            None => true,
        }
    }

    pub(super) fn store_error(&self, operation: &'static str) -> StoreError {
        use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
        match self.error.sqlite_error_code() {
            None if matches!(
                *self.error,
                FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..)
            ) =>
            {
                StoreError::Corrupt { what: "row in", id: self.path.to_string(), why: self.error.to_string() }
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt {
                what: "database file",
                id: self.path.to_string(),
                why: format!("{}; restore it from a backup", self.error),
            },
            _ => StoreError::Unavailable { operation, source: Box::new(self.clone()) },
        }
    }

    fn advice(&self) -> &'static str {
        match self.error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => "; free space on its disk",
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                "; check that this user may write the file and its directory"
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "; another process holds it for long: look for one with an open transaction"
            }
            Some(ErrorCode::SystemIoFailure) => "; check its disk",
            _ => "",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SQLite file {}: {}{}", self.path, self.error, self.advice())
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The message has it already; its own source, if any, comes next.
        self.error.source()
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
