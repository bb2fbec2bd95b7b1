//! Tables of the next release serve this one: an upgrade changes the tables first, and the processes after that.
//!
//! What keeps that true of the next release is in `migrations.rs`: a change of the tables only adds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod postgres_support;

use aos_server::backend::postgres::{self, PostgresStores};
use aos_testkit::conformance::BoxFuture;
use aos_testkit::service::{Database, Postgres};

/// Whatever a next release may do: more columns in every table, more tables, other indexes.
const LATER: &str = "
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
            EXECUTE format('ALTER TABLE %I ADD COLUMN later text, ADD COLUMN later_count bigint NOT NULL DEFAULT 7', name);
        END LOOP;
    END $$;
    CREATE TABLE later (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run text);
    CREATE INDEX run_later ON run (later_count);
    DROP INDEX run_by_age;
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'later', true, 'x', 0);";

fn newer(database: &Database) -> BoxFuture<'_, String> {
    Box::pin(async {
        PostgresStores::open(&database.url).await.unwrap().close().await;
        Postgres::shared().sql(&database.name, LATER).unwrap();
        database.url.clone()
    })
}

postgres_support::all_suites!(crate::newer);

#[tokio::test]
async fn nothing_is_left_to_do_on_newer_tables() {
    let database = Postgres::shared().database().unwrap();
    let stores = PostgresStores::open(&newer(&database).await).await.unwrap();
    assert_eq!(postgres::pending(&stores).await.unwrap(), []);
    stores.close().await;
    // A change that this release knows otherwise is another matter.
    let sql = "UPDATE _sqlx_migrations SET checksum = 'x' WHERE version = 1";
    Postgres::shared().sql(&database.name, sql).unwrap();
    let refused = PostgresStores::open(&database.url).await.err().unwrap().to_string();
    assert!(refused.contains("change 1 of the tables") && refused.contains("another release"), "{refused}");
}
