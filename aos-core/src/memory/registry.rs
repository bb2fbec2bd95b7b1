//! Registries in memory.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard};
use std::task::{Poll, Waker};

use super::lock;
use crate::BoxFuture;
use crate::canonical::Hash;
use crate::id::TenantId;
use crate::registry::{AuditEntry, Change, Loaded, Record, RegistrySnapshot, RegistryStore, SnapshotInfo, Subject};
use crate::runs::StoreError;
use crate::time::Timestamp;

/// Keeps registries, their audit logs and snapshots as long as it lives.
#[derive(Default)]
pub struct MemoryRegistry(Mutex<BTreeMap<TenantId, Tenant>>);

#[derive(Default)]
struct Tenant {
    revision: u64,
    records: BTreeMap<Subject, Record>,
    audit: Vec<AuditEntry>,
    snapshots: BTreeMap<Hash, (SnapshotInfo, RegistrySnapshot)>,
    waiting: Vec<Waker>,
}

impl MemoryRegistry {
    /// A store without any registry.
    pub fn new() -> Self {
        Self::default()
    }

    fn tenants(&self) -> MutexGuard<'_, BTreeMap<TenantId, Tenant>> {
        lock(&self.0)
    }

    fn save_now(&self, tenant: &TenantId, expected: u64, changes: &[Change]) -> Result<u64, StoreError> {
        if let Some(change) = changes.iter().find(|change| change.record.tenant() != tenant) {
            let subject = change.record.subject();
            return Err(StoreError::Conflict(format!("the record of {subject} is not one of tenant {tenant}")));
        }
        let mut tenants = self.tenants();
        let state = tenants.entry(tenant.clone()).or_default();
        if state.revision != expected {
            return Err(StoreError::Conflict(format!(
                "the registry of tenant {tenant} is at revision {}, not {expected}",
                state.revision
            )));
        }
        for change in changes {
            state.records.insert(change.record.subject(), change.record.clone());
            state.audit.push(change.audit());
        }
        state.revision += 1;
        let (revision, waiting) = (state.revision, std::mem::take(&mut state.waiting));
        drop(tenants);
        waiting.into_iter().for_each(Waker::wake);
        Ok(revision)
    }
}

impl RegistryStore for MemoryRegistry {
    fn load<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Loaded, StoreError>> {
        Box::pin(async move {
            let tenants = self.tenants();
            Ok(tenants.get(tenant).map_or_else(Loaded::default, |state| Loaded {
                revision: state.revision,
                records: state.records.values().cloned().collect(),
            }))
        })
    }

    fn save<'a>(
        &'a self,
        tenant: &'a TenantId,
        expected: u64,
        changes: &'a [Change],
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move { self.save_now(tenant, expected, changes) })
    }

    fn changed<'a>(&'a self, tenant: &'a TenantId, after: u64) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(poll_fn(move |context| {
            let mut tenants = self.tenants();
            let state = tenants.entry(tenant.clone()).or_default();
            if state.revision > after {
                return Poll::Ready(Ok(state.revision));
            }
            if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                state.waiting.push(context.waker().clone());
            }
            Poll::Pending
        }))
    }

    fn audit<'a>(&'a self, tenant: &'a TenantId, limit: usize) -> BoxFuture<'a, Result<Vec<AuditEntry>, StoreError>> {
        Box::pin(async move {
            let tenants = self.tenants();
            Ok(tenants
                .get(tenant)
                .map_or_else(Vec::new, |state| state.audit.iter().rev().take(limit).cloned().collect()))
        })
    }

    fn put_snapshot<'a>(
        &'a self,
        tenant: &'a TenantId,
        snapshot: &'a RegistrySnapshot,
        at: Timestamp,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let info = SnapshotInfo {
                hash: snapshot.hash(),
                taken_at: at,
                skills: snapshot.skills().len() as u64,
                workflows: snapshot.workflows().len() as u64,
            };
            let mut tenants = self.tenants();
            let snapshots = &mut tenants.entry(tenant.clone()).or_default().snapshots;
            snapshots.entry(snapshot.hash()).or_insert_with(|| (info, snapshot.clone()));
            Ok(())
        })
    }

    fn snapshots<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<SnapshotInfo>, StoreError>> {
        Box::pin(async move {
            let tenants = self.tenants();
            let mut infos: Vec<SnapshotInfo> = tenants
                .get(tenant)
                .map_or_else(Vec::new, |state| state.snapshots.values().map(|(info, _)| info.clone()).collect());
            infos.sort_by(|a, b| b.taken_at.cmp(&a.taken_at).then(a.hash.cmp(&b.hash)));
            Ok(infos)
        })
    }

    fn snapshot<'a>(
        &'a self,
        tenant: &'a TenantId,
        hash: &'a Hash,
    ) -> BoxFuture<'a, Result<Option<RegistrySnapshot>, StoreError>> {
        Box::pin(async move {
            let tenants = self.tenants();
            Ok(tenants.get(tenant).and_then(|state| state.snapshots.get(hash)).map(|(_, snapshot)| snapshot.clone()))
        })
    }
}
