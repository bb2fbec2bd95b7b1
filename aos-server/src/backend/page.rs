//! A part of the audit log, as statements have it.

use aos_core::audit::Page;

/// The direction in which it is read.
pub(super) const fn order(page: Page) -> &'static str {
    if page.newest_first { "DESC" } else { "ASC" }
}

/// The number of a record.
pub(super) fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// The most that is read.
pub(super) fn limit(page: Page) -> i64 {
    i64::try_from(page.limit).unwrap_or(i64::MAX)
}
