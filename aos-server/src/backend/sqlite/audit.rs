//! Audit logs in SQLite.

use aos_core::BoxFuture;
use aos_core::audit::{AuditFilter, AuditRecord, AuditStore, Checkpoint, NewAuditRecord, Page, Stage};
use aos_core::canonical::Hash;
use aos_core::id::TenantId;
use aos_core::runs::StoreError;
use rusqlite::{Connection, Row, params};

use super::Sqlite;
use super::error::Stop;
use super::row::{millis, timestamp};
use crate::backend::page::{limit, number, order};

/// The columns that [`record`] reads, in its order.
const COLUMNS: &str = "seq, at, stage, actor, action, subject, detail, request_id, before, hash";

impl AuditStore for Sqlite {
    fn append(&self, record: NewAuditRecord) -> BoxFuture<'_, Result<AuditRecord, StoreError>> {
        Box::pin(self.writer.write("append to the audit log", move |tx| {
            let last = last(tx.conn, &record.tenant)?;
            let record = AuditRecord::after(last.as_ref(), record.clone(), tx.now);
            let sql = "INSERT INTO audit
                           (tenant, seq, at, stage, actor, action, subject, detail, request_id, before, hash)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
            let NewAuditRecord { tenant, stage, actor, action, subject, detail, request_id } = &record.new;
            tx.sql(sql)?.execute(params![
                tenant.as_str(),
                number(record.seq),
                millis(record.at),
                stage.as_str(),
                actor,
                action,
                subject,
                detail,
                request_id,
                record.before.as_ref().map(Hash::as_bytes),
                record.hash.as_bytes(),
            ])?;
            Ok(record)
        }))
    }

    fn read<'a>(
        &'a self,
        tenant: &'a TenantId,
        filter: &'a AuditFilter,
        page: Page,
    ) -> BoxFuture<'a, Result<Vec<AuditRecord>, StoreError>> {
        let (tenant, filter) = (tenant.clone(), filter.clone());
        Box::pin(self.readers.read("read the audit log", move |conn| {
            let sql = format!(
                "SELECT {COLUMNS} FROM audit WHERE tenant = ?1 AND seq > ?2 AND seq < ?3
                     AND (?4 IS NULL OR stage = ?4) AND (?5 IS NULL OR actor = ?5) AND (?6 IS NULL OR action = ?6)
                     AND (?7 IS NULL OR request_id = ?7)
                     AND (?8 IS NULL OR instr(subject, ?8) > 0 OR instr(detail, ?8) > 0)
                     AND (?9 IS NULL OR at >= ?9) AND (?10 IS NULL OR at < ?10)
                 ORDER BY seq {} LIMIT ?11",
                order(page)
            );
            let mut statement = conn.prepare_cached(&sql)?;
            let mut rows = statement.query(params![
                tenant.as_str(),
                number(page.after),
                number(page.before),
                filter.stage.map(Stage::as_str),
                filter.actor,
                filter.action,
                filter.request_id,
                filter.text,
                filter.since.map(millis),
                filter.until.map(millis),
                limit(page),
            ])?;
            let mut records = Vec::new();
            while let Some(row) = rows.next()? {
                records.push(record(&tenant, row)?);
            }
            Ok(records)
        }))
    }

    fn put_checkpoint(&self, checkpoint: Checkpoint) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.writer.write("keep a checkpoint of the audit log", move |tx| {
            let sql = "INSERT INTO audit_checkpoint (tenant, seq, key, hash, signature) VALUES (?1, ?2, ?3, ?4, ?5)
                       ON CONFLICT DO NOTHING";
            let Checkpoint { tenant, seq, hash, key, signature } = &checkpoint;
            tx.sql(sql)?.execute((tenant.as_str(), number(*seq), key, hash.as_bytes(), signature))?;
            Ok(())
        }))
    }

    fn checkpoints<'a>(
        &'a self,
        tenant: &'a TenantId,
        page: Page,
    ) -> BoxFuture<'a, Result<Vec<Checkpoint>, StoreError>> {
        let tenant = tenant.clone();
        Box::pin(self.readers.read("read checkpoints of the audit log", move |conn| {
            let order = order(page);
            let sql = format!(
                "SELECT seq, hash, key, signature FROM audit_checkpoint WHERE tenant = ?1 AND seq > ?2 AND seq < ?3
                 ORDER BY seq {order}, key {order} LIMIT ?4"
            );
            let mut statement = conn.prepare_cached(&sql)?;
            let values = (tenant.as_str(), number(page.after), number(page.before), limit(page));
            let checkpoints = statement.query_map(values, |row| {
                Ok(Checkpoint {
                    tenant: tenant.clone(),
                    seq: row.get::<_, i64>(0)?.cast_unsigned(),
                    hash: Hash::from(row.get::<_, [u8; 32]>(1)?),
                    key: row.get(2)?,
                    signature: row.get(3)?,
                })
            })?;
            Ok(checkpoints.collect::<Result<_, _>>()?)
        }))
    }
}

fn last(conn: &Connection, tenant: &TenantId) -> Result<Option<AuditRecord>, Stop> {
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE tenant = ?1 ORDER BY seq DESC LIMIT 1");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([tenant.as_str()])?;
    rows.next()?.map(|row| record(tenant, row)).transpose()
}

fn record(tenant: &TenantId, row: &Row<'_>) -> Result<AuditRecord, Stop> {
    let seq = row.get::<_, i64>(0)?.cast_unsigned();
    let stage: String = row.get(2)?;
    let stage = Stage::from_text(&stage).ok_or_else(|| StoreError::Corrupt {
        what: "row of audit",
        id: seq.to_string(),
        why: format!("column stage: {stage:?} is not a stage"),
    })?;
    Ok(AuditRecord {
        new: NewAuditRecord {
            tenant: tenant.clone(),
            stage,
            actor: row.get(3)?,
            action: row.get(4)?,
            subject: row.get(5)?,
            detail: row.get(6)?,
            request_id: row.get(7)?,
        },
        seq,
        at: timestamp(row.get(1)?),
        before: row.get::<_, Option<[u8; 32]>>(8)?.map(Hash::from),
        hash: Hash::from(row.get::<_, [u8; 32]>(9)?),
    })
}
