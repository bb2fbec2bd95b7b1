//! The contract of [`ScheduleStore`].

use std::sync::Arc;
use std::time::Duration;

use aos_core::error::{Failure, codes};
use aos_core::id::{ScheduleId, TenantId};
use aos_core::queue::Priority;
use aos_core::schedules::{Firing, Overlap, Schedule, ScheduleStore};
use aos_core::time::Timestamp;
use serde_json::json;

use super::fixture::{LEASE, LONG, NASTY, nasty, other_tenant, payload, race, readable, run, tenant};
use super::{Backend, Capability, Outcome, Roles};

fn id(name: &str) -> ScheduleId {
    ScheduleId::new(name).expect("a valid id")
}

async fn fresh(backend: &dyn Backend) -> Result<(Roles, Arc<dyn ScheduleStore>), Capability> {
    let roles = backend.fresh().await;
    // A clock that can be turned may stand at the epoch, and any other is past it.
    roles.pass(Duration::from_secs(1)).await.ok();
    let store = roles.need_schedules()?;
    Ok((roles, store))
}

/// A time that has come for every store.
fn past(ms: u64) -> Option<Timestamp> {
    Some(Timestamp::from_millis(ms))
}

/// One that has not.
const FUTURE: Option<Timestamp> = Some(Timestamp::MAX);

fn schedule(name: &str, next_at: Option<Timestamp>) -> Schedule {
    Schedule {
        tenant: tenant(),
        id: id(name),
        workflow: "report@^1".into(),
        input: payload(json!({ "id": name })),
        priority: Priority::default(),
        cron: "0 9 * * 1-5".into(),
        time_zone: "Europe/Berlin".into(),
        overlap: Overlap::Skip,
        paused: false,
        next_at,
        last: None,
    }
}

fn firing(due: u64) -> Firing {
    Firing { due: Timestamp::from_millis(due), run: Some(run("made-by-it")), failure: None }
}

async fn get(store: &dyn ScheduleStore, name: &str) -> Schedule {
    store.get(&tenant(), &id(name)).await.unwrap().unwrap_or_else(|| panic!("schedule {name} is gone"))
}

/// What is due, held by nobody.
async fn due(store: &dyn ScheduleStore, max: usize) -> Vec<String> {
    let name = |schedule: Schedule| format!("{}/{}", schedule.tenant, schedule.id);
    store.due(max, Duration::ZERO).await.unwrap().into_iter().map(name).collect()
}

/// `get` gives what was put, texts and all; `None` for a name that is not there.
pub async fn what_was_put_is_read_back(backend: &dyn Backend) -> Outcome {
    let (_roles, store) = fresh(backend).await?;
    assert_eq!(store.get(&tenant(), &id("plain")).await.unwrap(), None);
    let plain = schedule("plain", None);
    let rich = Schedule {
        workflow: NASTY.into(),
        input: nasty(),
        priority: Priority::HIGHEST,
        cron: NASTY.into(),
        time_zone: NASTY.into(),
        overlap: Overlap::Allow,
        paused: true,
        last: Some(Firing {
            due: Timestamp::from_millis(1),
            run: Some(run("earlier")),
            failure: Some(Failure::new(codes::INVALID_INPUT, NASTY)),
        }),
        ..schedule("A-Z_0.9", FUTURE)
    };
    for given in [plain, rich] {
        store.put(&given).await.unwrap();
        let kept = get(&*store, given.id.as_str()).await;
        let same = |schedule: &Schedule| Schedule {
            workflow: readable(&schedule.workflow),
            cron: readable(&schedule.cron),
            time_zone: readable(&schedule.time_zone),
            ..schedule.clone()
        };
        assert_eq!(same(&kept), same(&given));
    }
    Ok(())
}

