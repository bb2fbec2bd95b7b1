//! Blobs in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::lock;
use crate::BoxFuture;
use crate::blob::BlobStore;
use crate::canonical::Hash;
use crate::runs::StoreError;

/// Bytes by their SHA-256, without a bound: they live as long as this value.
#[derive(Default)]
pub struct MemoryBlobs {
    blobs: Mutex<BTreeMap<Hash, Arc<[u8]>>>,
}

impl MemoryBlobs {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps bytes whose hash is known.
    pub(super) fn insert(&self, hash: Hash, bytes: &[u8]) {
        lock(&self.blobs).entry(hash).or_insert_with(|| bytes.into());
    }
}

impl BlobStore for MemoryBlobs {
    fn put<'a>(&'a self, bytes: &'a [u8]) -> BoxFuture<'a, Result<Hash, StoreError>> {
        Box::pin(async move {
            let hash = Hash::of(bytes);
            self.insert(hash, bytes);
            Ok(hash)
        })
    }

    fn get<'a>(&'a self, hash: &'a Hash) -> BoxFuture<'a, Result<Option<Arc<[u8]>>, StoreError>> {
        Box::pin(async move { Ok(lock(&self.blobs).get(hash).cloned()) })
    }
}
