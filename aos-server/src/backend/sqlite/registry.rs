//! Registries in SQLite: tables that an operator may read, and change, by hand.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use aos_core::BoxFuture;
use aos_core::canonical::Hash;
use aos_core::id::TenantId;
use aos_core::registry::{
    Action, AuditEntry, Change, Loaded, Record, RegistrySnapshot, RegistryStore, SkillRecord, SnapshotInfo, Status,
    Subject, WorkflowRecord,
};
use aos_core::runs::StoreError;
use aos_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as TextError, StrDeserializer};

use super::Sqlite;
use super::error::Stop;
use super::row::{millis, timestamp};
use super::writer::Tx;
use crate::backend::watch::Topic;

impl RegistryStore for Sqlite {
    fn load<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Loaded, StoreError>> {
        let tenant = tenant.clone();
        Box::pin(self.readers.read("load the registry", move |conn| load(conn, &tenant)))
    }

    fn save<'a>(
        &'a self,
        tenant: &'a TenantId,
        expected: u64,
        changes: &'a [Change],
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            let rows = changes.iter().map(|change| ChangeRow::of(tenant, change)).collect::<Result<Vec<_>, _>>()?;
            let tenant = tenant.clone();
            self.writer.write("save the registry", move |tx| save(tx, &tenant, expected, &rows)).await
        })
    }

    fn changed<'a>(&'a self, tenant: &'a TenantId, after: u64) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            let watch = self.waiters.watch(Topic::Registry(tenant.clone()));
            loop {
                let mut woken = pin!(watch.notify.notified());
                woken.as_mut().enable();
                let tenant = tenant.clone();
                let read = self.readers.read("look for registry changes", move |conn| Ok(revision(conn, &tenant)?));
                let revision = read.await?;
                if revision > after {
                    return Ok(revision);
                }
                woken.await;
            }
        })
    }

    fn audit<'a>(&'a self, tenant: &'a TenantId, limit: usize) -> BoxFuture<'a, Result<Vec<AuditEntry>, StoreError>> {
        let tenant = tenant.clone();
        Box::pin(self.readers.read("read the audit log", move |conn| {
            let sql = "SELECT at, action, kind, subject, status, reason FROM registry_audit
                       WHERE tenant = ?1 ORDER BY seq DESC LIMIT ?2";
            let mut statement = conn.prepare_cached(sql)?;
            let mut rows = statement.query((tenant.as_str(), i64::try_from(limit).unwrap_or(i64::MAX)))?;
            let mut entries = Vec::new();
            while let Some(row) = rows.next()? {
                entries.push(audit_entry(row)?);
            }
            Ok(entries)
        }))
    }

    fn put_snapshot<'a>(
        &'a self,
        tenant: &'a TenantId,
        snapshot: &'a RegistrySnapshot,
        at: Timestamp,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (tenant, hash, text) = (tenant.clone(), snapshot.hash(), snapshot.to_string());
        let (skills, workflows) = (snapshot.skills().len() as i64, snapshot.workflows().len() as i64);
        Box::pin(self.writer.write("keep a registry snapshot", move |tx| {
            let sql = "INSERT INTO registry_snapshot (tenant, hash, taken_at, skills, workflows, text)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
            tx.sql(sql)?.execute((tenant.as_str(), hash.as_bytes(), millis(at), skills, workflows, &text))?;
            Ok(())
        }))
    }

    fn snapshots<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<SnapshotInfo>, StoreError>> {
        let tenant = tenant.clone();
        Box::pin(self.readers.read("list registry snapshots", move |conn| {
            let sql = "SELECT hash, taken_at, skills, workflows FROM registry_snapshot
                       WHERE tenant = ?1 ORDER BY taken_at DESC, hash";
            let mut statement = conn.prepare_cached(sql)?;
            let infos = statement.query_map([tenant.as_str()], |row| {
                Ok(SnapshotInfo {
                    hash: row.get::<_, [u8; 32]>(0)?.into(),
                    taken_at: timestamp(row.get(1)?),
                    skills: row.get::<_, i64>(2)? as u64,
                    workflows: row.get::<_, i64>(3)? as u64,
                })
            })?;
            Ok(infos.collect::<Result<_, _>>()?)
        }))
    }

    fn snapshot<'a>(
        &'a self,
        tenant: &'a TenantId,
        hash: &'a Hash,
    ) -> BoxFuture<'a, Result<Option<RegistrySnapshot>, StoreError>> {
        let (tenant, hash) = (tenant.clone(), *hash);
        Box::pin(self.readers.read("read a registry snapshot", move |conn| {
            let sql = "SELECT text FROM registry_snapshot WHERE tenant = ?1 AND hash = ?2";
            let mut statement = conn.prepare_cached(sql)?;
            let text: Option<String> =
                statement.query_row((tenant.as_str(), hash.as_bytes()), |row| row.get(0)).optional()?;
            let Some(text) = text else { return Ok(None) };
            let snapshot = RegistrySnapshot::parse(&text).map_err(|failure| StoreError::Corrupt {
                what: "registry snapshot",
                id: hash.to_string(),
                why: failure.message,
            })?;
            Ok(Some(snapshot))
        }))
    }
}

