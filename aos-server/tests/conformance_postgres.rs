//! The Postgres stores keep the contracts.

mod postgres_support;

use aos_testkit::conformance::BoxFuture;
use aos_testkit::service::Database;

fn itself(database: &Database) -> BoxFuture<'_, String> {
    Box::pin(std::future::ready(database.url.clone()))
}

postgres_support::all_suites!(crate::itself);
