//! Slots of skills with a limit, in SQLite.

use std::time::Duration;

use aos_core::BoxFuture;
use aos_core::id::{IdError, SkillId, TenantId, WorkerId};
use aos_core::runs::StoreError;
use aos_core::slots::{Admission, SkillLimit, Slot, SlotStore};
use rusqlite::{Connection, OptionalExtension};

use super::Sqlite;
use super::error::Stop;
use super::row::millis;
use super::writer::Tx;

impl SlotStore for Sqlite {
    fn limit<'a>(
        &'a self,
        tenant: &'a TenantId,
        skill: &'a SkillId,
        max: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (tenant, skill) = (tenant.clone(), skill.clone());
        Box::pin(self.writer.write("limit a skill", move |tx| {
            match max {
                Some(max) => {
                    let sql = "INSERT INTO skill_limit (tenant, skill, max) VALUES (?1, ?2, ?3)
                               ON CONFLICT (tenant, skill) DO UPDATE SET max = ?3";
                    tx.sql(sql)?.execute((tenant.as_str(), skill.as_str(), max))?
                }
                None => {
                    let sql = "DELETE FROM skill_limit WHERE tenant = ?1 AND skill = ?2";
                    tx.sql(sql)?.execute((tenant.as_str(), skill.as_str()))?
                }
            };
            Ok(())
        }))
    }

    fn limits<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<SkillLimit>, StoreError>> {
        let tenant = tenant.clone();
        Box::pin(self.readers.read("read the limits of skills", move |conn| {
            let sql = "SELECT skill, max FROM skill_limit WHERE tenant = ?1 ORDER BY skill";
            let mut statement = conn.prepare_cached(sql)?;
            let mut rows = statement.query([tenant.as_str()])?;
            let mut limits = Vec::new();
            while let Some(row) = rows.next()? {
                let skill: String = row.get(0)?;
                let damaged = |error: IdError| StoreError::Corrupt {
                    what: "limit of skill",
                    id: skill.clone(),
                    why: error.to_string(),
                };
                limits.push(SkillLimit { skill: skill.parse().map_err(damaged)?, max: row.get(1)? });
            }
            Ok(limits)
        }))
    }

    fn acquire<'a>(
        &'a self,
        tenant: &'a TenantId,
        skill: &'a SkillId,
        holder: &'a WorkerId,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Admission, StoreError>> {
        let (tenant, skill, holder) = (tenant.clone(), skill.clone(), holder.clone());
        Box::pin(async move {
            // Most skills have no limit: a look is enough for them, and waits for no disk.
            let (of_tenant, of_skill) = (tenant.clone(), skill.clone());
            let look = move |conn: &Connection| Ok(max(conn, &of_tenant, &of_skill)?.is_some());
            if !self.readers.read("read the limit of a skill", look).await? {
                return Ok(Admission::Unlimited);
            }
            self.writer.write("take a slot", move |tx| acquire(tx, &tenant, &skill, &holder, lease)).await
        })
    }

    fn renew<'a>(&'a self, slots: &'a [Slot], lease: Duration) -> BoxFuture<'a, Result<Vec<Slot>, StoreError>> {
        let slots = slots.to_vec();
        Box::pin(self.writer.write("prolong slots", move |tx| {
            let sql = "UPDATE skill_slot SET deadline = ?4
                       WHERE ticket = ?1 AND tenant = ?2 AND skill = ?3 AND deadline > ?5";
            let mut statement = tx.sql(sql)?;
            let deadline = millis(tx.now.saturating_add(lease));
            let mut ended = Vec::new();
            for slot in &slots {
                let (ticket, tenant, skill) = key(slot);
                if statement.execute((ticket, tenant, skill, deadline, millis(tx.now)))? == 0 {
                    ended.push(slot.clone());
                }
            }
            Ok(ended)
        }))
    }

    fn release<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<(), StoreError>> {
        let slot = slot.clone();
        Box::pin(self.writer.write("give a slot back", move |tx| {
            tx.sql("DELETE FROM skill_slot WHERE ticket = ?1 AND tenant = ?2 AND skill = ?3")?.execute(key(&slot))?;
            Ok(())
        }))
    }
}

fn key(slot: &Slot) -> (i64, &str, &str) {
    (slot.ticket as i64, slot.tenant.as_str(), slot.skill.as_str())
}

fn max(conn: &Connection, tenant: &TenantId, skill: &SkillId) -> rusqlite::Result<Option<u32>> {
    let mut statement = conn.prepare_cached("SELECT max FROM skill_limit WHERE tenant = ?1 AND skill = ?2")?;
    statement.query_row((tenant.as_str(), skill.as_str()), |row| row.get(0)).optional()
}

fn acquire(
    tx: &Tx<'_>,
    tenant: &TenantId,
    skill: &SkillId,
    holder: &WorkerId,
    lease: Duration,
) -> Result<Admission, Stop> {
    let Some(max) = max(tx.conn, tenant, skill)? else { return Ok(Admission::Unlimited) };
    let sql = "DELETE FROM skill_slot WHERE tenant = ?1 AND skill = ?2 AND deadline <= ?3";
    tx.sql(sql)?.execute((tenant.as_str(), skill.as_str(), millis(tx.now)))?;
    let sql = "INSERT INTO skill_slot (tenant, skill, holder, deadline)
               SELECT ?1, ?2, ?3, ?4
               WHERE (SELECT count(*) FROM skill_slot WHERE tenant = ?1 AND skill = ?2) < ?5
               RETURNING ticket";
    let deadline = millis(tx.now.saturating_add(lease));
    let row = (tenant.as_str(), skill.as_str(), holder.as_str(), deadline, max);
    let ticket: Option<i64> = tx.sql(sql)?.query_row(row, |row| row.get(0)).optional()?;
    let granted =
        |ticket| Admission::Granted(Slot { tenant: tenant.clone(), skill: skill.clone(), ticket: ticket as u64 });
    Ok(ticket.map_or(Admission::Full, granted))
}
