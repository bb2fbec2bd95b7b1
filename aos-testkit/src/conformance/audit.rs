//! The contract of [`AuditStore`].

use std::time::Duration;

use aos_core::audit::{AuditFilter, AuditRecord, AuditStore, Chain, Checkpoint, NewAuditRecord, Page, Stage};
use aos_core::canonical::Hash;

use super::fixture::{NASTY, other_tenant, race, readable, tenant};
use super::{Backend, Outcome};

const ALL: Page = Page { after: 0, before: u64::MAX, newest_first: false, limit: usize::MAX };

/// A record is given back as it was made, behind the one before it.
pub async fn what_was_appended_is_read_back(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_audit()?;
    assert_eq!(read(&*store, ALL).await, []);
    let mut log: Vec<AuditRecord> = Vec::new();
    for (stage, request_id) in Stage::ALL.into_iter().zip([None, Some("req-1"), Some("")]) {
        let new = NewAuditRecord { stage, request_id: request_id.map(Into::into), ..record("turnSwitch", "x") };
        let kept = store.append(new.clone()).await.unwrap();
        assert_eq!(kept, AuditRecord::after(log.last(), new, kept.at));
        log.push(kept);
    }
    assert_eq!(read(&*store, ALL).await, log);
    Ok(())
}

/// Times are the store's, and never go back.
pub async fn times_are_of_the_stores_clock(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_audit()?;
    let first = store.append(record("a", "x")).await.unwrap();
    roles.pass(Duration::from_secs(5)).await?;
    let second = store.append(record("a", "x")).await.unwrap();
    assert!(second.at >= first.at.saturating_add(Duration::from_secs(5)), "{first:?} {second:?}");
    let filter = AuditFilter { since: Some(second.at), ..AuditFilter::default() };
    assert_eq!(store.read(&tenant(), &filter, ALL).await.unwrap(), std::slice::from_ref(&second));
    let filter = AuditFilter { until: Some(second.at), ..AuditFilter::default() };
    assert_eq!(store.read(&tenant(), &filter, ALL).await.unwrap(), [first]);
    Ok(())
}

/// Pages in either direction leave nothing out.
pub async fn reads_pages(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_audit()?;
    let mut log = Vec::new();
    for n in 0..7 {
        log.push(store.append(record("a", &n.to_string())).await.unwrap());
    }
    for limit in [0, 1, 3, 7, 8] {
        let page = read(&*store, Page { after: 2, limit, ..ALL }).await;
        assert_eq!(page, log[2..(2 + limit).min(7)], "{limit}");
    }
    let mut newest = log.clone();
    newest.reverse();
    assert_eq!(read(&*store, Page { newest_first: true, ..ALL }).await, newest);
    let page = Page { after: 1, before: 6, newest_first: true, limit: 3 };
    assert_eq!(read(&*store, page).await, newest[2..5]);
    Ok(())
}

/// A filter lets through what fits all of it.
pub async fn filters_let_through_what_fits(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_audit()?;
    let ada = NewAuditRecord { actor: "Ada".into(), request_id: Some("r1".into()), ..record("createKey", "/v1/keys") };
    let bob = NewAuditRecord {
        actor: "Bob".into(),
        stage: Stage::Failed,
        detail: "100%_sure".into(),
        ..record("turnSwitch", "/v1/switches/x")
    };
    let (ada, bob) = (store.append(ada).await.unwrap(), store.append(bob).await.unwrap());
    let none = AuditFilter::default();
    let some = |text: &str| Some(text.to_owned());
    for (filter, expected) in [
        (none.clone(), vec![&ada, &bob]),
        (AuditFilter { actor: some("Ada"), ..none.clone() }, vec![&ada]),
        (AuditFilter { actor: some("Ad"), ..none.clone() }, vec![]),
        (AuditFilter { action: some("turnSwitch"), ..none.clone() }, vec![&bob]),
        (AuditFilter { request_id: some("r1"), ..none.clone() }, vec![&ada]),
        (AuditFilter { stage: Some(Stage::Failed), ..none.clone() }, vec![&bob]),
        (AuditFilter { text: some("/v1/"), ..none.clone() }, vec![&ada, &bob]),
        (AuditFilter { text: some("0%_s"), ..none.clone() }, vec![&bob]),
        (AuditFilter { text: some("%"), ..none.clone() }, vec![&bob]),
        (AuditFilter { text: some("V1"), ..none.clone() }, vec![]),
        (AuditFilter { actor: some("Ada"), stage: Some(Stage::Failed), ..none }, vec![]),
    ] {
        let found = store.read(&tenant(), &filter, ALL).await.unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?}");
    }
    Ok(())
}

