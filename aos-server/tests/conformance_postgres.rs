//! The Postgres stores keep the contracts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod postgres_support;

use aos_server::backend::postgres::PostgresStores;
use aos_testkit::conformance::BoxFuture;
use aos_testkit::service::{Database, Postgres};

fn itself(database: &Database) -> BoxFuture<'_, String> {
    Box::pin(std::future::ready(database.url.clone()))
}

postgres_support::all_suites!(crate::itself);

/// Not even by hand.
#[tokio::test]
async fn the_audit_log_is_append_only() {
    let database = Postgres::shared().database().unwrap();
    PostgresStores::open(&database.url).await.unwrap();
    for table in ["audit", "audit_checkpoint"] {
        for sql in ["UPDATE {} SET tenant = 'x'", "DELETE FROM {}", "TRUNCATE {}"] {
            let refused = Postgres::shared().sql(&database.name, &sql.replace("{}", table)).unwrap_err().to_string();
            assert!(refused.contains("the audit log is append-only"), "{refused}");
        }
    }
}