/// A change as its rows hold it, encoded before the writer's thread sees it.
struct ChangeRow {
    action: &'static str,
    at: i64,
    kind: Kind,
    subject: String,
    id: String,
    version: String,
    status: &'static str,
    reason: Option<String>,
    registered_at: i64,
}

/// The JSON of a record.
enum Kind {
    Skill { contract: String },
    Workflow { definition: String, plan: String },
}

impl ChangeRow {
    fn of(tenant: &TenantId, change: &Change) -> Result<Self, StoreError> {
        let record = &change.record;
        let subject = record.subject();
        if record.tenant() != tenant {
            return Err(StoreError::Conflict(format!("the record of {subject} is not one of tenant {tenant}")));
        }
        let (id, version) = match &subject {
            Subject::Skill(skill) => (skill.id.to_string(), skill.version.to_string()),
            Subject::Workflow(workflow) => (workflow.id.to_string(), workflow.version.to_string()),
        };
        let unwritable = |error| StoreError::Conflict(format!("the record of {subject} can't be JSON: {error}"));
        let kind = match record {
            Record::Skill(skill) => {
                Kind::Skill { contract: serde_json::to_string(&skill.contract).map_err(unwritable)? }
            }
            Record::Workflow(workflow) => Kind::Workflow {
                definition: workflow.definition.to_string(),
                plan: serde_json::to_string(&workflow.plan).map_err(unwritable)?,
            },
        };
        Ok(Self {
            action: change.action.as_str(),
            at: millis(change.at),
            kind,
            subject: format!("{id}@{version}"),
            id,
            version,
            status: if record.status().is_enabled() { "enabled" } else { "disabled" },
            reason: record.status().reason().map(str::to_owned),
            registered_at: millis(record.registered_at()),
        })
    }

    fn write(&self, tx: &Tx<'_>, tenant: &TenantId) -> rusqlite::Result<()> {
        let tenant = tenant.as_str();
        let kind = match &self.kind {
            Kind::Skill { contract } => {
                let sql = "INSERT INTO skills (tenant, id, version, status, reason, registered_at, contract)
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                           ON CONFLICT (tenant, id, version) DO UPDATE SET status = excluded.status,
                               reason = excluded.reason, registered_at = excluded.registered_at,
                               contract = excluded.contract";
                let row = (tenant, &self.id, &self.version, self.status, &self.reason, self.registered_at, contract);
                tx.sql(sql)?.execute(row)?;
                "skill"
            }
            Kind::Workflow { definition, plan } => {
                let sql = "INSERT INTO workflows (tenant, id, version, status, reason, registered_at, definition, plan)
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                           ON CONFLICT (tenant, id, version) DO UPDATE SET status = excluded.status,
                               reason = excluded.reason, registered_at = excluded.registered_at,
                               definition = excluded.definition, plan = excluded.plan";
                let (status, since) = (self.status, self.registered_at);
                let row = params![tenant, self.id, self.version, status, self.reason, since, definition, plan];
                tx.sql(sql)?.execute(row)?;
                "workflow"
            }
        };
        let sql = "INSERT INTO registry_audit (tenant, at, action, kind, subject, status, reason)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let row = (tenant, self.at, self.action, kind, &self.subject, self.status, &self.reason);
        tx.sql(sql)?.execute(row).map(drop)
    }
}

