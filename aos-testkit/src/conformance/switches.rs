//! The contract of [`SwitchStore`](aos_core::switches::SwitchStore).

use std::time::Duration;

use aos_core::switches::{Switch, SwitchChange};

use super::fixture::{NASTY, race, readable};
use super::{Backend, Outcome};

/// A switch that was never turned is off: nothing is said of it.
pub async fn a_switch_that_was_never_turned_is_not_there(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_switches()?;
    assert_eq!(store.load().await.unwrap(), []);
    assert_eq!(store.history(10).await.unwrap(), []);
    let turned = store.turn(Switch::PauseClaims, true, "ops", "maintenance", None).await.unwrap();
    assert_eq!(store.load().await.unwrap(), [turned], "the others still are not");
    Ok(())
}

/// `turn` gives the change with its time, and every later `load` has it.
pub async fn a_turn_is_seen(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_switches()?;
    let first = store.turn(Switch::ForceStubAdapter, true, "ops", "an outage", None).await.unwrap();
    let expected = SwitchChange {
        switch: Switch::ForceStubAdapter,
        on: true,
        by: "ops".into(),
        reason: "an outage".into(),
        at: first.at,
        until: None,
    };
    assert_eq!(first, expected);
    roles.pass(Duration::from_secs(5)).await?;
    let second = store.turn(Switch::ForceStubAdapter, false, "ops", "", None).await.unwrap();
    assert!(second.at >= first.at.saturating_add(Duration::from_secs(5)), "{first:?} {second:?}");
    assert_eq!(store.load().await.unwrap(), [second]);
    Ok(())
}

/// A change tells when it goes off by itself, and is told of after that as well.
pub async fn a_turn_may_last_for_a_while(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_switches()?;
    let lasts = Duration::from_secs(60);
    let turned = store.turn(Switch::DebugLogging, true, "ops", "a look", Some(lasts)).await.unwrap();
    assert_eq!(turned.until, Some(turned.at.saturating_add(lasts)));
    assert_eq!(store.load().await.unwrap(), std::slice::from_ref(&turned));
    roles.pass(lasts).await?;
    assert_eq!(store.load().await.unwrap(), std::slice::from_ref(&turned));
    assert_eq!(store.history(1).await.unwrap(), std::slice::from_ref(&turned));
    assert!(turned.is_on(turned.at) && !turned.is_on(turned.at.saturating_add(lasts)));
    Ok(())
}

/// `load` gives the last change of each switch, in the order of all switches.
pub async fn the_last_turn_counts(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_switches()?;
    let mut last = Vec::new();
    for on in [true, false] {
        last.clear();
        for switch in Switch::ALL.into_iter().rev() {
            store.turn(switch, !on, "ops", "a mistake", None).await.unwrap();
            last.push(store.turn(switch, on, "ops", "as it should be", None).await.unwrap());
        }
    }
    last.reverse();
    assert_eq!(store.load().await.unwrap(), last);
    Ok(())
}

/// `history` gives changes of every switch, newest first.
pub async fn history_is_newest_first(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_switches()?;
    let mut changes = Vec::new();
    for (switch, on) in [
        (Switch::PauseClaims, true),
        (Switch::DisableLiveAdapters, true),
        (Switch::PauseClaims, true),
        (Switch::PauseClaims, false),
    ] {
        changes.push(store.turn(switch, on, "ops", "now", None).await.unwrap());
    }
    changes.reverse();
    for limit in [0, 1, 3, 4, 5, usize::MAX] {
        assert_eq!(store.history(limit).await.unwrap(), changes[..limit.min(4)], "{limit}");
    }
    Ok(())
}

/// Of turns that race, all are kept, and one is the last, for everybody the same.
pub async fn racing_turns_are_all_kept(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_switches()?;
    let results = race(backend, 8, |racer| {
        let store = store.clone();
        Box::pin(
            async move { store.turn(Switch::PauseClaims, racer % 2 == 0, &format!("ops-{racer}"), "", None).await },
        )
    });
    let mut turned: Vec<SwitchChange> = results.into_iter().collect::<Result<_, _>>().unwrap();
    let mut history = store.history(usize::MAX).await.unwrap();
    assert_eq!(store.load().await.unwrap(), history[..1]);
    let by = |change: &SwitchChange| change.by.clone();
    history.sort_by_key(by);
    turned.sort_by_key(by);
    assert_eq!(history, turned);
    Ok(())
}

/// Texts come back as they were given, but for U+0000.
pub async fn texts_come_back(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let store = roles.need_switches()?;
    let long = "ö".repeat(10_000);
    for text in [NASTY, "", &long] {
        let turned = store.turn(Switch::PauseClaims, true, text, text, None).await.unwrap();
        assert_eq!((readable(&turned.by), readable(&turned.reason)), (readable(text), readable(text)));
        assert_eq!(store.load().await.unwrap(), std::slice::from_ref(&turned));
        assert_eq!(store.history(1).await.unwrap(), [turned]);
    }
    Ok(())
}

/// A turn is seen by whoever else has the data open.
pub async fn is_there_for_another_process(backend: &dyn Backend) -> Outcome {
    let roles = backend.fresh().await;
    let (store, again) = (roles.need_switches()?, roles.again().await?);
    let again = again.need_switches()?;
    let on = store.turn(Switch::DisableLiveAdapters, true, "ops", "a bill", None).await.unwrap();
    assert_eq!(again.load().await.unwrap(), std::slice::from_ref(&on));
    let off = again.turn(Switch::DisableLiveAdapters, false, "dev", "paid", None).await.unwrap();
    assert_eq!(store.history(10).await.unwrap(), [off, on]);
    Ok(())
}