/// `put` replaces the schedule of its name; what became of the last time stays.
pub async fn put_replaces_all_but_what_became_of_the_last_time(backend: &dyn Backend) -> Outcome {
    let (_roles, store) = fresh(backend).await?;
    store.put(&schedule("s", past(1))).await.unwrap();
    assert!(store.advance(&schedule("s", past(1)), &firing(1), past(2)).await.unwrap());
    let other = Schedule {
        workflow: "other".into(),
        input: payload(json!(null)),
        priority: Priority::LOWEST,
        cron: "* * * * *".into(),
        time_zone: "UTC".into(),
        overlap: Overlap::Allow,
        paused: true,
        ..schedule("s", FUTURE)
    };
    store.put(&other).await.unwrap();
    assert_eq!(get(&*store, "s").await, Schedule { last: Some(firing(1)), ..other });
    store.put(&Schedule { last: Some(firing(7)), ..schedule("s", None) }).await.unwrap();
    assert_eq!(get(&*store, "s").await, Schedule { last: Some(firing(1)), ..schedule("s", None) });
    Ok(())
}

/// `list` gives every schedule, by name.
pub async fn schedules_are_listed_by_name(backend: &dyn Backend) -> Outcome {
    let (_roles, store) = fresh(backend).await?;
    assert_eq!(store.list(&tenant()).await.unwrap(), []);
    let named = ["B", "a", "a-10", "a.2", "a_1", "b"].map(|name| schedule(name, past(1)));
    for schedule in named.iter().rev() {
        store.put(schedule).await.unwrap();
    }
    assert_eq!(store.list(&tenant()).await.unwrap(), named);
    Ok(())
}

/// `remove` forgets a schedule, and says whether there was one.
pub async fn a_removed_schedule_is_gone(backend: &dyn Backend) -> Outcome {
    let (_roles, store) = fresh(backend).await?;
    for name in ["s", "other"] {
        store.put(&Schedule { last: Some(firing(1)), ..schedule(name, past(1)) }).await.unwrap();
    }
    assert!(store.remove(&tenant(), &id("s")).await.unwrap());
    assert!(!store.remove(&tenant(), &id("s")).await.unwrap());
    assert_eq!(store.get(&tenant(), &id("s")).await.unwrap(), None);
    assert_eq!(due(&*store, 10).await, ["default/other"]);
    assert!(!store.advance(&schedule("s", past(1)), &firing(1), None).await.unwrap());
    store.put(&schedule("s", None)).await.unwrap();
    assert_eq!(get(&*store, "s").await, schedule("s", None), "a new one of the name remembers nothing");
    Ok(())
}

/// `due` gives at most so many schedules of all tenants whose time has come, the longest due first; no paused one.
pub async fn due_gives_what_has_come(backend: &dyn Backend) -> Outcome {
    let (_roles, store) = fresh(backend).await?;
    assert_eq!(due(&*store, 10).await, [""; 0]);
    for given in [
        schedule("a", past(30)),
        Schedule { tenant: other_tenant(), ..schedule("b", past(20)) },
        schedule("c", past(10)),
        schedule("later", FUTURE),
        schedule("never", None),
        Schedule { paused: true, ..schedule("paused", past(5)) },
    ] {
        store.put(&given).await.unwrap();
    }
    let expected = ["default/c", "other/b", "default/a"];
    for max in [0, 1, 2, 3, usize::MAX] {
        assert_eq!(due(&*store, max).await, expected[..max.min(3)], "{max}");
    }
    assert_eq!(store.due(1, Duration::ZERO).await.unwrap(), [schedule("c", past(10))]);
    Ok(())
}

/// A schedule comes due when the store's clock, which `now` gives, reaches its time.
pub async fn a_schedule_comes_due_by_the_clock(backend: &dyn Backend) -> Outcome {
    let (roles, store) = fresh(backend).await?;
    let minute = Duration::from_secs(60);
    let begun = store.now().await.unwrap();
    store.put(&schedule("s", Some(begun.saturating_add(minute)))).await.unwrap();
    assert_eq!(due(&*store, 10).await, [""; 0]);
    roles.pass(minute).await?;
    assert!(store.now().await.unwrap() >= begun.saturating_add(minute));
    assert_eq!(due(&*store, 10).await, ["default/s"]);
    Ok(())
}

