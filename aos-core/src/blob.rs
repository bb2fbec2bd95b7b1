//! The contract of a store for large payloads, by content.

use std::sync::Arc;

use crate::BoxFuture;
use crate::canonical::Hash;
use crate::runs::StoreError;

/// Keeps bytes under their SHA-256.
///
/// # Contract
/// - `put` is durable when it resolves; putting the same bytes again changes nothing.
/// - `get` gives exactly the bytes that were put, or `None`; damaged bytes are [`StoreError::Corrupt`].
pub trait BlobStore: Send + Sync {
    /// Keeps `bytes`; gives their hash.
    fn put<'a>(&'a self, bytes: &'a [u8]) -> BoxFuture<'a, Result<Hash, StoreError>>;
    /// The bytes with this hash.
    fn get<'a>(&'a self, hash: &'a Hash) -> BoxFuture<'a, Result<Option<Arc<[u8]>>, StoreError>>;
}
