//! Registries kept in a store, seen by several processes.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use pollster::block_on;

use super::*;
use crate::BoxFuture;
use crate::canonical::Hash;
use crate::id::TenantId;
use crate::memory::MemoryRegistry;
use crate::runs::StoreError;

async fn process(store: &dyn RegistryStore) -> Registry {
    let registry = Registry::new();
    registry.refresh(store).await.unwrap();
    registry
}

async fn register(registry: &Registry, store: &dyn RegistryStore, version: &str) -> Result<Registered, crate::Failure> {
    registry.commit(store, |registry| registry.register(skill(contract(version)), NOW)).await
}

#[test]
fn a_change_reaches_other_processes_and_the_audit_log() {
    block_on(async {
        let store = MemoryRegistry::new();
        let (one, two) = (process(&store).await, process(&store).await);
        register(&one, &store, "a@1.0.0").await.unwrap();
        assert!(Resolver::skill(&two, "a").is_err());
        assert!(two.refresh(&store).await.unwrap());
        assert!(!two.refresh(&store).await.unwrap());
        assert!(Resolver::skill(&two, "a").is_ok());
        assert!(!two.has_code(&"a@1.0.0".parse().unwrap()), "code does not travel");

        // The same code in the second process changes no record, but is there from now on, refreshes included.
        assert!(register(&two, &store, "a@1.0.0").await.unwrap().changes.is_empty());
        one.commit(&store, |registry| registry.disable(&subject("a@1.0.0"), "x", NOW)).await.unwrap();
        two.refresh(&store).await.unwrap();
        assert!(two.has_code(&"a@1.0.0".parse().unwrap()));
        assert!(Resolver::skill(&two, "a").is_err());

        let tenant = TenantId::default();
        let audit = store.audit(&tenant, 10).await.unwrap();
        assert_eq!(audit.iter().map(|entry| entry.action).collect::<Vec<_>>(), [Action::Disable, Action::Register]);
        assert_eq!(store.audit(&tenant, 1).await.unwrap().len(), 1);
    });
}

#[test]
fn a_change_on_top_of_an_older_revision_is_made_again_on_the_newer_one() {
    block_on(async {
        let store = MemoryRegistry::new();
        let (one, two) = (process(&store).await, process(&store).await);
        register(&one, &store, "a@1.0.0").await.unwrap();
        register(&two, &store, "b@1.0.0").await.unwrap();
        assert_eq!((two.list().len(), two.revision()), (2, 2));
        // What the newer content makes impossible is refused.
        let other = contract("b@1.0.0").description("another");
        let failure = one.commit(&store, |r| r.register_remote(other.clone(), NOW)).await.unwrap_err();
        assert_eq!(failure.code, codes::CONFLICT);
        assert_eq!(one.list().len(), 2, "it has seen the newer content");
    });
}

#[test]
fn what_a_process_registered_before_it_had_a_store_is_saved_once() {
    block_on(async {
        let store = MemoryRegistry::new();
        let own = || registry(&["a@1.0.0", "b@1.0.0"]);
        assert_eq!(own().connect(&store).await.unwrap().len(), 2);
        let two = own();
        register_now(&two, "c@1.0.0");
        let saved = two.connect(&store).await.unwrap();
        assert_eq!(saved.iter().map(|c| c.record.subject().to_string()).collect::<Vec<_>>(), ["skill c@1.0.0"]);
        assert_eq!((two.list().len(), two.revision()), (3, 2));
        assert!(two.has_code(&"a@1.0.0".parse().unwrap()));
        assert!(two.connect(&store).await.unwrap().is_empty());
        assert_eq!(store.load(&TenantId::default()).await.unwrap().records, two.list());

        // What an operator has disabled stays disabled over a restart.
        two.commit(&store, |registry| registry.disable(&subject("a@1.0.0"), "x", NOW)).await.unwrap();
        let three = own();
        assert!(three.connect(&store).await.unwrap().is_empty());
        assert!(Resolver::skill(&three, "a").is_err());

        // Code whose contract has changed without a new version does not start.
        let other = Registry::new();
        other.register_remote(contract("b@1.0.0").description("another"), NOW).unwrap();
        let failure = other.connect(&store).await.unwrap_err();
        assert_eq!(failure.code, codes::CONFLICT);
        assert!(failure.message.contains("/description"), "{failure}");
    });
}

#[test]
fn code_is_there_again_when_a_lost_record_comes_back() {
    block_on(async {
        let (store, lost, restored) = (MemoryRegistry::new(), MemoryRegistry::new(), MemoryRegistry::new());
        let own = process(&store).await;
        register(&own, &store, "a@1.0.0").await.unwrap();
        for (store, versions) in [(&lost, &["b@1.0.0", "c@1.0.0"][..]), (&restored, &["b@1.0.0", "c@1.0.0", "a@1.0.0"])]
        {
            let operator = process(store).await;
            for version in versions {
                operator.commit(store, |r| r.register_remote(contract(version), NOW)).await.unwrap();
            }
        }
        let version = "a@1.0.0".parse().unwrap();
        assert!(own.refresh(&lost).await.unwrap() && own.get(&subject("a@1.0.0")).is_none());
        assert!(!own.has_code(&version));
        assert!(own.refresh(&restored).await.unwrap() && own.has_code(&version));
    });
}

