//! What is particular to SQLite: opening, failing, group commit. The contracts are tested in `tests/`.

use aos_core::canonical::Hash;
use aos_core::id::{RunId, TenantId, WorkerId};
use aos_core::journal::{Append, Line, Transition};
use aos_core::payload::Payload;
use aos_core::queue::Priority;
use aos_core::random::Seed;
use aos_core::runs::{Created, FirstLease, Lease, NewRun};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

fn new_run(id: &str) -> NewRun {
    NewRun {
        run: RunId::new(id).unwrap(),
        tenant: TenantId::default(),
        workflow: "flow@1.0.0".parse().unwrap(),
        plan: Hash::ZERO,
        input: Payload::null(),
        seed: Seed::new(1),
        budget: None,
        parent: None,
        forked_from: None,
        idempotency_key: None,
        request_id: None,
        api_key: None,
        trace: None,
        priority: Priority::default(),
        start_at: None,
    }
}

async fn leased(stores: &SqliteStores, id: &str) -> Lease {
    let claim = Some(FirstLease::new(WorkerId::new("w").unwrap(), Duration::from_secs(60)));
    match stores.runs().create(new_run(id), claim).await.unwrap() {
        Created::New(_, Some(lease)) => lease,
        other => panic!("{other:?}"),
    }
}

fn append(lease: &Lease, first_index: u64, line: &str) -> Append {
    Append {
        lease: lease.clone(),
        first_index,
        lines: vec![Line::new(line)],
        blobs: Vec::new(),
        transition: Transition::Continue,
    }
}

fn chain(error: StoreError) -> String {
    aos_core::Failure::from(error).message
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("deep/er/aos.db");
    let stores = SqliteStores::open(format!("sqlite://{}", path.display())).await.unwrap();
    let lease = leased(&stores, "r").await;
    stores.journal().append(append(&lease, 0, "one")).await.unwrap();
    stores.journal().append(append(&lease, 1, "two")).await.unwrap();
    stores.close().await;
    let error = stores.journal().append(append(&lease, 2, "three")).await.unwrap_err();
    assert!(chain(error).contains("the store is closed"));
    assert!(stores.runs().get(&lease.tenant, &lease.run).await.is_err());
    assert!(!path.with_extension("db-wal").exists(), "the log is written back");

    let stores = SqliteStores::open(&path).await.unwrap();
    let lines = stores.journal().read(&lease.tenant, &lease.run, 0, 10).await.unwrap();
    assert_eq!(lines, [Line::new("one"), Line::new("two")]);
    stores.journal().append(append(&lease, 2, "three")).await.unwrap();
}

#[tokio::test]
async fn two_processes_share_a_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("aos.db");
    let (one, two) = (SqliteStores::open(&path).await.unwrap(), SqliteStores::open(&path).await.unwrap());
    let lease = leased(&one, "r").await;
    let changed = two.runs().changed(&lease.tenant, &lease.run, 0);
    let waiting = tokio::spawn(changed);
    two.journal().append(append(&lease, 0, "one")).await.unwrap();
    let error = one.journal().append(append(&lease, 0, "other")).await.unwrap_err();
    assert!(matches!(error, StoreError::IndexConflict { index: 0, .. }), "{error}");
    let message = aos_core::runs::Message::Cancel { reason: "enough".into() };
    assert_eq!(one.runs().send(&lease.tenant, &lease.run, message).await.unwrap(), 1);
    waiting.await.unwrap();
}

