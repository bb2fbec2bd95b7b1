//! Registries in Postgres: tables that an operator may read, and change, by hand.

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
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as TextError, StrDeserializer};
use sqlx::postgres::PgRow;
use sqlx::{Executor, Row};

use super::row::{millis, readable, timestamp};
use super::session::{Pool, Transaction};
use super::{Postgres, Stop};
use crate::backend::watch::Topic;

impl RegistryStore for Postgres {
    fn load<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Loaded, StoreError>> {
        let tenant = tenant.clone();
        Box::pin(self.run_long("load the registry", async move |pool| load(&pool, &tenant).await))
    }

    fn save<'a>(
        &'a self,
        tenant: &'a TenantId,
        expected: u64,
        changes: &'a [Change],
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        let (tenant, changes) = (tenant.clone(), changes.to_vec());
        let waiters = Arc::clone(&self.waiters);
        Box::pin(self.run_long("save the registry", async move |pool| {
            let revision = save(&pool, &tenant, expected, &changes).await?;
            waiters.notify(&[Topic::Registry(tenant)]);
            Ok(revision)
        }))
    }

    fn changed<'a>(&'a self, tenant: &'a TenantId, after: u64) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            let watch = self.waiters.watch(Topic::Registry(tenant.clone()));
            loop {
                let mut woken = pin!(watch.notify.notified());
                woken.as_mut().enable();
                let tenant = tenant.clone();
                let look = self.run("look for registry changes", async move |pool| Ok(revision(&pool, &tenant).await?));
                let revision = look.await?;
                if revision > after {
                    return Ok(revision);
                }
                woken.await;
            }
        })
    }

    fn audit<'a>(&'a self, tenant: &'a TenantId, limit: usize) -> BoxFuture<'a, Result<Vec<AuditEntry>, StoreError>> {
        let tenant = tenant.clone();
        Box::pin(self.run("read the audit log", async move |pool| {
            let sql = "SELECT at, action, kind, subject, status, reason FROM registry_audit
                       WHERE tenant = $1 ORDER BY seq DESC LIMIT $2";
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = sqlx::query(sql).bind(tenant.as_str()).bind(limit).fetch_all(&pool).await?;
            rows.iter().map(audit_entry).collect()
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
        Box::pin(self.run("keep a registry snapshot", async move |pool| {
            let sql = "INSERT INTO registry_snapshot (tenant, hash, taken_at, skills, workflows, text)
                       VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
            let query = sqlx::query(sql).bind(tenant.as_str()).bind(&hash.as_bytes()[..]).bind(millis(at));
            query.bind(skills).bind(workflows).bind(text).execute(&pool).await?;
            Ok(())
        }))
    }

    fn snapshots<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<SnapshotInfo>, StoreError>> {
        let tenant = tenant.clone();
        Box::pin(self.run("list registry snapshots", async move |pool| {
            let sql = "SELECT hash, taken_at, skills, workflows FROM registry_snapshot
                       WHERE tenant = $1 ORDER BY taken_at DESC, hash";
            let rows = sqlx::query(sql).bind(tenant.as_str()).fetch_all(&pool).await?;
            let info = |row: &PgRow| {
                let hash = <[u8; 32]>::try_from(row.try_get::<&[u8], _>(0)?)
                    .map_err(|error| damaged("registry snapshot of", tenant.as_str(), "hash", &error))?;
                Ok(SnapshotInfo {
                    hash: hash.into(),
                    taken_at: timestamp(row.try_get(1)?),
                    skills: row.try_get::<i64, _>(2)? as u64,
                    workflows: row.try_get::<i64, _>(3)? as u64,
                })
            };
            rows.iter().map(info).collect()
        }))
    }

    fn snapshot<'a>(
        &'a self,
        tenant: &'a TenantId,
        hash: &'a Hash,
    ) -> BoxFuture<'a, Result<Option<RegistrySnapshot>, StoreError>> {
        let (tenant, hash) = (tenant.clone(), *hash);
        Box::pin(self.run("read a registry snapshot", async move |pool| {
            let sql = "SELECT text FROM registry_snapshot WHERE tenant = $1 AND hash = $2";
            let query = sqlx::query_scalar(sql).bind(tenant.as_str()).bind(&hash.as_bytes()[..]);
            let Some(text) = query.fetch_optional(&pool).await? else { return Ok(None) };
            let text: String = text;
            let snapshot = RegistrySnapshot::parse(&text).map_err(|failure| StoreError::Corrupt {
                what: "registry snapshot",
                id: hash.to_string(),
                why: failure.message,
            })?;
            Ok(Some(snapshot))
        }))
    }
}

async fn save(pool: &Pool, tenant: &TenantId, expected: u64, changes: &[Change]) -> Result<u64, Stop> {
    let mut transaction = pool.begin().await?;
    // Saves of a tenant come one after the other: the row is locked until the commit.
    let sql = "INSERT INTO registry_revision AS now VALUES ($1, 1)
               ON CONFLICT (tenant) DO UPDATE SET revision = now.revision + 1 RETURNING revision";
    let next: i64 = sqlx::query_scalar(sql).bind(tenant.as_str()).fetch_one(&mut transaction).await?;
    let found = next as u64 - 1;
    if found != expected {
        transaction.rollback().await?;
        let what = format!("the registry of tenant {tenant} is at revision {found}, not {expected}");
        return Err(StoreError::Conflict(what).into());
    }
    for change in changes {
        write(&mut transaction, tenant, change).await?;
    }
    let revision = revision(&mut transaction, tenant).await?;
    transaction.commit().await?;
    Ok(revision)
}