fn register_now(registry: &Registry, version: &str) {
    registry.register(skill(contract(version)), NOW).unwrap();
}

#[test]
fn a_failed_save_changes_nothing() {
    struct Down(MemoryRegistry);
    impl RegistryStore for Down {
        fn load<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Loaded, StoreError>> {
            self.0.load(tenant)
        }
        fn save<'a>(&'a self, _: &'a TenantId, _: u64, _: &'a [Change]) -> BoxFuture<'a, Result<u64, StoreError>> {
            Box::pin(async { Err(StoreError::Unavailable { operation: "saving a registry", source: "down".into() }) })
        }
        fn changed<'a>(&'a self, tenant: &'a TenantId, after: u64) -> BoxFuture<'a, Result<u64, StoreError>> {
            self.0.changed(tenant, after)
        }
        fn audit<'a>(&'a self, t: &'a TenantId, limit: usize) -> BoxFuture<'a, Result<Vec<AuditEntry>, StoreError>> {
            self.0.audit(t, limit)
        }
        fn put_snapshot<'a>(
            &'a self,
            tenant: &'a TenantId,
            snapshot: &'a RegistrySnapshot,
            at: Timestamp,
        ) -> BoxFuture<'a, Result<(), StoreError>> {
            self.0.put_snapshot(tenant, snapshot, at)
        }
        fn snapshots<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<SnapshotInfo>, StoreError>> {
            self.0.snapshots(tenant)
        }
        fn snapshot<'a>(
            &'a self,
            tenant: &'a TenantId,
            hash: &'a Hash,
        ) -> BoxFuture<'a, Result<Option<RegistrySnapshot>, StoreError>> {
            self.0.snapshot(tenant, hash)
        }
    }
    block_on(async {
        let store = Down(MemoryRegistry::new());
        let registry = process(&store).await;
        let failure = register(&registry, &store, "a@1.0.0").await.unwrap_err();
        assert_eq!(failure.code, codes::STORE_UNAVAILABLE);
        assert!(registry.list().is_empty());
    });
}

#[test]
fn a_stored_record_that_can_not_be_used_leaves_the_registry_as_it_is() {
    block_on(async {
        let store = MemoryRegistry::new();
        let registry = process(&store).await;
        register(&registry, &store, "a@1.0.0").await.unwrap();
        let acme: TenantId = "acme".parse().unwrap();
        let other = Registry::build(acme.clone(), Arc::new(crate::skill::schema::Unchecked));
        let changes = other.register_remote(contract("b@1.0.0"), NOW).unwrap().changes;
        assert!(store.save(&TenantId::default(), 1, &changes).await.is_err(), "a record of another tenant");
        assert!(store.save(&acme, 1, &changes).await.is_err(), "a revision that is not there");
        assert_eq!(store.save(&acme, 0, &changes).await.unwrap(), 1);
        assert_eq!(store.load(&acme).await.unwrap().records.len(), 1);
        assert_eq!(store.load(&TenantId::default()).await.unwrap().records.len(), 1);
    });
}

#[test]
fn waiting_for_a_change_ends_with_it() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let store = MemoryRegistry::new();
    let (one, two) = block_on(async { (process(&store).await, process(&store).await) });
    let wakes = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&wakes));
    let mut context = Context::from_waker(&waker);
    let mut waiting = pin!(two.next_refresh(&store));
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    block_on(register(&one, &store, "a@1.0.0")).unwrap();
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    assert!(matches!(waiting.poll(&mut context), Poll::Ready(Ok(()))));
    assert!(Resolver::skill(&two, "a").is_ok());
}

#[test]
fn snapshots_are_kept_once_and_listed_newest_first() {
    block_on(async {
        let (store, tenant) = (MemoryRegistry::new(), TenantId::default());
        let registry = process(&store).await;
        let at = Timestamp::from_millis;
        let first = registry.snapshot().unwrap();
        store.put_snapshot(&tenant, &first, at(1)).await.unwrap();
        register(&registry, &store, "a@1.0.0").await.unwrap();
        let second = registry.snapshot().unwrap();
        store.put_snapshot(&tenant, &second, at(2)).await.unwrap();
        store.put_snapshot(&tenant, &first, at(3)).await.unwrap();
        let listed = store.snapshots(&tenant).await.unwrap();
        let seen: Vec<_> = listed.iter().map(|info| (info.hash, info.taken_at.as_millis(), info.skills)).collect();
        assert_eq!(seen, [(second.hash(), 2, 1), (first.hash(), 1, 0)]);
        assert_eq!(store.snapshot(&tenant, &second.hash()).await.unwrap(), Some(second));
        assert_eq!(store.snapshot(&tenant, &Hash::ZERO).await.unwrap(), None);
    });
}
