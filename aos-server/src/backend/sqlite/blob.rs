//! Payloads by content, in SQLite.

use std::sync::Arc;

use aos_core::BoxFuture;
use aos_core::blob::BlobStore;
use aos_core::canonical::Hash;
use aos_core::runs::StoreError;
use rusqlite::OptionalExtension;

use super::Sqlite;
use super::writer::Tx;

impl BlobStore for Sqlite {
    fn put<'a>(&'a self, bytes: &'a [u8]) -> BoxFuture<'a, Result<Hash, StoreError>> {
        Box::pin(async move {
            let (hash, bytes) = (Hash::of(bytes), bytes.to_vec());
            self.writer.write("keep a blob", move |tx| Ok(insert(tx, &hash, &bytes)?)).await?;
            Ok(hash)
        })
    }

    fn get<'a>(&'a self, hash: &'a Hash) -> BoxFuture<'a, Result<Option<Arc<[u8]>>, StoreError>> {
        let hash = *hash;
        Box::pin(self.readers.read("read a blob", move |conn| {
            let mut statement = conn.prepare_cached("SELECT bytes FROM blob WHERE hash = ?1")?;
            let bytes: Option<Vec<u8>> = statement.query_row([hash.as_bytes()], |row| row.get(0)).optional()?;
            if bytes.as_ref().is_some_and(|bytes| Hash::of(bytes) != hash) {
                let why = "its bytes do not have this hash; restore it from a backup".into();
                return Err(StoreError::Corrupt { what: "blob", id: hash.to_string(), why }.into());
            }
            Ok(bytes.map(Arc::from))
        }))
    }
}

/// Keeps bytes whose hash is known.
pub(super) fn insert(tx: &Tx<'_>, hash: &Hash, bytes: &[u8]) -> rusqlite::Result<()> {
    let sql = "INSERT INTO blob (hash, bytes) VALUES (?1, ?2) ON CONFLICT (hash) DO NOTHING";
    tx.sql(sql)?.execute((hash.as_bytes(), bytes)).map(drop)
}