/// What `due` gave is given to nobody else until the time that was asked for has passed, or it was put or advanced.
pub async fn what_is_due_is_given_once(backend: &dyn Backend) -> Outcome {
    let (roles, store) = fresh(backend).await?;
    for name in ["a", "b", "c", "d"] {
        store.put(&schedule(name, past(1))).await.unwrap();
    }
    assert_eq!(store.due(3, LEASE).await.unwrap().len(), 3);
    assert_eq!(due(&*store, 10).await, ["default/d"]);
    assert!(store.advance(&schedule("a", past(1)), &firing(1), past(3)).await.unwrap());
    store.put(&schedule("b", past(2))).await.unwrap();
    assert_eq!(due(&*store, 10).await, ["default/d", "default/b", "default/a"]);
    roles.pass(LEASE * 2).await?;
    assert_eq!(due(&*store, 10).await, ["default/c", "default/d", "default/b", "default/a"]);
    Ok(())
}

/// Of hosts that ask at once, each gets what no other one gets, and together they get all.
pub async fn racing_hosts_share_what_is_due(backend: &dyn Backend) -> Outcome {
    let (_roles, store) = fresh(backend).await?;
    let names: Vec<String> = (0..24).map(|n| format!("s{n}")).collect();
    for name in &names {
        store.put(&schedule(name, past(1))).await.unwrap();
    }
    let given = race(backend, 8, |_| {
        let store = store.clone();
        Box::pin(async move {
            let mut mine = Vec::new();
            loop {
                let due = store.due(2, LONG).await.unwrap();
                if due.is_empty() {
                    return mine;
                }
                mine.extend(due.into_iter().map(|schedule| schedule.id.to_string()));
            }
        })
    });
    let mut given: Vec<String> = given.into_iter().flatten().collect();
    // Somebody may have been left out by those who asked at the same moment.
    given.extend(store.due(100, LONG).await.unwrap().into_iter().map(|schedule| schedule.id.to_string()));
    given.sort();
    let mut names = names;
    names.sort();
    assert_eq!(given, names);
    Ok(())
}

/// `advance` changes the next time and what became of the last, and nothing else.
pub async fn advance_moves_on_and_changes_nothing_else(backend: &dyn Backend) -> Outcome {
    let (_roles, store) = fresh(backend).await?;
    store.put(&schedule("s", past(1))).await.unwrap();
    store.put(&schedule("other", past(1))).await.unwrap();
    let failed = Firing { failure: Some(Failure::new(codes::INVALID_INPUT, NASTY)), run: None, ..firing(2) };
    for (firing, next_at) in [(firing(1), past(2)), (failed, FUTURE)] {
        assert!(store.advance(&get(&*store, "s").await, &firing, next_at).await.unwrap());
        assert_eq!(get(&*store, "s").await, Schedule { last: Some(firing), ..schedule("s", next_at) });
    }
    assert_eq!(due(&*store, 10).await, ["default/other"]);
    assert!(store.advance(&schedule("other", past(1)), &firing(1), None).await.unwrap());
    assert_eq!(get(&*store, "other").await, Schedule { last: Some(firing(1)), ..schedule("other", None) });
    Ok(())
}