#[tokio::test]
async fn files_that_are_not_ours_are_refused_with_advice() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("text.db"), "not a database, by any means: ".repeat(50)).unwrap();
    let foreign = Connection::open(at("foreign.db")).unwrap();
    foreign.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(SqliteStores::open(at("newer.db")).await.unwrap());
    Connection::open(at("newer.db")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    std::fs::create_dir(at("directory.db")).unwrap();
    for (name, parts) in [
        ("text.db", ["text.db", "not a database", "restore"]),
        ("foreign.db", ["foreign.db", "another application", "file of its own"]),
        ("newer.db", ["newer.db", "schema 99", "start that release"]),
        ("directory.db", ["directory.db", "a directory is in its way", "keep the data elsewhere"]),
        ("text.db/below.db", ["text.db", "a file is in its way", "keep the data elsewhere"]),
    ] {
        let error = SqliteStores::open(at(name)).await.err().unwrap();
        let text = chain(error);
        assert!(parts.iter().all(|part| text.contains(part)), "{name}: {text}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_a_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("aos.db");
    let _stores = SqliteStores::open(&path).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_spoiled_transaction_fails_its_culprit_only() {
    let dir = TempDir::new().unwrap();
    let stores = SqliteStores::open(dir.path().join("aos.db")).await.unwrap();
    let lease = leased(&stores, "r").await;
    let culprit = stores.0.writer.write("break a rule", |tx| {
        tx.conn.execute("INSERT INTO blob (hash, bytes) VALUES (zeroblob(32), zeroblob(1))", [])?;
        Ok(tx.conn.execute("INSERT INTO blob (hash, bytes) VALUES (NULL, NULL)", [])?)
    });
    let journal = stores.journal();
    // Joined, so that all three are queued before the writer wakes: one transaction.
    let (before, culprit, after) =
        tokio::join!(journal.append(append(&lease, 0, "one")), culprit, journal.append(append(&lease, 1, "two")),);
    assert!(before.is_ok() && after.is_ok());
    assert!(chain(culprit.unwrap_err()).contains("NOT NULL"));
    assert_eq!(stores.blobs().get(&Hash::ZERO).await.unwrap(), None, "the culprit's first statement is undone");
}

#[tokio::test]
async fn a_full_disk_fails_the_batch_and_passes() {
    let dir = TempDir::new().unwrap();
    let stores = SqliteStores::open(dir.path().join("aos.db")).await.unwrap();
    let set_limit = |pages: i64| {
        stores.0.writer.write("set the limit", move |tx| {
            // Not a persistent setting: it holds for this connection.
            Ok(tx.conn.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0))?)
        })
    };
    set_limit(1).await.unwrap();
    let error = stores.blobs().put(&[7; 100_000]).await.unwrap_err();
    let text = chain(error);
    assert!(text.contains("full") && text.contains("free space"), "{text}");
    set_limit(1_000_000).await.unwrap();
    let hash = stores.blobs().put(&[7; 100_000]).await.unwrap();
    assert_eq!(stores.blobs().get(&hash).await.unwrap().unwrap().len(), 100_000);
}

#[tokio::test]
async fn damage_is_named() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("aos.db");
    let stores = SqliteStores::open(&path).await.unwrap();
    let lease = leased(&stores, "r").await;
    for (index, line) in ["one", "two", "three"].into_iter().enumerate() {
        stores.journal().append(append(&lease, index as u64, line)).await.unwrap();
    }
    let hash = stores.blobs().put(b"blob").await.unwrap();
    let by_hand = Connection::open(&path).unwrap();
    by_hand.execute_batch("DELETE FROM entry WHERE first = 1; UPDATE blob SET bytes = x'00'").unwrap();
    let error = stores.journal().read(&lease.tenant, &lease.run, 0, 10).await.unwrap_err();
    assert!(chain(error).contains("at entry 2: the entries before it are missing"));
    assert!(matches!(stores.blobs().get(&hash).await, Err(StoreError::Corrupt { what: "blob", .. })));
    by_hand.execute_batch("UPDATE run SET plan = x'00'").unwrap();
    let error = stores.runs().get(&lease.tenant, &lease.run).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn a_skill_disabled_by_hand_raises_the_revision() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("aos.db");
    let stores = SqliteStores::open(&path).await.unwrap();
    let (registry, tenant) = (stores.registry(), TenantId::default());
    assert_eq!(registry.load(&tenant).await.unwrap().revision, 0);
    let waiting = tokio::spawn({
        let (registry, tenant) = (stores.registry(), tenant.clone());
        async move { registry.changed(&tenant, 0).await.unwrap() }
    });
    let by_hand = Connection::open(&path).unwrap();
    by_hand
        .execute_batch("INSERT INTO skills VALUES ('default', 's', '1.0.0', 'disabled', NULL, 0, 'not JSON')")
        .unwrap();
    assert_eq!(waiting.await.unwrap(), 1);
    let error = registry.load(&tenant).await.unwrap_err();
    assert!(error.to_string().contains("damaged skill s@1.0.0: column contract"), "{error}");
}

#[tokio::test]
async fn reads_that_nobody_polls_do_not_stop_others() {
    let dir = TempDir::new().unwrap();
    let stores = SqliteStores::open(dir.path().join("aos.db")).await.unwrap();
    let lease = leased(&stores, "r").await;
    let runs = stores.runs();
    let mut started: Vec<_> = (0..20).map(|_| runs.get(&lease.tenant, &lease.run)).collect();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for read in &mut started {
        // Begun, and left alone.
        assert!(read.as_mut().poll(&mut context).is_pending());
    }
    assert!(runs.get(&lease.tenant, &lease.run).await.unwrap().is_some());
}

/// A killed server's leases end when it is back, unless another server works on the file.
#[tokio::test]
async fn leases_of_the_dead_end_when_nobody_works_on_the_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("aos.db");
    let claimable = async |stores: &SqliteStores| {
        let claims = stores.runs().claim(&WorkerId::new("next").unwrap(), 9, Duration::from_secs(60)).await.unwrap();
        claims.into_iter().map(|claim| (claim.lease.run.to_string(), claim.record.rescues)).collect::<Vec<_>>()
    };
    let first = SqliteStores::open(&path).await.unwrap();
    assert_eq!(first.begin_work().await.unwrap(), 0);
    let held = leased(&first, "r").await;

    let beside = SqliteStores::open(&path).await.unwrap();
    assert_eq!(beside.begin_work().await.unwrap(), 0, "the first one works");
    assert_eq!(claimable(&beside).await, []);
    beside.close().await;

    first.close().await;
    let next = SqliteStores::open(&path).await.unwrap();
    assert_eq!(next.begin_work().await.unwrap(), 1);
    assert_eq!(claimable(&next).await, [("r".to_owned(), 1)]);
    let error = next.journal().append(append(&held, 0, "late")).await.unwrap_err();
    assert!(matches!(error, StoreError::Fenced { .. }), "{error:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_was_removed_is_noticed() {
    let dir = TempDir::new().unwrap();
    let stores = SqliteStores::open(dir.path().join("aos.db")).await.unwrap();
    stores.runs().stats().await.unwrap();
    std::fs::remove_file(stores.path()).unwrap();
    let text = chain(stores.runs().stats().await.unwrap_err());
    assert!(text.contains("aos.db is gone"), "{text}");
}