fn save(tx: &Tx<'_>, tenant: &TenantId, expected: u64, rows: &[ChangeRow]) -> Result<u64, Stop> {
    let found = revision(tx.conn, tenant)?;
    if found != expected {
        let what = format!("the registry of tenant {tenant} is at revision {found}, not {expected}");
        return Err(StoreError::Conflict(what).into());
    }
    for row in rows {
        row.write(tx, tenant)?;
    }
    // The triggers count records; a save without any counts too.
    let sql = "INSERT INTO registry_revision VALUES (?1, 1)
               ON CONFLICT (tenant) DO UPDATE SET revision = revision + 1";
    tx.sql(sql)?.execute([tenant.as_str()])?;
    tx.changed(Topic::Registry(tenant.clone()));
    Ok(revision(tx.conn, tenant)?)
}

fn revision(conn: &Connection, tenant: &TenantId) -> rusqlite::Result<u64> {
    let mut statement = conn.prepare_cached("SELECT revision FROM registry_revision WHERE tenant = ?1")?;
    let revision: Option<i64> = statement.query_row([tenant.as_str()], |row| row.get(0)).optional()?;
    Ok(revision.unwrap_or(0) as u64)
}

fn load(conn: &Connection, tenant: &TenantId) -> Result<Loaded, Stop> {
    // One transaction, so that records and revision are of one moment.
    let transaction = conn.unchecked_transaction()?;
    let mut loaded = Loaded { revision: revision(conn, tenant)?, records: Vec::new() };
    let sql = "SELECT id || '@' || version, status, reason, registered_at, contract FROM skills WHERE tenant = ?1";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([tenant.as_str()])?;
    while let Some(row) = rows.next()? {
        let subject: String = row.get(0)?;
        loaded.records.push(Record::Skill(Arc::new(SkillRecord {
            tenant: tenant.clone(),
            status: status(row, 1, 2)?,
            registered_at: timestamp(row.get(3)?),
            contract: json("skill", &subject, "contract", &row.get::<_, String>(4)?)?,
        })));
    }
    let sql = "SELECT id || '@' || version, status, reason, registered_at, definition, plan FROM workflows
               WHERE tenant = ?1";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([tenant.as_str()])?;
    while let Some(row) = rows.next()? {
        let subject: String = row.get(0)?;
        loaded.records.push(Record::Workflow(Arc::new(WorkflowRecord {
            tenant: tenant.clone(),
            status: status(row, 1, 2)?,
            registered_at: timestamp(row.get(3)?),
            definition: json("workflow", &subject, "definition", &row.get::<_, String>(4)?)?,
            plan: json("workflow", &subject, "plan", &row.get::<_, String>(5)?)?,
        })));
    }
    transaction.commit()?;
    Ok(loaded)
}

fn audit_entry(row: &Row<'_>) -> Result<AuditEntry, Stop> {
    let (action, kind, subject): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
    let damaged = |column: &str, why: &dyn fmt::Display| damaged("audit entry of", &subject, column, why);
    let action = Action::deserialize(StrDeserializer::<TextError>::new(&action));
    Ok(AuditEntry {
        action: action.map_err(|error| damaged("action", &error))?,
        at: timestamp(row.get(0)?),
        subject: match kind.as_str() {
            "skill" => Subject::Skill(subject.parse().map_err(|error| damaged("subject", &error))?),
            _ => Subject::Workflow(subject.parse().map_err(|error| damaged("subject", &error))?),
        },
        status: status(row, 4, 5)?,
    })
}

fn status(row: &Row<'_>, status: usize, reason: usize) -> rusqlite::Result<Status> {
    let reason: Option<String> = row.get(reason)?;
    Ok(match row.get_ref(status)?.as_str()? {
        "enabled" => Status::Enabled,
        // Somebody who disables by hand may leave the reason out.
        _ => Status::Disabled(reason.unwrap_or_else(|| "no reason was given".into())),
    })
}

fn json<T: DeserializeOwned>(what: &'static str, id: &str, column: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| damaged(what, id, column, &error))
}

fn damaged(what: &'static str, id: &str, column: &str, why: &dyn fmt::Display) -> StoreError {
    StoreError::Corrupt { what, id: id.to_owned(), why: format!("column {column}: {why}") }
}
