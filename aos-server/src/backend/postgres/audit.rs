//! Audit logs in Postgres.

use aos_core::BoxFuture;
use aos_core::audit::{AuditFilter, AuditRecord, AuditStore, Checkpoint, NewAuditRecord, Page, Stage};
use aos_core::canonical::Hash;
use aos_core::id::TenantId;
use aos_core::runs::StoreError;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::row::{millis, readable, timestamp};
use super::session::Pool;
use super::{Postgres, Stop};
use crate::backend::page::{limit, number, order};

impl AuditStore for Postgres {
    fn append(&self, record: NewAuditRecord) -> BoxFuture<'_, Result<AuditRecord, StoreError>> {
        Box::pin(self.run("append to the audit log", async move |pool| {
            // Whoever comes too late finds the number taken, and looks again.
            loop {
                if let Some(record) = follow(&pool, record.clone()).await? {
                    return Ok(record);
                }
            }
        }))
    }

    fn read<'a>(
        &'a self,
        tenant: &'a TenantId,
        filter: &'a AuditFilter,
        page: Page,
    ) -> BoxFuture<'a, Result<Vec<AuditRecord>, StoreError>> {
        let (tenant, filter) = (tenant.clone(), filter.clone());
        let text = |text: &Option<String>| text.as_deref().map(readable);
        let [actor, action, request_id] = [text(&filter.actor), text(&filter.action), text(&filter.request_id)];
        let found = text(&filter.text);
        Box::pin(self.run("read the audit log", async move |pool| {
            let sql = format!(
                "SELECT * FROM audit WHERE tenant = $1 AND seq > $2 AND seq < $3
                     AND ($4::text IS NULL OR stage = $4) AND ($5::text IS NULL OR actor = $5)
                     AND ($6::text IS NULL OR action = $6) AND ($7::text IS NULL OR request_id = $7)
                     AND ($8::text IS NULL OR strpos(subject, $8) > 0 OR strpos(detail, $8) > 0)
                     AND ($9::bigint IS NULL OR at >= $9) AND ($10::bigint IS NULL OR at < $10)
                 ORDER BY seq {} LIMIT $11",
                order(page)
            );
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(tenant.as_str())
                .bind(number(page.after))
                .bind(number(page.before))
                .bind(filter.stage.map(Stage::as_str))
                .bind(&actor)
                .bind(&action)
                .bind(&request_id)
                .bind(&found)
                .bind(filter.since.map(millis))
                .bind(filter.until.map(millis))
                .bind(limit(page))
                .fetch_all(&pool)
                .await?;
            rows.iter().map(|row| audit_record(&tenant, row)).collect()
        }))
    }

    fn put_checkpoint(&self, checkpoint: Checkpoint) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.run("keep a checkpoint of the audit log", async move |pool| {
            let sql = "INSERT INTO audit_checkpoint (tenant, seq, key, hash, signature) VALUES ($1, $2, $3, $4, $5)
                       ON CONFLICT DO NOTHING";
            sqlx::query(sql)
                .bind(checkpoint.tenant.as_str())
                .bind(number(checkpoint.seq))
                .bind(&checkpoint.key)
                .bind(checkpoint.hash.as_bytes().as_slice())
                .bind(&checkpoint.signature)
                .execute(&pool)
                .await?;
            Ok(())
        }))
    }

    fn checkpoints<'a>(
        &'a self,
        tenant: &'a TenantId,
        page: Page,
    ) -> BoxFuture<'a, Result<Vec<Checkpoint>, StoreError>> {
        let tenant = tenant.clone();
        Box::pin(self.run("read checkpoints of the audit log", async move |pool| {
            let order = order(page);
            let sql = format!(
                "SELECT * FROM audit_checkpoint WHERE tenant = $1 AND seq > $2 AND seq < $3
                 ORDER BY seq {order}, key {order} LIMIT $4"
            );
            let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(tenant.as_str());
            let query = query.bind(number(page.after)).bind(number(page.before)).bind(limit(page));
            query.fetch_all(&pool).await?.iter().map(|row| checkpoint(&tenant, row)).collect()
        }))
    }
}

/// Adds a record behind the last one, unless somebody else does.
async fn follow(pool: &Pool, record: NewAuditRecord) -> Result<Option<AuditRecord>, Stop> {
    let sql = "SELECT aos_now() AS now, audit.* FROM (VALUES (1)) AS one
               LEFT JOIN LATERAL (SELECT * FROM audit WHERE tenant = $1 ORDER BY seq DESC LIMIT 1) AS audit ON true";
    let row = sqlx::query(sql).bind(record.tenant.as_str()).fetch_one(pool).await?;
    let now = timestamp(row.try_get("now")?);
    let last = match row.try_get::<Option<i64>, _>("seq")? {
        Some(_) => Some(audit_record(&record.tenant, &row)?),
        None => None,
    };
    let record = AuditRecord::after(last.as_ref(), record, now);
    let sql = "INSERT INTO audit (tenant, seq, at, stage, actor, action, subject, detail, request_id, before, hash)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING";
    let done = sqlx::query(sql)
        .bind(record.new.tenant.as_str())
        .bind(number(record.seq))
        .bind(millis(record.at))
        .bind(record.new.stage.as_str())
        .bind(&record.new.actor)
        .bind(&record.new.action)
        .bind(&record.new.subject)
        .bind(&record.new.detail)
        .bind(&record.new.request_id)
        .bind(record.before.as_ref().map(|hash| hash.as_bytes().as_slice()))
        .bind(record.hash.as_bytes().as_slice())
        .execute(pool)
        .await?;
    Ok((done.rows_affected() == 1).then_some(record))
}

fn checkpoint(tenant: &TenantId, row: &PgRow) -> Result<Checkpoint, Stop> {
    let seq: i64 = row.try_get("seq")?;
    Ok(Checkpoint {
        tenant: tenant.clone(),
        seq: seq.cast_unsigned(),
        hash: hash("row of audit_checkpoint", seq, row.try_get("hash")?)?,
        key: row.try_get("key")?,
        signature: row.try_get("signature")?,
    })
}

fn audit_record(tenant: &TenantId, row: &PgRow) -> Result<AuditRecord, Stop> {
    let (seq, stage): (i64, &str) = (row.try_get("seq")?, row.try_get("stage")?);
    let what = "row of audit";
    let before = row.try_get::<Option<&[u8]>, _>("before")?;
    Ok(AuditRecord {
        new: NewAuditRecord {
            tenant: tenant.clone(),
            stage: Stage::from_text(stage).ok_or_else(|| StoreError::Corrupt {
                what,
                id: seq.to_string(),
                why: format!("column stage: {stage:?} is not a stage"),
            })?,
            actor: row.try_get("actor")?,
            action: row.try_get("action")?,
            subject: row.try_get("subject")?,
            detail: row.try_get("detail")?,
            request_id: row.try_get("request_id")?,
        },
        seq: seq.cast_unsigned(),
        at: timestamp(row.try_get("at")?),
        before: before.map(|bytes| hash(what, seq, bytes)).transpose()?,
        hash: hash(what, seq, row.try_get("hash")?)?,
    })
}

fn hash(what: &'static str, seq: i64, bytes: &[u8]) -> Result<Hash, StoreError> {
    let bytes: Result<[u8; 32], _> = bytes.try_into();
    let damaged = |_| StoreError::Corrupt { what, id: seq.to_string(), why: "a hash of not 32 bytes".into() };
    bytes.map(Hash::from).map_err(damaged)
}
