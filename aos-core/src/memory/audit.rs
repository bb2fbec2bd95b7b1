//! Audit logs in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::lock;
use crate::BoxFuture;
use crate::audit::{AuditFilter, AuditRecord, AuditStore, Checkpoint, NewAuditRecord, Page};
use crate::id::TenantId;
use crate::runs::StoreError;
use crate::time::Clock;

/// Keeps audit logs as long as it lives.
pub struct MemoryAudit {
    clock: Arc<dyn Clock>,
    logs: Mutex<BTreeMap<TenantId, Log>>,
}

#[derive(Default)]
struct Log {
    records: Vec<AuditRecord>,
    /// By number and key.
    checkpoints: BTreeMap<(u64, String), Checkpoint>,
}

impl MemoryAudit {
    /// A store without records.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, logs: Mutex::default() }
    }

    fn page<T>(
        &self,
        tenant: &TenantId,
        page: Page,
        all: impl Fn(&Log) -> Vec<T>,
        number: impl Fn(&T) -> u64,
    ) -> Vec<T> {
        let mut found = lock(&self.logs).get(tenant).map(all).unwrap_or_default();
        found.retain(|item| number(item) > page.after && number(item) < page.before);
        if page.newest_first {
            found.reverse();
        }
        found.truncate(page.limit);
        found
    }
}

impl AuditStore for MemoryAudit {
    fn append(&self, record: NewAuditRecord) -> BoxFuture<'_, Result<AuditRecord, StoreError>> {
        Box::pin(async move {
            let mut logs = lock(&self.logs);
            let log = logs.entry(record.tenant.clone()).or_default();
            let record = AuditRecord::after(log.records.last(), record, self.clock.now());
            log.records.push(record.clone());
            Ok(record)
        })
    }

    fn read<'a>(
        &'a self,
        tenant: &'a TenantId,
        filter: &'a AuditFilter,
        page: Page,
    ) -> BoxFuture<'a, Result<Vec<AuditRecord>, StoreError>> {
        let fits = |log: &Log| log.records.iter().filter(|record| lets_through(filter, record)).cloned().collect();
        Box::pin(async move { Ok(self.page(tenant, page, fits, |record| record.seq)) })
    }

    fn put_checkpoint(&self, checkpoint: Checkpoint) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let mut logs = lock(&self.logs);
            let kept = &mut logs.entry(checkpoint.tenant.clone()).or_default().checkpoints;
            kept.entry((checkpoint.seq, checkpoint.key.clone())).or_insert(checkpoint);
            Ok(())
        })
    }

    fn checkpoints<'a>(
        &'a self,
        tenant: &'a TenantId,
        page: Page,
    ) -> BoxFuture<'a, Result<Vec<Checkpoint>, StoreError>> {
        let all = |log: &Log| log.checkpoints.values().cloned().collect();
        Box::pin(async move { Ok(self.page(tenant, page, all, |checkpoint| checkpoint.seq)) })
    }
}

fn lets_through(filter: &AuditFilter, record: &AuditRecord) -> bool {
    let new = &record.new;
    let is = |wanted: &Option<String>, text: Option<&str>| wanted.is_none() || wanted.as_deref() == text;
    filter.stage.is_none_or(|stage| stage == new.stage)
        && is(&filter.actor, Some(&new.actor))
        && is(&filter.action, Some(&new.action))
        && is(&filter.request_id, new.request_id.as_deref())
        && filter.text.as_ref().is_none_or(|text| new.subject.contains(text) || new.detail.contains(text))
        && filter.since.is_none_or(|since| record.at >= since)
        && filter.until.is_none_or(|until| record.at < until)
}
