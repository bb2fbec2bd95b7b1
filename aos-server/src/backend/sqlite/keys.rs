//! API keys in SQLite.

use aos_core::BoxFuture;
use aos_core::canonical::Hash;
use aos_core::id::{ApiKeyId, TenantId};
use aos_core::keys::{ApiKey, KeyStore, NewKey, Scope};
use aos_core::runs::StoreError;
use aos_core::time::Timestamp;
use rusqlite::{Connection, Row, params};

use super::Sqlite;
use super::error::Stop;
use super::row::{millis, timestamp};
use super::writer::Tx;

/// The columns that [`key`] reads, in its order.
const ONE: &str =
    "SELECT tenant, id, hash, label, scope, expires_at, created_by, created_at, revoked_at, revoked_by, used_at
                   FROM api_key WHERE tenant = ?1 AND id = ?2";
const ALL: &str =
    "SELECT tenant, id, hash, label, scope, expires_at, created_by, created_at, revoked_at, revoked_by, used_at
                   FROM api_key WHERE tenant = ?1 ORDER BY seq";

impl KeyStore for Sqlite {
    fn create(&self, key: NewKey) -> BoxFuture<'_, Result<Option<ApiKey>, StoreError>> {
        Box::pin(self.writer.write("make an API key", move |tx| {
            let sql = "SELECT EXISTS (SELECT 1 FROM api_key WHERE tenant = ?1 AND id = ?2)";
            let is_taken = tx.sql(sql)?.query_row((key.tenant.as_str(), key.id.as_str()), |row| row.get(0))?;
            if is_taken { Ok(None) } else { insert(tx, &key).map(Some) }
        }))
    }

    fn create_first(&self, key: NewKey) -> BoxFuture<'_, Result<Option<ApiKey>, StoreError>> {
        Box::pin(self.writer.write("make the first API key", move |tx| {
            let sql = "SELECT EXISTS (SELECT 1 FROM api_key WHERE tenant = ?1)";
            let has_keys = tx.sql(sql)?.query_row([key.tenant.as_str()], |row| row.get(0))?;
            if has_keys { Ok(None) } else { insert(tx, &key).map(Some) }
        }))
    }

    fn get<'a>(&'a self, tenant: &'a TenantId, key: &'a ApiKeyId) -> BoxFuture<'a, Result<Option<ApiKey>, StoreError>> {
        let (tenant, id) = (tenant.clone(), key.clone());
        Box::pin(self.readers.read("read an API key", move |conn| one(conn, &tenant, &id)))
    }

    fn list<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<ApiKey>, StoreError>> {
        let tenant = tenant.clone();
        Box::pin(self.readers.read("list API keys", move |conn| {
            let mut statement = conn.prepare_cached(ALL)?;
            let mut rows = statement.query([tenant.as_str()])?;
            let mut keys = Vec::new();
            while let Some(row) = rows.next()? {
                keys.push(key(row)?);
            }
            Ok(keys)
        }))
    }

    fn revoke<'a>(
        &'a self,
        tenant: &'a TenantId,
        key: &'a ApiKeyId,
        by: &'a str,
    ) -> BoxFuture<'a, Result<Option<ApiKey>, StoreError>> {
        let (tenant, id, by) = (tenant.clone(), key.clone(), by.to_owned());
        Box::pin(self.writer.write("revoke an API key", move |tx| {
            let sql = "UPDATE api_key SET revoked_at = ?3, revoked_by = ?4
                       WHERE tenant = ?1 AND id = ?2 AND revoked_at IS NULL";
            tx.sql(sql)?.execute((tenant.as_str(), id.as_str(), millis(tx.now), &by))?;
            one(tx.conn, &tenant, &id)
        }))
    }

    fn used<'a>(
        &'a self,
        tenant: &'a TenantId,
        uses: &'a [(ApiKeyId, Timestamp)],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (tenant, uses) = (tenant.clone(), uses.to_vec());
        Box::pin(self.writer.write("note the uses of API keys", move |tx| {
            let sql = "UPDATE api_key SET used_at = max(coalesce(used_at, ?3), ?3) WHERE tenant = ?1 AND id = ?2";
            for (key, at) in &uses {
                tx.sql(sql)?.execute((tenant.as_str(), key.as_str(), millis(*at)))?;
            }
            Ok(())
        }))
    }
}

fn insert(tx: &Tx<'_>, key: &NewKey) -> Result<ApiKey, Stop> {
    let sql = "INSERT INTO api_key (tenant, id, hash, label, scope, expires_at, created_by, created_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    tx.sql(sql)?.execute(params![
        key.tenant.as_str(),
        key.id.as_str(),
        key.hash.as_bytes(),
        key.label,
        key.scope.as_str(),
        key.expires_at.map(millis),
        key.by,
        millis(tx.now),
    ])?;
    Ok(ApiKey { new: key.clone(), created_at: tx.now, revoked: None, used_at: None })
}

fn one(conn: &Connection, tenant: &TenantId, id: &ApiKeyId) -> Result<Option<ApiKey>, Stop> {
    let mut statement = conn.prepare_cached(ONE)?;
    let mut rows = statement.query((tenant.as_str(), id.as_str()))?;
    rows.next()?.map(key).transpose()
}

fn key(row: &Row<'_>) -> Result<ApiKey, Stop> {
    let (tenant, id, scope): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(4)?);
    let damaged = |column: &str, why: String| StoreError::Corrupt {
        what: "row of api_key",
        id: id.clone(),
        why: format!("column {column}: {why}"),
    };
    let time = |column| Ok::<_, Stop>(row.get::<_, Option<i64>>(column)?.map(timestamp));
    Ok(ApiKey {
        new: NewKey {
            tenant: TenantId::new(&tenant).map_err(|error| damaged("tenant", error.to_string()))?,
            id: ApiKeyId::new(&id).map_err(|error| damaged("id", error.to_string()))?,
            hash: Hash::from(row.get::<_, [u8; 32]>(2)?),
            label: row.get(3)?,
            scope: Scope::from_text(&scope).ok_or_else(|| damaged("scope", format!("{scope:?} is not a scope")))?,
            expires_at: time(5)?,
            by: row.get(6)?,
        },
        created_at: timestamp(row.get(7)?),
        revoked: time(8)?.map(|at| Ok::<_, Stop>((at, row.get(9)?))).transpose()?,
        used_at: time(10)?,
    })
}
