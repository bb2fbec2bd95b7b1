//! A cache in memory, bounded by bytes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lock;
use crate::BoxFuture;
use crate::cache::Cache;
use crate::id::TenantId;
use crate::time::{Clock, Timestamp};

/// What an entry costs beside its key and value: the two map nodes and the allocations behind them, roughly.
const OVERHEAD_BYTES: usize = 160;

/// Keeps the values used last, as many as fit into a number of bytes.
pub struct MemoryCache {
    clock: Arc<dyn Clock>,
    max_bytes: usize,
    state: Mutex<State>,
}

type Key = (TenantId, Arc<str>);

#[derive(Default)]
struct State {
    entries: BTreeMap<Key, Entry>,
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
}

struct Entry {
    value: Arc<[u8]>,
    expires: Timestamp,
    last_use: u64,
}

impl MemoryCache {
    /// An empty cache of at most `max_bytes`, keys and bookkeeping included.
    pub fn new(clock: Arc<dyn Clock>, max_bytes: usize) -> Self {
        Self { clock, max_bytes, state: Mutex::default() }
    }

    /// How many bytes it holds, keys and bookkeeping included.
    pub fn bytes(&self) -> usize {
        lock(&self.state).bytes
    }
}

impl Cache for MemoryCache {
    fn get<'a>(&'a self, tenant: &'a TenantId, key: &'a str) -> BoxFuture<'a, Option<Arc<[u8]>>> {
        Box::pin(async move {
            let now = self.clock.now();
            let mut state = lock(&self.state);
            let key = (tenant.clone(), Arc::from(key));
            if state.entries.get(&key)?.expires < now {
                state.remove(&key);
                return None;
            }
            state.touch(&key)
        })
    }

    fn put<'a>(&'a self, tenant: &'a TenantId, key: &'a str, value: Arc<[u8]>, ttl: Duration) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let expires = self.clock.now().saturating_add(ttl);
            let mut state = lock(&self.state);
            let key: Key = (tenant.clone(), Arc::from(key));
            state.remove(&key);
            let bytes = size(&key, &value);
            if bytes > self.max_bytes {
                return;
            }
            state.insert(key, value, expires, bytes);
            while state.bytes > self.max_bytes {
                let Some(oldest) = state.by_use.first_key_value().map(|(_, key)| key.clone()) else { break };
                state.remove(&oldest);
            }
        })
    }
}

impl State {
    fn insert(&mut self, key: Key, value: Arc<[u8]>, expires: Timestamp, bytes: usize) {
        self.uses += 1;
        self.by_use.insert(self.uses, key.clone());
        self.entries.insert(key, Entry { value, expires, last_use: self.uses });
        self.bytes += bytes;
    }

    fn touch(&mut self, key: &Key) -> Option<Arc<[u8]>> {
        self.uses += 1;
        let entry = self.entries.get_mut(key)?;
        let before = std::mem::replace(&mut entry.last_use, self.uses);
        if let Some(key) = self.by_use.remove(&before) {
            self.by_use.insert(self.uses, key);
        }
        Some(Arc::clone(&entry.value))
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.by_use.remove(&entry.last_use);
            self.bytes -= size(key, &entry.value);
        }
    }
}

/// Bytes that an entry counts for; its key is kept in both maps, but shared.
fn size(key: &Key, value: &[u8]) -> usize {
    key.1.len() + value.len() + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::VirtualClock;

    #[test]
    fn forgets_what_was_used_longest_ago() {
        let cache = MemoryCache::new(Arc::new(VirtualClock::new(Timestamp::EPOCH)), 3 * (OVERHEAD_BYTES + 1 + 100));
        let tenant = TenantId::default();
        let put = |key| pollster::block_on(cache.put(&tenant, key, vec![0; 100].into(), Duration::from_secs(1)));
        let has = |key| pollster::block_on(cache.get(&tenant, key)).is_some();
        for key in ["a", "b", "c"] {
            put(key);
        }
        assert!(has("a"));
        put("d");
        assert_eq!(["a", "b", "c", "d"].map(has), [true, false, true, true]);
        pollster::block_on(cache.put(&tenant, "a", vec![0; 10_000].into(), Duration::from_secs(1)));
        assert!(!has("a"), "a value that can't fit replaces the old one by nothing");
        assert_eq!(cache.bytes(), 2 * (OVERHEAD_BYTES + 1 + 100));
    }
}
