//! The contract of a store that keeps schedules: runs that begin by the calendar.
//!
//! The store keeps texts and times and knows nothing of calendars: the host computes when a schedule is due next. A due
//! time makes one run, however many hosts act on it, because the run's id is [`Schedule::run_id`] and its idempotency key
//! [`Schedule::key`].

use std::time::Duration;

use crate::BoxFuture;
use crate::error::Failure;
use crate::id::{IdError, RunId, ScheduleId, TenantId};
use crate::payload::Payload;
use crate::queue::Priority;
use crate::runs::StoreError;
use crate::time::Timestamp;

/// What to do when a time comes while the run of an earlier one has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Leave the time out.
    #[default]
    Skip,
    /// Begin another run beside it.
    Allow,
}

impl Overlap {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Skip, Self::Allow];

    /// The choice as wire text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Allow => "allow",
        }
    }

    /// The choice of a wire text.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|overlap| overlap.as_str() == text)
    }
}

/// Runs of one workflow that begin by the calendar.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Its owner.
    pub tenant: TenantId,
    /// Its name.
    pub id: ScheduleId,
    /// Which workflow: `id`, `id@1.2.3` or `id@^1`, resolved each time.
    pub workflow: String,
    /// The input of every run.
    pub input: Payload,
    /// How urgent the runs are.
    pub priority: Priority,
    /// When: a cron expression, as the host reads it.
    pub cron: String,
    /// In which time zone, an IANA name.
    pub time_zone: String,
    /// What to do when a time comes too early.
    pub overlap: Overlap,
    /// Whether it begins nothing at present.
    pub paused: bool,
    /// When it is due next; `None` when it never is.
    pub next_at: Option<Timestamp>,
    /// What became of the last time it was due.
    pub last: Option<Firing>,
}

impl Schedule {
    /// The idempotency key of the run for a due time.
    pub fn key(&self, due: Timestamp) -> String {
        format!("schedule:{}:{}", self.id, due.as_millis())
    }

    /// The id of the run for a due time: `nightly.1763928900000`.
    ///
    /// # Errors
    /// None for any schedule: its id and a number make a valid one.
    pub fn run_id(&self, due: Timestamp) -> Result<RunId, IdError> {
        RunId::new(format!("{}.{}", self.id, due.as_millis()))
    }
}

/// What became of one time at which a schedule was due.
#[derive(Clone, Debug, PartialEq)]
pub struct Firing {
    /// The time.
    pub due: Timestamp,
    /// The run that it made; of a time that was left out, the earlier run that had not ended.
    pub run: Option<RunId>,
    /// Why it made none.
    pub failure: Option<Failure>,
}

/// Keeps schedules.
///
/// # Contract
/// - `put` adds a schedule or replaces the one of its name, and is durable when it resolves with `Ok`. What became of the
///   [`last`](Schedule::last) time stays with the one that is replaced.
/// - `now` is the store's clock, by which `due` judges. Hosts compute with it too, so that one whose own clock is wrong
///   neither fires early nor leaves a time out.
/// - `due` gives schedules that are not paused and whose [`next_at`](Schedule::next_at) has come, of any tenant, the
///   longest due first. What it gives it gives to nobody else until `hold` has passed, or the schedule was put or
///   advanced: several hosts share the work, and one that dies with it is replaced.
/// - `advance` changes [`next_at`](Schedule::next_at) and [`last`](Schedule::last), and nothing else, if the schedule
///   still has the [`next_at`](Schedule::next_at), the expression and the time zone of the one at hand; says whether it
///   has. Of several that race, one does it. A pause in between does not matter: what was begun is kept.
/// - Texts come back as they were given, but U+0000 in one may come back as U+FFFD.
/// - Nothing of one tenant is visible to, or changed by, a call for another; `due` and `advance` are for hosts, which
///   work for all.
pub trait ScheduleStore: Send + Sync {
    /// Keeps a schedule.
    fn put<'a>(&'a self, schedule: &'a Schedule) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The schedule of this name.
    fn get<'a>(
        &'a self,
        tenant: &'a TenantId,
        id: &'a ScheduleId,
    ) -> BoxFuture<'a, Result<Option<Schedule>, StoreError>>;

    /// Every schedule of a tenant, by name.
    fn list<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<Schedule>, StoreError>>;

    /// Forgets a schedule; says whether there was one.
    fn remove<'a>(&'a self, tenant: &'a TenantId, id: &'a ScheduleId) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// The store's clock.
    fn now(&self) -> BoxFuture<'_, Result<Timestamp, StoreError>>;

    /// At most `max` schedules that are due, for this caller alone until `hold` has passed.
    fn due(&self, max: usize, hold: Duration) -> BoxFuture<'_, Result<Vec<Schedule>, StoreError>>;

    /// Says what became of a due time, and when the next one is; `schedule` as `due` gave it.
    fn advance<'a>(
        &'a self,
        schedule: &'a Schedule,
        firing: &'a Firing,
        next_at: Option<Timestamp>,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_due_time_names_its_run() {
        let schedule = Schedule {
            tenant: TenantId::default(),
            id: ScheduleId::new("a.b-c_D".repeat(9)).unwrap(),
            workflow: "report".into(),
            input: Payload::null(),
            priority: Priority::default(),
            cron: "@daily".into(),
            time_zone: "UTC".into(),
            overlap: Overlap::default(),
            paused: false,
            next_at: None,
            last: None,
        };
        for due in [Timestamp::EPOCH, Timestamp::MAX] {
            let run = schedule.run_id(due).unwrap();
            assert_eq!(run.as_str(), format!("{}.{}", schedule.id, due.as_millis()));
            assert!(schedule.key(due).len() <= 255, "as long as any key may be");
        }
    }
}
