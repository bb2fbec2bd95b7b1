//! Postgres behind PgBouncer in transaction mode: the contracts are kept, and a whole server works.
//!
//! The pooler lends out very few connections, so that every client keeps meeting what others have left on them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod operator_support;
mod postgres_support;

use std::sync::LazyLock;

use aos_core::canonical::Hash;
use aos_server::backend::postgres::{self, PostgresStores};
use aos_testkit::conformance::BoxFuture;
use aos_testkit::service::{Database, PgBouncer, Postgres};
use operator_support::Process;
use serde_json::json;

/// Each clause has a database of its own, and so connections of its own, which must not outlive it for long.
static POOLER: LazyLock<PgBouncer> = LazyLock::new(|| pooler(&["default_pool_size = 3", "server_idle_timeout = 3"]));

fn pooler(settings: &[&str]) -> PgBouncer {
    PgBouncer::start(Postgres::shared(), settings).unwrap()
}

fn pooled(database: &Database) -> BoxFuture<'_, String> {
    Box::pin(std::future::ready(POOLER.url(database)))
}

postgres_support::all_suites!(crate::pooled);

#[tokio::test]
async fn a_pooler_is_noticed_unless_the_url_says_what_there_is() {
    let database = Postgres::shared().database().unwrap();
    let drops = pooler(&["ignore_startup_parameters = options"]);
    let keeps = pooler(&["ignore_startup_parameters = options", "pool_mode = session"]);
    let table = [
        (database.url.clone(), false),
        (format!("{}?pgbouncer=true", database.url), true),
        (format!("{}?pgbouncer=true&sslmode=disable", database.url), true),
        (format!("{}?pgbouncer=false", database.url), false),
        (POOLER.url(&database), true),
        (drops.url(&database), true),
        // It drops settings too, and yet every client has a session of its own.
        (format!("{}?pgbouncer=false", keeps.url(&database)), false),
    ];
    for (url, expected) in table {
        let stores = PostgresStores::open(&url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(stores.is_pooled(), expected, "{url}");
        stores.close().await;
    }
    let wrong = PostgresStores::open(&format!("{}?pgbouncer=maybe", database.url)).await;
    assert!(wrong.is_err_and(|error| error.to_string().contains("pgbouncer is \"maybe\"")));
}

/// With one connection for all, whoever prepares a statement for later finds somebody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_share_a_connection_get_their_own_answers() {
    let database = Postgres::shared().database().unwrap();
    let narrow = pooler(&["default_pool_size = 1"]);
    let clients = (0..4_u8).map(async |n| {
        let stores = PostgresStores::open(&narrow.url(&database)).await.unwrap();
        let (blobs, registry) = (stores.blobs(), stores.registry());
        let bytes = [n; 40];
        let hash = blobs.put(&bytes).await.unwrap();
        for _ in 0..50 {
            let nothing = Hash::of([n]);
            let tenant = aos_core::id::TenantId::default();
            let (found, missing, snapshots) =
                tokio::join!(blobs.get(&hash), blobs.get(&nothing), registry.snapshot(&tenant, &nothing));
            assert_eq!(found.unwrap().as_deref(), Some(&bytes[..]));
            assert_eq!((missing.unwrap(), snapshots.unwrap()), (None, None));
        }
        stores.close().await;
    });
    futures::future::join_all(clients).await;
}

#[tokio::test]
async fn the_tables_are_made_once_however_many_processes_begin() {
    let database = Postgres::shared().database().unwrap();
    let (direct, pooled) = (database.url.clone(), POOLER.url(&database));
    let opening = (0..6).map(|n| PostgresStores::open(if n % 2 == 0 { &direct } else { &pooled }));
    for stores in futures::future::join_all(opening).await {
        let stores = stores.unwrap();
        assert_eq!(postgres::pending(&stores).await.unwrap(), []);
        stores.close().await;
    }
    let sql = "SELECT count(*) = count(DISTINCT description) AND bool_and(success) FROM _sqlx_migrations";
    assert_eq!(Postgres::shared().sql(&database.name, sql).unwrap(), "t\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_behind_a_pooler_do_what_one_without_does() {
    let workflow = json!({"id": "everything", "steps": [
        {"id": "ask", "skill": "llm_invoke", "params": {
            "model": "stub", "max_tokens": 64, "messages": [{"role": "user", "content": "Say {{ input.n }}"}]}},
        {"id": "rest", "sleep": "1200ms", "needs": ["ask"]},
        {"id": "each", "skill": "echo", "needs": ["rest"], "for_each": "range(input.n) | list", "params": "{{ item }}"},
    ]});
    let database = Postgres::shared().database().unwrap();
    let pooled = POOLER.url(&Postgres::shared().database().unwrap());
    let servers: Vec<_> = [&database.url, &pooled, &pooled]
        .iter()
        .map(|url| Process::serve(&[("DATABASE_URL", url), ("AOS_DRAIN_DELAY", "0")]))
        .collect();
    let runs = (0..24_u64).map(|n| {
        let (workflow, servers) = (&workflow, &servers);
        async move {
            let hash = async |server: &Process| {
                let body = json!({"workflow": workflow, "input": {"n": n % 6}});
                let run = server.api().post("/v1/runs?wait=60s", &body).await;
                assert_eq!(run["state"], "succeeded", "{run}");
                run["content_hash"].as_str().unwrap().to_owned()
            };
            let behind = &servers[1 + n as usize % 2];
            assert_eq!(hash(&servers[0]).await, hash(behind).await, "{n}");
        }
    });
    futures::future::join_all(runs).await;
    let name = pooled.rsplit_once('/').unwrap().1;
    let sql =
        format!("SELECT count(*) <= 3 FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()");
    assert_eq!(Postgres::shared().sql(name, &sql).unwrap(), "t\n", "more connections than the pooler may open");
    for mut server in servers {
        server.terminate();
        let log = server.log();
        assert!(!log.contains("ERROR"), "{log}");
    }
}