async fn write(transaction: &mut Transaction, tenant: &TenantId, change: &Change) -> Result<(), Stop> {
    let record = &change.record;
    let subject = record.subject();
    if record.tenant() != tenant {
        return Err(StoreError::Conflict(format!("the record of {subject} is not one of tenant {tenant}")).into());
    }
    let (id, version) = match &subject {
        Subject::Skill(skill) => (skill.id.to_string(), skill.version.to_string()),
        Subject::Workflow(workflow) => (workflow.id.to_string(), workflow.version.to_string()),
    };
    let unwritable = |error| StoreError::Conflict(format!("the record of {subject} can't be JSON: {error}"));
    let status = if record.status().is_enabled() { "enabled" } else { "disabled" };
    let reason = record.status().reason().map(readable);
    let kind = match record {
        Record::Skill(skill) => {
            let sql = "INSERT INTO skills (tenant, id, version, status, reason, registered_at, contract)
                       VALUES ($1, $2, $3, $4, $5, $6, $7)
                       ON CONFLICT (tenant, id, version) DO UPDATE SET status = excluded.status,
                           reason = excluded.reason, registered_at = excluded.registered_at,
                           contract = excluded.contract";
            let contract = serde_json::to_string(&skill.contract).map_err(unwritable)?;
            let query = sqlx::query(sql).bind(tenant.as_str()).bind(&id).bind(&version).bind(status).bind(&reason);
            query.bind(millis(record.registered_at())).bind(contract).execute(&mut *transaction).await?;
            "skill"
        }
        Record::Workflow(workflow) => {
            let sql = "INSERT INTO workflows (tenant, id, version, status, reason, registered_at, definition, plan)
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                       ON CONFLICT (tenant, id, version) DO UPDATE SET status = excluded.status,
                           reason = excluded.reason, registered_at = excluded.registered_at,
                           definition = excluded.definition, plan = excluded.plan";
            let definition = workflow.definition.to_string();
            let plan = serde_json::to_string(&workflow.plan).map_err(unwritable)?;
            let query = sqlx::query(sql).bind(tenant.as_str()).bind(&id).bind(&version).bind(status).bind(&reason);
            let query = query.bind(millis(record.registered_at())).bind(definition).bind(plan);
            query.execute(&mut *transaction).await?;
            "workflow"
        }
    };
    let sql = "INSERT INTO registry_audit (tenant, at, action, kind, subject, status, reason)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let query = sqlx::query(sql).bind(tenant.as_str()).bind(millis(change.at)).bind(change.action.as_str()).bind(kind);
    query.bind(format!("{id}@{version}")).bind(status).bind(&reason).execute(transaction).await?;
    Ok(())
}

async fn revision<'c>(at: impl Executor<'c, Database = sqlx::Postgres>, tenant: &TenantId) -> sqlx::Result<u64> {
    let query = sqlx::query_scalar("SELECT revision FROM registry_revision WHERE tenant = $1").bind(tenant.as_str());
    let revision: Option<i64> = query.fetch_optional(at).await?;
    Ok(revision.unwrap_or(0) as u64)
}

async fn load(pool: &Pool, tenant: &TenantId) -> Result<Loaded, Stop> {
    // One snapshot, so that records and revision are of one moment.
    let mut transaction = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
    let mut loaded = Loaded { revision: revision(&mut transaction, tenant).await?, records: Vec::new() };
    let sql = "SELECT id || '@' || version, status, reason, registered_at, contract FROM skills WHERE tenant = $1";
    for row in sqlx::query(sql).bind(tenant.as_str()).fetch_all(&mut transaction).await? {
        let subject: &str = row.try_get(0)?;
        loaded.records.push(Record::Skill(Arc::new(SkillRecord {
            tenant: tenant.clone(),
            status: status(&row, 1, 2)?,
            registered_at: timestamp(row.try_get(3)?),
            contract: json("skill", subject, "contract", row.try_get(4)?)?,
        })));
    }
    let sql = "SELECT id || '@' || version, status, reason, registered_at, definition, plan FROM workflows
               WHERE tenant = $1";
    for row in sqlx::query(sql).bind(tenant.as_str()).fetch_all(&mut transaction).await? {
        let subject: &str = row.try_get(0)?;
        loaded.records.push(Record::Workflow(Arc::new(WorkflowRecord {
            tenant: tenant.clone(),
            status: status(&row, 1, 2)?,
            registered_at: timestamp(row.try_get(3)?),
            definition: json("workflow", subject, "definition", row.try_get(4)?)?,
            plan: json("workflow", subject, "plan", row.try_get(5)?)?,
        })));
    }
    transaction.commit().await?;
    Ok(loaded)
}

fn audit_entry(row: &PgRow) -> Result<AuditEntry, Stop> {
    let (action, kind, subject): (&str, &str, &str) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    let damaged = |column: &str, why: &dyn fmt::Display| damaged("audit entry of", subject, column, why);
    let action = Action::deserialize(StrDeserializer::<TextError>::new(action));
    Ok(AuditEntry {
        action: action.map_err(|error| damaged("action", &error))?,
        at: timestamp(row.try_get(0)?),
        subject: match kind {
            "skill" => Subject::Skill(subject.parse().map_err(|error| damaged("subject", &error))?),
            _ => Subject::Workflow(subject.parse().map_err(|error| damaged("subject", &error))?),
        },
        status: status(row, 4, 5)?,
    })
}

fn status(row: &PgRow, status: usize, reason: usize) -> sqlx::Result<Status> {
    let reason: Option<String> = row.try_get(reason)?;
    Ok(match row.try_get(status)? {
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
