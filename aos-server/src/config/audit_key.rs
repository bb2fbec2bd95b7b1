//! The key that checkpoints of the audit log are signed with.

use std::path::Path;

use crate::audit::AuditKey;
use crate::config::reader::Reader;
use crate::config::table;

/// Reads it; the outer `None` means that the setting is wrong.
pub(super) fn read(reader: &mut Reader) -> Option<Option<AuditKey>> {
    reader.try_optional(&table::AUDIT_KEY_FILE, |text| AuditKey::in_file(Path::new(text)))
}
