//! The contract of [`SlotStore`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aos_core::id::SkillId;
use aos_core::slots::{Admission, SkillLimit, Slot, SlotStore};

use super::fixture::{LEASE, LONG, other_tenant, race, tenant, worker};
use super::{Backend, Outcome};

fn skill(id: &str) -> SkillId {
    SkillId::new(id).expect("a valid id")
}

/// The skill that most clauses limit.
fn limited() -> SkillId {
    skill("limited")
}

async fn limit(store: &dyn SlotStore, max: u32) {
    store.limit(&tenant(), &limited(), Some(max)).await.unwrap();
}

async fn ask(store: &dyn SlotStore, lease: Duration) -> Admission {
    store.acquire(&tenant(), &limited(), &worker("w"), lease).await.unwrap()
}

async fn take(store: &dyn SlotStore, lease: Duration) -> Slot {
    match ask(store, lease).await {
        Admission::Granted(slot) => slot,
        other => panic!("expected a slot, got {other:?}"),
    }
}

async fn is_full(store: &dyn SlotStore) -> bool {
    match ask(store, LONG).await {
        Admission::Full => true,
        Admission::Granted(_) => false,
        Admission::Unlimited => panic!("the skill has a limit"),
    }
}

/// A skill that never had a limit, or whose limit was lifted, has none.
pub async fn a_skill_without_a_limit_is_unlimited(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_slots()?;
    store.limit(&tenant(), &skill("another"), Some(0)).await.unwrap();
    assert_eq!(ask(&*store, LONG).await, Admission::Unlimited);
    limit(&*store, 0).await;
    assert!(is_full(&*store).await);
    store.limit(&tenant(), &limited(), None).await.unwrap();
    store.limit(&tenant(), &limited(), None).await.unwrap();
    assert_eq!(ask(&*store, LONG).await, Admission::Unlimited);
    Ok(())
}

/// `limits` gives those that are set, by skill, as they were set last.
pub async fn limits_are_listed_by_skill(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_slots()?;
    assert_eq!(store.limits(&tenant()).await.unwrap(), []);
    for (id, max) in [("b", Some(1)), ("a_1", Some(2)), ("a.1", Some(3)), ("b", Some(u32::MAX)), ("c", Some(0))] {
        store.limit(&tenant(), &skill(id), max).await.unwrap();
    }
    store.limit(&tenant(), &skill("c"), None).await.unwrap();
    let expected = [("a.1", 3), ("a_1", 2), ("b", u32::MAX)].map(|(id, max)| SkillLimit { skill: skill(id), max });
    assert_eq!(store.limits(&tenant()).await.unwrap(), expected);
    Ok(())
}

/// As many slots are granted as the limit says, each with a ticket of its own, and no more.
pub async fn no_more_slots_than_the_limit(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_slots()?;
    limit(&*store, 3).await;
    let mut slots = BTreeSet::new();
    for _ in 0..3 {
        let slot = take(&*store, LONG).await;
        assert_eq!((&slot.tenant, &slot.skill), (&tenant(), &limited()));
        slots.insert(slot);
    }
    assert_eq!(slots.len(), 3);
    assert!(is_full(&*store).await);
    limit(&*store, 4).await;
    assert!(slots.insert(take(&*store, LONG).await), "a raised limit makes room for a new one");
    assert!(is_full(&*store).await);
    Ok(())
}

/// A slot that was given back makes room for one; giving it back again makes none.
pub async fn a_released_slot_makes_room(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_slots()?;
    limit(&*store, 1).await;
    let first = take(&*store, LONG).await;
    store.release(&first).await.unwrap();
    let second = take(&*store, LONG).await;
    assert_ne!(second, first, "no ticket comes twice");
    for gone in [first.clone(), Slot { ticket: u64::MAX, ..first.clone() }, Slot { ticket: 0, ..first.clone() }] {
        store.release(&gone).await.unwrap();
        assert!(is_full(&*store).await, "{gone:?}");
    }
    assert_eq!(store.renew(std::slice::from_ref(&first), LONG).await.unwrap(), [first]);
    Ok(())
}

/// A slot whose deadline has passed makes room.
pub async fn a_slot_lapses(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_slots()?;
    limit(&*store, 2).await;
    take(&*store, LEASE).await;
    take(&*store, LEASE * 10).await;
    roles.pass(LEASE / 2).await?;
    assert!(is_full(&*store).await);
    roles.pass(LEASE).await?;
    take(&*store, LONG).await;
    assert!(is_full(&*store).await);
    Ok(())
}

/// A slot that is renewed in time stays live for as long again.
pub async fn a_renewed_slot_stays_live(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_slots()?;
    limit(&*store, 2).await;
    let slots = [take(&*store, LEASE).await, take(&*store, LEASE).await];
    for _ in 0..3 {
        roles.pass(LEASE / 2).await?;
        assert_eq!(store.renew(&slots, LEASE).await.unwrap(), []);
    }
    assert_eq!(store.renew(&[], LEASE).await.unwrap(), []);
    assert!(is_full(&*store).await);
    roles.pass(LEASE * 2).await?;
    assert_eq!(store.renew(&slots, LEASE).await.unwrap(), slots);
    Ok(())
}

