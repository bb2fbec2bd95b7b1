//! The Postgres stores as the conformance suites test them, however their database is reached.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use aos_server::backend::postgres::PostgresStores;
use aos_testkit::conformance::{Advance, Backend, BoxFuture, OpenAgain, Roles};
use aos_testkit::service::{Database, Postgres};
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Stores of new databases, each under the URL that this gives for it.
pub struct Tested(pub fn(&Database) -> BoxFuture<'_, String>);

impl Backend for Tested {
    fn block_on(&self, clause: BoxFuture<'_, ()>) {
        RUNTIME.block_on(clause);
    }

    fn fresh(&self) -> BoxFuture<'_, Roles> {
        Box::pin(async {
            let database = Postgres::shared().database().unwrap();
            let url = self.0(&database).await;
            let stores = PostgresStores::open(&url).await.unwrap();
            let open_again: OpenAgain = Box::new(move || {
                let url = url.clone();
                Box::pin(async move { roles(&PostgresStores::open(&url).await.unwrap()) })
            });
            let advance = clock(database.name);
            Roles { open_again: Some(open_again), advance: Some(advance), ..roles(&stores) }
        })
    }
}

fn roles(stores: &PostgresStores) -> Roles {
    Roles {
        runs: Some(stores.runs()),
        journal: Some(stores.journal()),
        blobs: Some(stores.blobs()),
        registry: Some(stores.registry()),
        workers: Some(stores.workers()),
        slots: Some(stores.slots()),
        schedules: Some(stores.schedules()),
        switches: Some(stores.switches()),
        keys: Some(stores.keys()),
        audit: Some(stores.audit()),
        ledger: Some(stores.ledger()),
        ..Roles::default()
    }
}

/// Puts the database's clock forward.
fn clock(database: String) -> Advance {
    let ahead = Arc::new(AtomicI64::new(0));
    Box::new(move |duration| {
        let step = i64::try_from(duration.as_millis()).unwrap();
        let ahead = ahead.fetch_add(step, Ordering::Relaxed) + step;
        let sql = format!(
            "CREATE OR REPLACE FUNCTION aos_now() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS
                 'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint + {ahead}'"
        );
        Postgres::shared().sql(&database, &sql).unwrap();
        Box::pin(std::future::ready(()))
    })
}

/// Every suite, on stores under such URLs.
macro_rules! all_suites {
    ($reach:expr) => {
        aos_testkit::conformance_tests!(blob, crate::postgres_support::Tested($reach));
        aos_testkit::conformance_tests!(journal, crate::postgres_support::Tested($reach));
        aos_testkit::conformance_tests!(ledger, crate::postgres_support::Tested($reach));
        aos_testkit::conformance_tests!(registry, crate::postgres_support::Tested($reach));
        aos_testkit::conformance_tests!(runs, crate::postgres_support::Tested($reach));
        aos_testkit::conformance_tests!(schedules, crate::postgres_support::Tested($reach));
        aos_testkit::conformance_tests!(slots, crate::postgres_support::Tested($reach));
        aos_testkit::conformance_tests!(switches, crate::postgres_support::Tested($reach));
        aos_testkit::conformance_tests!(audit, crate::postgres_support::Tested($reach));
        aos_testkit::conformance_tests!(keys, crate::postgres_support::Tested($reach));
        aos_testkit::conformance_tests!(workers, crate::postgres_support::Tested($reach));
    };
}

pub(crate) use all_suites;
