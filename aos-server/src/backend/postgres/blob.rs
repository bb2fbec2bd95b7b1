//! Payloads by content, in Postgres.

use std::sync::Arc;

use aos_core::BoxFuture;
use aos_core::blob::BlobStore;
use aos_core::canonical::Hash;
use aos_core::runs::StoreError;

use super::Postgres;

impl BlobStore for Postgres {
    fn put<'a>(&'a self, bytes: &'a [u8]) -> BoxFuture<'a, Result<Hash, StoreError>> {
        Box::pin(async move {
            let (hash, bytes) = (Hash::of(bytes), bytes.to_vec());
            self.run("keep a blob", async move |pool| {
                let sql = "INSERT INTO blob (hash, bytes) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING";
                sqlx::query(sql).bind(&hash.as_bytes()[..]).bind(bytes).execute(&pool).await?;
                Ok(hash)
            })
            .await
        })
    }

    fn get<'a>(&'a self, hash: &'a Hash) -> BoxFuture<'a, Result<Option<Arc<[u8]>>, StoreError>> {
        let hash = *hash;
        Box::pin(self.run("read a blob", async move |pool| {
            let sql = "SELECT bytes FROM blob WHERE hash = $1";
            let found = sqlx::query_scalar(sql).bind(&hash.as_bytes()[..]).fetch_optional(&pool).await?;
            let bytes: Option<Vec<u8>> = found;
            if bytes.as_ref().is_some_and(|bytes| Hash::of(bytes) != hash) {
                let why = "its bytes do not have this hash; restore it from a backup".into();
                return Err(StoreError::Corrupt { what: "blob", id: hash.to_string(), why }.into());
            }
            Ok(bytes.map(Arc::from))
        }))
    }
}