/// `renew` gives back what is no longer live, and that does not come back to life, though nobody took its place.
pub async fn a_lapsed_slot_does_not_come_back(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_slots()?;
    limit(&*store, 2).await;
    let (short, long) = (take(&*store, LEASE).await, take(&*store, LONG).await);
    let gone = std::slice::from_ref(&short);
    roles.pass(LEASE * 2).await?;
    assert_eq!(store.renew(&[short.clone(), long.clone()], LONG).await.unwrap(), gone);
    assert_eq!(store.renew(gone, LONG).await.unwrap(), gone);
    take(&*store, LONG).await;
    assert_eq!(store.renew(&[long, short.clone()], LONG).await.unwrap(), gone);
    store.release(&short).await.unwrap();
    assert!(is_full(&*store).await);
    Ok(())
}

/// A limit that is lowered, or lifted and set again, leaves slots alone and waits for enough of them to end. What went
/// ahead without a limit does not count.
pub async fn a_lowered_limit_takes_nothing_away(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_slots()?;
    limit(&*store, 3).await;
    let slots = [take(&*store, LONG).await, take(&*store, LONG).await, take(&*store, LONG).await];
    limit(&*store, 2).await;
    assert_eq!(store.renew(&slots, LONG).await.unwrap(), []);
    store.release(&slots[0]).await.unwrap();
    assert!(is_full(&*store).await);
    store.limit(&tenant(), &limited(), None).await.unwrap();
    assert_eq!(ask(&*store, LONG).await, Admission::Unlimited);
    assert_eq!(store.renew(&slots[1..], LONG).await.unwrap(), []);
    limit(&*store, 2).await;
    assert!(is_full(&*store).await);
    store.release(&slots[1]).await.unwrap();
    take(&*store, LONG).await;
    assert!(is_full(&*store).await);
    Ok(())
}

/// However many ask at once, no more than the limit are granted, each with a ticket of its own.
pub async fn racing_callers_get_no_more(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_slots()?;
    limit(&*store, 5).await;
    for _ in 0..3 {
        let admissions = race(backend, 16, |_| {
            let store = store.clone();
            Box::pin(async move { ask(&*store, LEASE).await })
        });
        assert_eq!(granted(admissions).len(), 5);
        // What has lapsed is handed out anew, not more often than before.
        roles.pass(LEASE * 2).await?;
    }
    Ok(())
}

/// Callers of several processes share a limit: while each gives back what it got, no two hold a slot at a time.
pub async fn racing_callers_of_another_process_get_no_more(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let (store, again) = (roles.need_slots()?, roles.again().await?);
    let again = again.need_slots()?;
    limit(&*store, 1).await;
    let held = Arc::new(AtomicU32::new(0));
    let grants = race(backend, 8, |racer| {
        let store = if racer % 2 == 0 { store.clone() } else { again.clone() };
        let held = Arc::clone(&held);
        Box::pin(async move {
            let mut grants = 0_u32;
            for _ in 0..10 {
                let Admission::Granted(slot) = ask(&*store, LONG).await else { continue };
                assert_eq!(held.fetch_add(1, Ordering::SeqCst), 0, "somebody else holds a slot");
                assert_eq!(store.renew(std::slice::from_ref(&slot), LONG).await.unwrap(), []);
                held.fetch_sub(1, Ordering::SeqCst);
                store.release(&slot).await.unwrap();
                grants += 1;
            }
            grants
        })
    });
    assert!(grants.iter().sum::<u32>() > 0, "somebody got a slot");
    assert!(!is_full(&*store).await, "all were given back");
    Ok(())
}

fn granted(admissions: Vec<Admission>) -> BTreeSet<Slot> {
    let slot = |admission| if let Admission::Granted(slot) = admission { Some(slot) } else { None };
    admissions.into_iter().filter_map(slot).collect()
}

/// Nothing of one tenant is visible to, or changed by, a call for another.
pub async fn tenants_are_apart(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_slots()?;
    limit(&*store, 1).await;
    let mine = take(&*store, LONG).await;
    let theirs = |slot: &Slot| Slot { tenant: other_tenant(), ..slot.clone() };
    assert_eq!(store.limits(&other_tenant()).await.unwrap(), []);
    let admission = store.acquire(&other_tenant(), &limited(), &worker("w"), LONG).await.unwrap();
    assert_eq!(admission, Admission::Unlimited);
    store.release(&theirs(&mine)).await.unwrap();
    store.limit(&other_tenant(), &limited(), Some(1)).await.unwrap();
    let admission = store.acquire(&other_tenant(), &limited(), &worker("w"), LONG).await.unwrap();
    assert!(matches!(admission, Admission::Granted(_)), "{admission:?}");
    assert!(is_full(&*store).await);
    assert_eq!(store.renew(&[theirs(&mine), mine.clone()], LONG).await.unwrap(), [theirs(&mine)]);
    store.limit(&other_tenant(), &limited(), None).await.unwrap();
    assert!(is_full(&*store).await);
    Ok(())
}

/// Limits and slots are those of whoever else has the data open, too.
pub async fn is_there_for_another_process(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let (store, again) = (roles.need_slots()?, roles.again().await?);
    let again = again.need_slots()?;
    limit(&*store, 1).await;
    let slot = take(&*store, LEASE).await;
    assert!(is_full(&*again).await);
    assert_eq!(again.renew(std::slice::from_ref(&slot), LONG).await.unwrap(), []);
    again.release(&slot).await.unwrap();
    assert!(!is_full(&*store).await);
    Ok(())
}
