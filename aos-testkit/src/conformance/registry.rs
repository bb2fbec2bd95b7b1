//! The contract of [`RegistryStore`](aos_core::registry::RegistryStore).

use std::sync::Arc;

use aos_core::id::TenantId;

use aos_core::registry::{Action, Change, Record, Registry, RegistrySnapshot, SkillRecord, Status};
use aos_core::runs::StoreError;
use aos_core::skill::SkillContract;
use aos_core::time::Timestamp;

use super::fixture::{is_pending, other_tenant, race, tenant};
use super::{Backend, Outcome};

fn change(tenant: TenantId, version: &str, status: Status) -> Change {
    let at = Timestamp::from_millis(1_000);
    let contract = SkillContract::pure("store_test", version).expect("a valid contract");
    let action = if status.is_enabled() { Action::Register } else { Action::Disable };
    Change { action, at, record: Record::Skill(Arc::new(SkillRecord { tenant, contract, status, registered_at: at })) }
}

fn mine(version: &str) -> Change {
    change(tenant(), version, Status::Enabled)
}

fn sorted(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_by_key(Record::subject);
    records
}

/// A tenant that nothing was saved for has an empty registry at revision 0.
pub async fn an_unknown_registry_is_empty(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_registry()?;
    let loaded = store.load(&tenant()).await.unwrap();
    assert_eq!((loaded.revision, loaded.records), (0, Vec::new()));
    assert_eq!(store.audit(&tenant(), 10).await.unwrap(), []);
    assert_eq!(store.snapshots(&tenant()).await.unwrap(), []);
    Ok(())
}

/// `save` replaces or adds the record of every change, and gives a higher revision each time.
pub async fn what_was_saved_is_loaded(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_registry()?;
    let first = store.save(&tenant(), 0, &[mine("1.0.0"), mine("1.1.0")]).await.unwrap();
    assert!(first > 0);
    let disabled = change(tenant(), "1.0.0", Status::Disabled("it lies 👎\u{1}".into()));
    let second = store.save(&tenant(), first, &[disabled.clone(), mine("2.0.0-rc.1")]).await.unwrap();
    assert!(second > first);
    let loaded = store.load(&tenant()).await.unwrap();
    assert_eq!(loaded.revision, second);
    let expected = [disabled, mine("1.1.0"), mine("2.0.0-rc.1")].map(|change| change.record);
    assert_eq!(sorted(loaded.records), sorted(expected.into()));
    assert!(store.save(&tenant(), second, &[]).await.unwrap() > second, "a save of nothing counts");
    Ok(())
}

/// A save on top of another revision than the tenant's is a conflict and changes nothing, the audit log included.
pub async fn a_stale_save_changes_nothing(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_registry()?;
    let revision = store.save(&tenant(), 0, &[mine("1.0.0")]).await.unwrap();
    for expected in [0, revision - 1, revision + 1, u64::MAX] {
        let error = store.save(&tenant(), expected, &[mine("2.0.0")]).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict(_)), "{error:?}");
    }
    let loaded = store.load(&tenant()).await.unwrap();
    assert_eq!((loaded.revision, loaded.records), (revision, vec![mine("1.0.0").record]));
    assert_eq!(store.audit(&tenant(), 10).await.unwrap().len(), 1);
    Ok(())
}

