//! The contract of a store that keeps registries.

use serde::{Deserialize, Serialize};

use super::record::{AuditEntry, Change, Record};
use super::snapshot::RegistrySnapshot;
use crate::BoxFuture;
use crate::canonical::Hash;
use crate::id::TenantId;
use crate::runs::StoreError;
use crate::time::Timestamp;

/// The whole registry of a tenant, as of one revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// How often the tenant's registry has been changed; 0 for never.
    pub revision: u64,
    /// Every record, in no particular order.
    pub records: Vec<Record>,
}

/// A kept snapshot, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotInfo {
    /// Hash of the content.
    pub hash: Hash,
    /// When it was first kept.
    pub taken_at: Timestamp,
    /// How many skill versions it holds.
    pub skills: u64,
    /// How many workflow versions it holds.
    pub workflows: u64,
}

/// Keeps registries: a row per skill version (`skills`) and per workflow version (`workflows`), with an audit log.
///
/// # Contract
/// - `save` is all or nothing, audit entries included, and durable when it resolves with `Ok`. It replaces or adds
///   the record of every change and gives the new revision, which is higher than every earlier one of the tenant.
///   When the tenant's revision is not `expected`, it is [`StoreError::Conflict`] and changes nothing.
/// - `load` gives records and revision of one moment. Whatever changes a record raises the revision, also an
///   operator's hand in the database (by a trigger, say).
/// - `changed` resolves with the revision once it is higher than `after`, also for changes made by other processes. It
///   may resolve without cause, with any revision.
/// - A snapshot is kept under its hash; keeping it again changes nothing, its time included.
/// - A reason comes back as it was given, but U+0000 in it may come back as U+FFFD: not every database has it.
/// - A dropped `save` future may or may not have taken effect; a reader sees all of it or nothing.
/// - Nothing of one tenant is visible to, or changed by, a call for another.
pub trait RegistryStore: Send + Sync {
    /// The tenant's registry; empty, with revision 0, when nothing was ever saved.
    fn load<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Loaded, StoreError>>;

    /// Makes changes durable, on top of revision `expected`; gives the new revision.
    fn save<'a>(
        &'a self,
        tenant: &'a TenantId,
        expected: u64,
        changes: &'a [Change],
    ) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// Waits for a revision higher than `after`.
    fn changed<'a>(&'a self, tenant: &'a TenantId, after: u64) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// The latest audit entries, newest first, at most `limit`.
    fn audit<'a>(&'a self, tenant: &'a TenantId, limit: usize) -> BoxFuture<'a, Result<Vec<AuditEntry>, StoreError>>;

    /// Keeps a snapshot taken at `at`.
    fn put_snapshot<'a>(
        &'a self,
        tenant: &'a TenantId,
        snapshot: &'a RegistrySnapshot,
        at: Timestamp,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The kept snapshots, newest first; of equal times, by hash.
    fn snapshots<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<SnapshotInfo>, StoreError>>;

    /// The snapshot with this hash.
    fn snapshot<'a>(
        &'a self,
        tenant: &'a TenantId,
        hash: &'a Hash,
    ) -> BoxFuture<'a, Result<Option<RegistrySnapshot>, StoreError>>;
}
