//! API keys in Postgres.

use aos_core::BoxFuture;
use aos_core::canonical::Hash;
use aos_core::id::{ApiKeyId, TenantId};
use aos_core::keys::{ApiKey, KeyStore, NewKey, Scope};
use aos_core::runs::StoreError;
use aos_core::time::Timestamp;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::row::{millis, readable, timestamp};
use super::{Postgres, Stop};

impl KeyStore for Postgres {
    fn create(&self, key: NewKey) -> BoxFuture<'_, Result<Option<ApiKey>, StoreError>> {
        let sql = "INSERT INTO api_key (tenant, id, hash, label, scope, expires_at, created_by, created_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, aos_now())
                   ON CONFLICT (tenant, id) DO NOTHING RETURNING created_at";
        self.make("make an API key", sql, key)
    }

    fn create_first(&self, key: NewKey) -> BoxFuture<'_, Result<Option<ApiKey>, StoreError>> {
        self.make("make the first API key", "SELECT aos_first_key($1, $2, $3, $4, $5, $6, $7)", key)
    }

    fn get<'a>(&'a self, tenant: &'a TenantId, key: &'a ApiKeyId) -> BoxFuture<'a, Result<Option<ApiKey>, StoreError>> {
        let (tenant, id) = (tenant.clone(), key.clone());
        Box::pin(self.run("read an API key", async move |pool| {
            let sql = "SELECT * FROM api_key WHERE tenant = $1 AND id = $2";
            let row = sqlx::query(sql).bind(tenant.as_str()).bind(id.as_str()).fetch_optional(&pool).await?;
            row.as_ref().map(record).transpose()
        }))
    }

    fn list<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<ApiKey>, StoreError>> {
        let tenant = tenant.clone();
        Box::pin(self.run("list API keys", async move |pool| {
            let sql = "SELECT * FROM api_key WHERE tenant = $1 ORDER BY seq";
            sqlx::query(sql).bind(tenant.as_str()).fetch_all(&pool).await?.iter().map(record).collect()
        }))
    }

    fn revoke<'a>(
        &'a self,
        tenant: &'a TenantId,
        key: &'a ApiKeyId,
        by: &'a str,
    ) -> BoxFuture<'a, Result<Option<ApiKey>, StoreError>> {
        let (tenant, id, by) = (tenant.clone(), key.clone(), readable(by));
        Box::pin(self.run("revoke an API key", async move |pool| {
            let sql = "UPDATE api_key SET revoked_by = CASE WHEN revoked_at IS NULL THEN $3 ELSE revoked_by END,
                           revoked_at = coalesce(revoked_at, aos_now())
                       WHERE tenant = $1 AND id = $2 RETURNING *";
            let query = sqlx::query(sql).bind(tenant.as_str()).bind(id.as_str()).bind(&by);
            query.fetch_optional(&pool).await?.as_ref().map(record).transpose()
        }))
    }

    fn used<'a>(
        &'a self,
        tenant: &'a TenantId,
        uses: &'a [(ApiKeyId, Timestamp)],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (tenant, uses) = (tenant.clone(), uses.to_vec());
        Box::pin(self.run("note the uses of API keys", async move |pool| {
            // In one order, so that two processes never wait for each other.
            let sql =
                "WITH uses AS (SELECT * FROM unnest($2::text[], $3::bigint[]) AS u(id, at)), kept AS MATERIALIZED (
                           SELECT seq, u.at FROM api_key JOIN uses u USING (id) WHERE tenant = $1
                           ORDER BY seq FOR UPDATE OF api_key
                       )
                       UPDATE api_key SET used_at = greatest(used_at, kept.at) FROM kept WHERE api_key.seq = kept.seq";
            sqlx::query(sql)
                .bind(tenant.as_str())
                .bind(uses.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>())
                .bind(uses.iter().map(|(_, at)| millis(*at)).collect::<Vec<_>>())
                .execute(&pool)
                .await?;
            Ok(())
        }))
    }
}

impl Postgres {
    /// Makes a key by a statement that gives the time when it does, and nothing or null when it doesn't.
    fn make(
        &self,
        operation: &'static str,
        sql: &'static str,
        key: NewKey,
    ) -> BoxFuture<'_, Result<Option<ApiKey>, StoreError>> {
        let key = NewKey { label: readable(&key.label), by: readable(&key.by), ..key };
        Box::pin(self.run(operation, async move |pool| {
            let made: Option<Option<i64>> = sqlx::query_scalar(sql)
                .bind(key.tenant.as_str())
                .bind(key.id.as_str())
                .bind(key.hash.as_bytes().as_slice())
                .bind(&key.label)
                .bind(key.scope.as_str())
                .bind(key.expires_at.map(millis))
                .bind(&key.by)
                .fetch_optional(&pool)
                .await?;
            let at = made.flatten().map(timestamp);
            Ok(at.map(|created_at| ApiKey { new: key, created_at, revoked: None, used_at: None }))
        }))
    }
}

fn record(row: &PgRow) -> Result<ApiKey, Stop> {
    let (id, scope): (&str, &str) = (row.try_get("id")?, row.try_get("scope")?);
    let damaged = |column: &str, why: String| StoreError::Corrupt {
        what: "row of api_key",
        id: id.to_owned(),
        why: format!("column {column}: {why}"),
    };
    let time = |column| Ok::<_, Stop>(row.try_get::<Option<i64>, _>(column)?.map(timestamp));
    let hash: [u8; 32] =
        row.try_get::<&[u8], _>("hash")?.try_into().map_err(|_| damaged("hash", "not 32 bytes".into()))?;
    Ok(ApiKey {
        new: NewKey {
            tenant: TenantId::new(row.try_get::<&str, _>("tenant")?)
                .map_err(|error| damaged("tenant", error.to_string()))?,
            id: ApiKeyId::new(id).map_err(|error| damaged("id", error.to_string()))?,
            hash: Hash::from(hash),
            label: row.try_get("label")?,
            scope: Scope::from_text(scope).ok_or_else(|| damaged("scope", format!("{scope:?} is not a scope")))?,
            expires_at: time("expires_at")?,
            by: row.try_get("created_by")?,
        },
        created_at: timestamp(row.try_get("created_at")?),
        revoked: time("revoked_at")?.map(|at| Ok::<_, Stop>((at, row.try_get("revoked_by")?))).transpose()?,
        used_at: time("used_at")?,
    })
}