/// `advance` does nothing to a schedule that is next due at another time, or by another expression or time zone.
pub async fn a_stale_advance_changes_nothing(backend: &dyn Backend) -> Outcome {
    let (_roles, store) = fresh(backend).await?;
    let kept = schedule("s", past(5));
    store.put(&kept).await.unwrap();
    for stale in [
        schedule("s", past(4)),
        schedule("s", past(6)),
        schedule("s", None),
        Schedule { cron: "0 9 * * *".into(), ..kept.clone() },
        Schedule { time_zone: "UTC".into(), ..kept.clone() },
        schedule("unknown", past(5)),
    ] {
        assert!(!store.advance(&stale, &firing(5), FUTURE).await.unwrap(), "{stale:?}");
        assert_eq!(get(&*store, "s").await, kept);
    }
    // What has nothing to do with its times may have changed, and the time that is made up for may be a later one.
    let edited = Schedule { workflow: "other".into(), input: payload(json!(1)), ..kept.clone() };
    store.put(&edited).await.unwrap();
    assert!(store.advance(&kept, &firing(7), FUTURE).await.unwrap());
    assert_eq!(get(&*store, "s").await, Schedule { next_at: FUTURE, last: Some(firing(7)), ..edited });
    Ok(())
}

/// What was begun for a schedule that was paused at the same time is kept.
pub async fn a_paused_schedule_keeps_what_was_begun(backend: &dyn Backend) -> Outcome {
    let (_roles, store) = fresh(backend).await?;
    let paused = Schedule { paused: true, ..schedule("s", past(1)) };
    store.put(&paused).await.unwrap();
    assert!(store.advance(&schedule("s", past(1)), &firing(1), past(2)).await.unwrap());
    assert_eq!(get(&*store, "s").await, Schedule { next_at: past(2), last: Some(firing(1)), ..paused });
    Ok(())
}

/// Of advances that race, one does it.
pub async fn racing_advances_win_once(backend: &dyn Backend) -> Outcome {
    let (_roles, store) = fresh(backend).await?;
    store.put(&schedule("s", past(1))).await.unwrap();
    let results = race(backend, 8, |racer| {
        let store = store.clone();
        let firing = Firing { run: Some(run(&format!("r{racer}"))), ..firing(1) };
        Box::pin(async move { store.advance(&schedule("s", past(1)), &firing, past(2)).await.unwrap() })
    });
    let winners: Vec<usize> = (0..8).filter(|racer| results[*racer]).collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    let last = get(&*store, "s").await.last.unwrap();
    assert_eq!(last.run, Some(run(&format!("r{}", winners[0]))));
    Ok(())
}

/// Nothing of one tenant is visible to, or changed by, a call for another.
pub async fn tenants_are_apart(backend: &dyn Backend) -> Outcome {
    let (_roles, store) = fresh(backend).await?;
    let (mine, other): (Schedule, TenantId) = (schedule("s", past(1)), other_tenant());
    store.put(&mine).await.unwrap();
    assert_eq!(store.get(&other, &id("s")).await.unwrap(), None);
    assert_eq!(store.list(&other).await.unwrap(), []);
    assert!(!store.remove(&other, &id("s")).await.unwrap());
    let theirs = Schedule { tenant: other.clone(), paused: true, ..schedule("s", past(1)) };
    assert!(!store.advance(&theirs, &firing(1), None).await.unwrap());
    store.put(&theirs).await.unwrap();
    assert_eq!(store.list(&tenant()).await.unwrap(), std::slice::from_ref(&mine));
    assert!(store.advance(&theirs, &firing(1), None).await.unwrap());
    assert!(store.remove(&other, &id("s")).await.unwrap());
    assert_eq!(get(&*store, "s").await, mine);
    Ok(())
}

/// A schedule is durable when `put` resolves, and there for whoever else has the data open.
pub async fn is_there_for_another_process(backend: &dyn Backend) -> Outcome {
    let (roles, store) = fresh(backend).await?;
    let again = roles.again().await?;
    let again = again.need_schedules()?;
    store.put(&schedule("s", past(1))).await.unwrap();
    assert_eq!(get(&*again, "s").await, schedule("s", past(1)));
    assert_eq!(due(&*again, 10).await, ["default/s"]);
    assert!(again.advance(&schedule("s", past(1)), &firing(1), past(2)).await.unwrap());
    assert!(!store.advance(&schedule("s", past(1)), &firing(1), past(2)).await.unwrap());
    Ok(())
}