/// Appends that race, from two processes, each follow another.
pub async fn racing_appends_are_one_chain(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let (store, again) = (roles.need_audit()?, roles.again().await?.need_audit()?);
    let results = race(backend, 8, |racer| {
        let store = if racer % 2 == 0 { store.clone() } else { again.clone() };
        Box::pin(async move {
            for n in 0..5 {
                store.append(record("a", &format!("{racer}/{n}"))).await.unwrap();
            }
        })
    });
    assert_eq!(results.len(), 8);
    let log = read(&*store, ALL).await;
    let mut chain = Chain::default();
    for record in &log {
        chain.check(&record.to_json()).unwrap();
    }
    assert_eq!(chain.len(), 40);
    Ok(())
}

/// A checkpoint is kept once for each key.
pub async fn checkpoints_are_kept(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_audit()?;
    let checkpoint = |seq, key: &str, signature: &str| Checkpoint {
        tenant: tenant(),
        seq,
        hash: Hash::of(signature),
        key: key.into(),
        signature: signature.into(),
    };
    let all = [checkpoint(1, "k2", "a"), checkpoint(4, "k1", "b"), checkpoint(4, "k2", "c"), checkpoint(9, "k1", "d")];
    for n in [2, 0, 3, 1] {
        store.put_checkpoint(all[n].clone()).await.unwrap();
    }
    store.put_checkpoint(checkpoint(4, "k1", "another")).await.unwrap();
    assert_eq!(store.checkpoints(&tenant(), ALL).await.unwrap(), all);
    let page = Page { after: 1, before: 9, newest_first: true, limit: 1 };
    assert_eq!(store.checkpoints(&tenant(), page).await.unwrap(), all[2..3]);
    assert_eq!(store.checkpoints(&other_tenant(), ALL).await.unwrap(), []);
    Ok(())
}

/// Each tenant has a log of its own.
pub async fn tenants_are_apart(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_audit()?;
    store.append(record("a", "x")).await.unwrap();
    let other = store.append(NewAuditRecord { tenant: other_tenant(), ..record("b", "y") }).await.unwrap();
    assert_eq!((other.seq, other.before), (1, None));
    assert_eq!(read(&*store, ALL).await.len(), 1);
    assert_eq!(store.read(&other_tenant(), &AuditFilter::default(), ALL).await.unwrap(), [other]);
    Ok(())
}

/// Texts come back as they were given, but for U+0000; the chain is whole all the same.
pub async fn texts_come_back(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_audit()?;
    let long = "ö".repeat(10_000);
    let mut chain = Chain::default();
    for text in [NASTY, "", &long] {
        let new = NewAuditRecord {
            actor: text.into(),
            action: text.into(),
            subject: text.into(),
            detail: text.into(),
            request_id: Some(text.into()),
            ..NewAuditRecord::default()
        };
        let kept = store.append(NewAuditRecord { tenant: tenant(), ..new }).await.unwrap();
        assert_eq!(kept.new.detail, readable(text));
        let read = read(&*store, Page { after: kept.seq - 1, ..ALL }).await;
        assert_eq!(read, [kept]);
        chain.check(&read[0].to_json()).unwrap();
    }
    Ok(())
}

/// A record is seen by whoever else has the data open.
pub async fn is_there_for_another_process(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let (store, again) = (roles.need_audit()?, roles.again().await?.need_audit()?);
    let first = store.append(record("a", "x")).await.unwrap();
    let second = again.append(record("b", "y")).await.unwrap();
    assert_eq!(second.before, Some(first.hash));
    assert_eq!(read(&*store, ALL).await, [first, second]);
    Ok(())
}

fn record(action: &str, subject: &str) -> NewAuditRecord {
    NewAuditRecord {
        tenant: tenant(),
        actor: "ops".into(),
        action: action.into(),
        subject: subject.into(),
        ..NewAuditRecord::default()
    }
}

async fn read(store: &dyn AuditStore, page: Page) -> Vec<AuditRecord> {
    store.read(&tenant(), &AuditFilter::default(), page).await.unwrap()
}
