//! The contract of [`KeyStore`](aos_core::keys::KeyStore).

use std::time::Duration;

use aos_core::id::ApiKeyId;
use aos_core::keys::{ApiKey, KeyState, KeyText, NewKey, Scope};
use aos_core::time::Timestamp;

use super::fixture::{NASTY, other_tenant, race, readable, tenant};
use super::{Backend, Outcome};

/// A key is given back as it was made, by its name and in the list of all.
pub async fn what_was_made_is_read_back(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_keys()?;
    assert_eq!(store.list(&tenant()).await.unwrap(), []);
    assert_eq!(store.get(&tenant(), &id(1)).await.unwrap(), None);
    let mut made = Vec::new();
    for (n, scope) in (1..).zip(Scope::ALL) {
        let expires_at = (n > 1).then(|| Timestamp::from_millis(1_900_000_000_000 + u64::from(n)));
        let new = NewKey { scope, expires_at, ..key(n) };
        let kept = store.create(new.clone()).await.unwrap().unwrap();
        assert_eq!(kept, ApiKey { new, created_at: kept.created_at, revoked: None, used_at: None });
        assert_eq!(store.get(&tenant(), &id(n)).await.unwrap().as_ref(), Some(&kept));
        made.push(kept);
    }
    assert_eq!(store.list(&tenant()).await.unwrap(), made, "in the order in which they were made");
    Ok(())
}

/// A name that is taken stays with the key that has it.
pub async fn a_name_is_taken_once(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_keys()?;
    let first = store.create(key(1)).await.unwrap().unwrap();
    let other = NewKey { hash: text(2).hash(), label: "other".into(), ..key(1) };
    assert_eq!(store.create(other).await.unwrap(), None);
    assert_eq!(store.list(&tenant()).await.unwrap(), [first]);
    Ok(())
}

/// There is a first key only as long as there is none, be it good for anything or not.
pub async fn only_the_first_key_is_the_first(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_keys()?;
    let first = store.create_first(key(1)).await.unwrap().unwrap();
    assert_eq!(store.get(&tenant(), &id(1)).await.unwrap(), Some(first));
    store.revoke(&tenant(), &id(1), "ops").await.unwrap();
    assert_eq!(store.create_first(key(2)).await.unwrap(), None);
    assert_eq!(store.list(&tenant()).await.unwrap().len(), 1);
    Ok(())
}

/// Of several that want to make the first key, one does.
pub async fn racing_first_keys_are_one(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_keys()?;
    let results = race(backend, 8, |racer| {
        let store = store.clone();
        Box::pin(async move { store.create_first(key(racer as u8)).await })
    });
    let made: Vec<_> = results.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(store.list(&tenant()).await.unwrap(), made);
    Ok(())
}

/// A revoked key is good for nothing from then on, and says who did it first.
pub async fn a_revoked_key_stays_revoked(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_keys()?;
    assert_eq!(store.revoke(&tenant(), &id(1), "ops").await.unwrap(), None);
    let made = store.create(key(1)).await.unwrap().unwrap();
    store.create(key(2)).await.unwrap().unwrap();
    let revoked = store.revoke(&tenant(), &id(1), "ops").await.unwrap().unwrap();
    let (at, by) = revoked.revoked.clone().unwrap();
    assert_eq!((at >= made.created_at, by.as_str()), (true, "ops"));
    roles.pass(Duration::from_secs(5)).await?;
    assert_eq!(store.revoke(&tenant(), &id(1), "dev").await.unwrap().as_ref(), Some(&revoked));
    assert_eq!(store.get(&tenant(), &id(1)).await.unwrap().unwrap().state(at), KeyState::Revoked);
    assert_eq!(store.get(&tenant(), &id(2)).await.unwrap().unwrap().state(at), KeyState::Active, "the other one");
    Ok(())
}

/// The last use counts, whatever order uses are told in.
pub async fn uses_only_go_forward(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_keys()?;
    store.create(key(1)).await.unwrap().unwrap();
    store.create(key(2)).await.unwrap().unwrap();
    let at = |seconds: u64| Timestamp::from_millis(1_800_000_000_000 + 1_000 * seconds);
    for (uses, expected) in [
        (vec![], [None, None]),
        (vec![(id(1), at(10)), (id(3), at(10))], [Some(at(10)), None]),
        (vec![(id(2), at(5)), (id(1), at(9))], [Some(at(10)), Some(at(5))]),
        (vec![(id(1), at(11)), (id(2), at(6))], [Some(at(11)), Some(at(6))]),
    ] {
        store.used(&tenant(), &uses).await.unwrap();
        let keys = store.list(&tenant()).await.unwrap();
        assert_eq!([keys[0].used_at, keys[1].used_at], expected, "{uses:?}");
    }
    Ok(())
}

/// Nobody sees, takes or revokes another tenant's keys.
pub async fn tenants_are_apart(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_keys()?;
    let ours = store.create(key(1)).await.unwrap().unwrap();
    assert_eq!(store.get(&other_tenant(), &id(1)).await.unwrap(), None);
    assert_eq!(store.revoke(&other_tenant(), &id(1), "ops").await.unwrap(), None);
    let theirs = NewKey { tenant: other_tenant(), ..key(1) };
    let theirs = store.create_first(theirs).await.unwrap().unwrap();
    store.used(&other_tenant(), &[(id(1), Timestamp::from_millis(1_800_000_000_000))]).await.unwrap();
    assert_eq!(store.list(&tenant()).await.unwrap(), [ours]);
    assert_eq!(store.list(&other_tenant()).await.unwrap()[0].new, theirs.new);
    Ok(())
}

/// Texts come back as they were given, but for U+0000.
pub async fn texts_come_back(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_keys()?;
    for (n, text) in (1..).zip([NASTY, "", &"ö".repeat(10_000)]) {
        let new = NewKey { label: text.to_owned(), by: text.to_owned(), ..key(n) };
        let made = store.create(new).await.unwrap().unwrap();
        assert_eq!((readable(&made.new.label), readable(&made.new.by)), (readable(text), readable(text)));
        assert_eq!(store.get(&tenant(), &id(n)).await.unwrap(), Some(made));
        let revoked = store.revoke(&tenant(), &id(n), text).await.unwrap().unwrap();
        assert_eq!(readable(&revoked.revoked.unwrap().1), readable(text));
    }
    Ok(())
}

/// A key is known, and revoked, for whoever else has the data open.
pub async fn is_there_for_another_process(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let (store, again) = (roles.need_keys()?, roles.again().await?);
    let again = again.need_keys()?;
    let made = store.create(key(1)).await.unwrap();
    assert_eq!(again.get(&tenant(), &id(1)).await.unwrap(), made);
    let revoked = again.revoke(&tenant(), &id(1), "ops").await.unwrap();
    assert_eq!(store.get(&tenant(), &id(1)).await.unwrap(), revoked);
    Ok(())
}

fn text(n: u8) -> KeyText {
    KeyText::from_random([n; 40])
}

fn id(n: u8) -> ApiKeyId {
    text(n).id().clone()
}

fn key(n: u8) -> NewKey {
    let (text, label) = (text(n), format!("key {n}"));
    NewKey {
        tenant: tenant(),
        id: text.id().clone(),
        hash: text.hash(),
        label,
        scope: Scope::Run,
        expires_at: None,
        by: "ops".into(),
    }
}
