//! Slots of skills with a limit, in Postgres.
//!
//! Whoever takes a slot locks the skill's limit, inside `aos_take_slot`, so that takers come one after the other. A
//! renewal locks its slots only; a taker leaves alone, and counts, what it finds locked.

use std::collections::HashSet;
use std::time::Duration;

use aos_core::BoxFuture;
use aos_core::id::{IdError, SkillId, TenantId, WorkerId};
use aos_core::runs::StoreError;
use aos_core::slots::{Admission, SkillLimit, Slot, SlotStore};

use super::Postgres;
use super::row::millis_of;

impl SlotStore for Postgres {
    fn limit<'a>(
        &'a self,
        tenant: &'a TenantId,
        skill: &'a SkillId,
        max: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (tenant, skill) = (tenant.clone(), skill.clone());
        Box::pin(self.run("limit a skill", async move |pool| {
            let query = match max {
                Some(max) => {
                    let sql = "INSERT INTO skill_limit (tenant, skill, max) VALUES ($1, $2, $3)
                               ON CONFLICT (tenant, skill) DO UPDATE SET max = $3";
                    sqlx::query(sql).bind(tenant.as_str()).bind(skill.as_str()).bind(i64::from(max))
                }
                None => {
                    let sql = "DELETE FROM skill_limit WHERE tenant = $1 AND skill = $2";
                    sqlx::query(sql).bind(tenant.as_str()).bind(skill.as_str())
                }
            };
            query.execute(&pool).await?;
            Ok(())
        }))
    }

    fn limits<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<SkillLimit>, StoreError>> {
        let tenant = tenant.clone();
        Box::pin(self.run("read the limits of skills", async move |pool| {
            let sql = "SELECT skill, max FROM skill_limit WHERE tenant = $1 ORDER BY skill COLLATE \"C\"";
            let rows: Vec<(String, i64)> = sqlx::query_as(sql).bind(tenant.as_str()).fetch_all(&pool).await?;
            let limit = |(skill, max): (String, i64)| {
                let damaged = |why: String| StoreError::Corrupt { what: "limit of skill", id: skill.clone(), why };
                Ok(SkillLimit {
                    skill: skill.parse().map_err(|error: IdError| damaged(error.to_string()))?,
                    max: u32::try_from(max).map_err(|error| damaged(error.to_string()))?,
                })
            };
            rows.into_iter().map(limit).collect()
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
        Box::pin(self.run("take a slot", async move |pool| {
            let query = sqlx::query_scalar("SELECT aos_take_slot($1, $2, $3, $4)");
            let query = query.bind(tenant.as_str()).bind(skill.as_str()).bind(holder.as_str()).bind(millis_of(lease));
            let taken: Option<i64> = query.fetch_one(&pool).await?;
            Ok(match taken {
                None => Admission::Unlimited,
                Some(0) => Admission::Full,
                Some(ticket) => Admission::Granted(Slot { tenant, skill, ticket: ticket as u64 }),
            })
        }))
    }

    fn renew<'a>(&'a self, slots: &'a [Slot], lease: Duration) -> BoxFuture<'a, Result<Vec<Slot>, StoreError>> {
        let slots = slots.to_vec();
        Box::pin(self.run("prolong slots", async move |pool| {
            let sql = "WITH wanted AS (
                           SELECT * FROM unnest($1::integer[], $2::text[], $3::text[], $4::bigint[])
                               AS w(n, tenant, skill, ticket)
                       ), renewed AS (
                           UPDATE skill_slot AS slot SET deadline = aos_now() + $5
                           WHERE (tenant, skill, ticket) IN (SELECT tenant, skill, ticket FROM wanted)
                               AND deadline > aos_now()
                           RETURNING tenant, skill, ticket
                       )
                       SELECT n FROM wanted JOIN renewed USING (tenant, skill, ticket)";
            let kept: Vec<i32> = sqlx::query_scalar(sql)
                .bind((0..slots.len() as i32).collect::<Vec<_>>())
                .bind(slots.iter().map(|slot| slot.tenant.as_str()).collect::<Vec<_>>())
                .bind(slots.iter().map(|slot| slot.skill.as_str()).collect::<Vec<_>>())
                .bind(slots.iter().map(|slot| slot.ticket as i64).collect::<Vec<_>>())
                .bind(millis_of(lease))
                .fetch_all(&pool)
                .await?;
            let kept: HashSet<usize> = kept.into_iter().map(|n| n as usize).collect();
            Ok(slots.into_iter().enumerate().filter(|(n, _)| !kept.contains(n)).map(|(_, slot)| slot).collect())
        }))
    }

    fn release<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<(), StoreError>> {
        let slot = slot.clone();
        Box::pin(self.run("give a slot back", async move |pool| {
            let sql = "DELETE FROM skill_slot WHERE ticket = $1 AND tenant = $2 AND skill = $3";
            let query = sqlx::query(sql).bind(slot.ticket as i64).bind(slot.tenant.as_str());
            query.bind(slot.skill.as_str()).execute(&pool).await?;
            Ok(())
        }))
    }
}

#[cfg(test)]
mod tests {
    use aos_testkit::service;

    use super::*;
    use crate::backend::postgres::PostgresStores;

    #[tokio::test]
    async fn a_slot_that_is_being_renewed_counts() {
        let server = service::Postgres::shared();
        let database = server.database().unwrap();
        let stores = PostgresStores::open(&database.url).await.unwrap();
        let (store, skill, holder) = (stores.slots(), "limited".parse().unwrap(), "w".parse().unwrap());
        let tenant = TenantId::default();
        store.limit(&tenant, &skill, Some(1)).await.unwrap();
        let ask = || store.acquire(&tenant, &skill, &holder, Duration::from_secs(60));
        let admission = ask().await.unwrap();
        assert!(matches!(admission, Admission::Granted(_)), "{admission:?}");
        // Renewals that found the slot live and are not committed when its deadline passes.
        for (n, is_lost) in [(1_u32, false), (2, true)] {
            let mut renewal = stores.0.pool.begin().await.unwrap();
            let sql = "UPDATE skill_slot SET deadline = aos_now() + 120000 WHERE deadline > aos_now()";
            let renewed = sqlx::query(sql).execute(&mut renewal).await.unwrap();
            assert_eq!(renewed.rows_affected(), 1);
            let sql = format!(
                "CREATE OR REPLACE FUNCTION aos_now() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS
                     'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint + {}'",
                n * 90_000
            );
            server.sql(&database.name, &sql).unwrap();
            assert_eq!(ask().await.unwrap(), Admission::Full, "{n}");
            if is_lost {
                renewal.rollback().await.unwrap();
            } else {
                renewal.commit().await.unwrap();
            }
            let admission = ask().await.unwrap();
            assert_eq!(matches!(admission, Admission::Granted(_)), is_lost, "{n}: {admission:?}");
        }
    }
}
