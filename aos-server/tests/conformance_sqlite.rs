//! The SQLite stores keep the contracts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use aos_core::memory::VirtualClock;
use aos_core::time::Timestamp;
use aos_server::backend::sqlite::SqliteStores;
use aos_testkit::conformance::{Backend, BoxFuture, OpenAgain, Roles};
use aos_testkit::conformance_tests;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

struct Sqlite;

impl Backend for Sqlite {
    fn block_on(&self, clause: BoxFuture<'_, ()>) {
        RUNTIME.block_on(clause);
    }

    fn fresh(&self) -> BoxFuture<'_, Roles> {
        Box::pin(async {
            let directory = tempfile::tempdir().unwrap();
            let clock = VirtualClock::new(Timestamp::from_millis(1_763_928_900_000));
            let path = directory.path().join("aos.db");
            let again = (path.clone(), clock.clone());
            let open_again: OpenAgain = Box::new(move || Box::pin(open(again.0.clone(), again.1.clone())));
            let roles = open(path, clock.clone()).await;
            Roles { open_again: Some(open_again), guard: Some(Box::new(directory)), ..roles }.with_clock(clock)
        })
    }
}

async fn open(path: PathBuf, clock: VirtualClock) -> Roles {
    let stores = SqliteStores::open_with_clock(path, Arc::new(clock)).await.unwrap();
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

conformance_tests!(blob, Sqlite);
conformance_tests!(journal, Sqlite);
conformance_tests!(ledger, Sqlite);
conformance_tests!(registry, Sqlite);
conformance_tests!(runs, Sqlite);
conformance_tests!(schedules, Sqlite);
conformance_tests!(slots, Sqlite);
conformance_tests!(switches, Sqlite);
conformance_tests!(audit, Sqlite);
conformance_tests!(keys, Sqlite);
conformance_tests!(workers, Sqlite);