/// Of racing saves on top of one revision, one wins.
pub async fn racing_saves_win_once(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_registry()?;
    let results = race(backend, 8, |racer| {
        let store = store.clone();
        Box::pin(async move { store.save(&tenant(), 0, &[mine(&format!("{racer}.0.0"))]).await })
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert_eq!(store.load(&tenant()).await.unwrap().records.len(), 1);
    Ok(())
}

/// `changed` waits for a higher revision, and is told of it.
pub async fn changed_resolves_after_a_save(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_registry()?;
    let other = tenant();
    let mut waiting = store.changed(&other, 0);
    assert!(is_pending(&mut waiting).await);
    let revision = store.save(&tenant(), 0, &[mine("1.0.0")]).await.unwrap();
    assert_eq!(waiting.await.unwrap(), revision);
    assert_eq!(store.changed(&tenant(), 0).await.unwrap(), revision, "also for what was there before");
    Ok(())
}

/// The audit log has every change, newest first.
pub async fn audit_is_newest_first(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_registry()?;
    let disabled = change(tenant(), "1.0.0", Status::Disabled("for now".into()));
    let revision = store.save(&tenant(), 0, &[mine("1.0.0"), mine("1.1.0")]).await.unwrap();
    store.save(&tenant(), revision, std::slice::from_ref(&disabled)).await.unwrap();
    let expected = [disabled, mine("1.1.0"), mine("1.0.0")].map(|change| change.audit());
    assert_eq!(store.audit(&tenant(), 10).await.unwrap(), expected);
    assert_eq!(store.audit(&tenant(), 2).await.unwrap(), expected[..2]);
    assert_eq!(store.audit(&tenant(), usize::MAX).await.unwrap().len(), 3);
    Ok(())
}

fn snapshot(versions: &[&str]) -> RegistrySnapshot {
    let registry = Registry::new();
    for version in versions {
        let contract = SkillContract::pure("store_test", version).expect("a valid contract");
        registry.register_remote(contract, Timestamp::EPOCH).expect("it is registered");
    }
    registry.snapshot().expect("a snapshot")
}

/// A snapshot is kept under its hash; keeping it again changes nothing, its time included.
pub async fn snapshots_are_kept_once(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_registry()?;
    let at = Timestamp::from_millis;
    let (one, two) = (snapshot(&["1.0.0"]), snapshot(&["1.0.0", "1.1.0"]));
    store.put_snapshot(&tenant(), &one, at(10)).await.unwrap();
    store.put_snapshot(&tenant(), &two, at(20)).await.unwrap();
    store.put_snapshot(&tenant(), &one, at(30)).await.unwrap();
    let infos = store.snapshots(&tenant()).await.unwrap();
    let shown: Vec<_> = infos.iter().map(|info| (info.hash, info.taken_at, info.skills, info.workflows)).collect();
    assert_eq!(shown, [(two.hash(), at(20), 2, 0), (one.hash(), at(10), 1, 0)]);
    let kept = store.snapshot(&tenant(), &two.hash()).await.unwrap().expect("it is kept");
    assert_eq!(kept.to_string(), two.to_string());
    assert!(store.snapshot(&tenant(), &aos_core::canonical::Hash::ZERO).await.unwrap().is_none());
    Ok(())
}

/// Nothing of one tenant is visible to, or changed by, a call for another.
pub async fn tenants_are_apart(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_registry()?;
    let one = snapshot(&["1.0.0"]);
    store.save(&tenant(), 0, &[mine("1.0.0")]).await.unwrap();
    store.put_snapshot(&tenant(), &one, Timestamp::EPOCH).await.unwrap();
    let loaded = store.load(&other_tenant()).await.unwrap();
    assert_eq!((loaded.revision, loaded.records), (0, Vec::new()));
    assert_eq!(store.audit(&other_tenant(), 10).await.unwrap(), []);
    assert_eq!(store.snapshots(&other_tenant()).await.unwrap(), []);
    assert!(store.snapshot(&other_tenant(), &one.hash()).await.unwrap().is_none());
    let error = store.save(&other_tenant(), 0, &[mine("2.0.0")]).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "the record is another tenant's: {error:?}");
    Ok(())
}

/// A save is durable when it resolves, and heard of by whoever else has the data open.
pub async fn is_there_for_another_process(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let (store, again) = (roles.need_registry()?, roles.again().await?);
    let again = again.need_registry()?;
    let waiter = tenant();
    let mut waiting = again.changed(&waiter, 0);
    assert!(is_pending(&mut waiting).await);
    let revision = store.save(&tenant(), 0, &[mine("1.0.0")]).await.unwrap();
    assert_eq!(waiting.await.unwrap(), revision);
    assert_eq!(again.load(&tenant()).await.unwrap().records.len(), 1);
    Ok(())
}
