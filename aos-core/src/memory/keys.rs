//! API keys in memory.

use std::sync::{Arc, Mutex};

use super::lock;
use crate::BoxFuture;
use crate::id::{ApiKeyId, TenantId};
use crate::keys::{ApiKey, KeyStore, NewKey};
use crate::runs::StoreError;
use crate::time::{Clock, Timestamp};

/// Keeps API keys as long as it lives.
pub struct MemoryKeys {
    clock: Arc<dyn Clock>,
    /// Oldest first.
    keys: Mutex<Vec<ApiKey>>,
}

impl MemoryKeys {
    /// A store without keys.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, keys: Mutex::default() }
    }

    fn add(&self, new: NewKey, is_in_the_way: impl Fn(&ApiKey) -> bool) -> Option<ApiKey> {
        let mut keys = lock(&self.keys);
        if keys.iter().any(|key| key.new.tenant == new.tenant && is_in_the_way(key)) {
            return None;
        }
        let key = ApiKey { new, created_at: self.clock.now(), revoked: None, used_at: None };
        keys.push(key.clone());
        Some(key)
    }
}

impl KeyStore for MemoryKeys {
    fn create(&self, key: NewKey) -> BoxFuture<'_, Result<Option<ApiKey>, StoreError>> {
        Box::pin(async move {
            let id = key.id.clone();
            Ok(self.add(key, |other| other.new.id == id))
        })
    }

    fn create_first(&self, key: NewKey) -> BoxFuture<'_, Result<Option<ApiKey>, StoreError>> {
        Box::pin(async move { Ok(self.add(key, |_| true)) })
    }

    fn get<'a>(&'a self, tenant: &'a TenantId, key: &'a ApiKeyId) -> BoxFuture<'a, Result<Option<ApiKey>, StoreError>> {
        Box::pin(async move { Ok(lock(&self.keys).iter().find(|kept| is(kept, tenant, key)).cloned()) })
    }

    fn list<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<ApiKey>, StoreError>> {
        Box::pin(async move { Ok(lock(&self.keys).iter().filter(|key| key.new.tenant == *tenant).cloned().collect()) })
    }

    fn revoke<'a>(
        &'a self,
        tenant: &'a TenantId,
        key: &'a ApiKeyId,
        by: &'a str,
    ) -> BoxFuture<'a, Result<Option<ApiKey>, StoreError>> {
        Box::pin(async move {
            let now = self.clock.now();
            let mut keys = lock(&self.keys);
            let Some(kept) = keys.iter_mut().find(|kept| is(kept, tenant, key)) else { return Ok(None) };
            kept.revoked.get_or_insert_with(|| (now, by.to_owned()));
            Ok(Some(kept.clone()))
        })
    }

    fn used<'a>(
        &'a self,
        tenant: &'a TenantId,
        uses: &'a [(ApiKeyId, Timestamp)],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut keys = lock(&self.keys);
            for (key, at) in uses {
                if let Some(kept) = keys.iter_mut().find(|kept| is(kept, tenant, key)) {
                    kept.used_at = kept.used_at.max(Some(*at));
                }
            }
            Ok(())
        })
    }
}

fn is(kept: &ApiKey, tenant: &TenantId, key: &ApiKeyId) -> bool {
    kept.new.tenant == *tenant && kept.new.id == *key
}
