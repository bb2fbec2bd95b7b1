//! Conformance suites: one per contract of the core, each clause a test of one sentence of the contract.
//!
//! Whoever writes a backend implements [`Backend`] and names the suites that concern it:
//!
//! ```
//! use std::sync::Arc;
//! use aos_core::memory::{MemoryBlobs, MemoryCache, MemoryStore, VirtualClock};
//! use aos_testkit::conformance::{Backend, Roles, BoxFuture};
//!
//! struct Memory;
//!
//! impl Backend for Memory {
//!     fn block_on(&self, clause: BoxFuture<'_, ()>) {
//!         pollster::block_on(clause);
//!     }
//!
//!     fn fresh(&self) -> BoxFuture<'_, Roles> {
//!         Box::pin(async {
//!             let clock = VirtualClock::default();
//!             let store = MemoryStore::new(Arc::new(clock.clone()));
//!             Roles { blobs: Some(store.blobs()), ..Roles::default() }.with_runs(Arc::new(store)).with_clock(clock)
//!         })
//!     }
//! }
//!
//! aos_testkit::conformance_tests!(blob, Memory);
//! aos_testkit::conformance_tests!(runs, Memory);
//! # fn main() {}
//! ```
//!
//! A clause that needs what the backend does not declare prints `skipped: needs <capability>` and passes; nothing
//! is skipped in silence.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the clauses are tests: a broken contract panics"
)]

pub mod audit;
pub mod blob;
pub mod cache;
mod fixture;
pub mod journal;
pub mod keys;
pub mod ledger;
pub mod limiter;
pub mod registry;
pub mod runs;
pub mod schedules;
pub mod slots;
pub mod switches;
#[cfg(test)]
mod tests;
pub mod workers;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aos_core::audit::AuditStore;
use aos_core::blob::BlobStore;
use aos_core::cache::Cache;
use aos_core::journal::JournalStore;
use aos_core::keys::KeyStore;
use aos_core::ledger::LedgerStore;
use aos_core::limiter::Limiter;
use aos_core::memory::VirtualClock;
use aos_core::registry::RegistryStore;
use aos_core::runs::RunStore;
use aos_core::schedules::ScheduleStore;
use aos_core::slots::SlotStore;
use aos_core::switches::SwitchStore;
use aos_core::workers::WorkerStore;

pub use aos_core::BoxFuture;

/// A backend under test.
pub trait Backend: Sync {
    /// Runs a clause to its end, on whatever runtime the backend needs. Called from several threads at once by the
    /// clauses that race.
    fn block_on(&self, clause: BoxFuture<'_, ()>);

    /// An empty store that shares nothing with earlier ones.
    fn fresh(&self) -> BoxFuture<'_, Roles>;
}

/// Lets time pass for a store.
pub type Advance = Box<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// Opens the same data once more, as another process would.
pub type OpenAgain = Box<dyn Fn() -> BoxFuture<'static, Roles> + Send + Sync>;

/// What a fresh store can do. What is `None` is a missing [`Capability`].
#[derive(Default)]
pub struct Roles {
    /// Runs, leases and inboxes.
    pub runs: Option<Arc<dyn RunStore>>,
    /// Journals of the same runs.
    pub journal: Option<Arc<dyn JournalStore>>,
    /// Blobs, those of appends included.
    pub blobs: Option<Arc<dyn BlobStore>>,
    /// A cache.
    pub cache: Option<Arc<dyn Cache>>,
    /// A limiter.
    pub limiter: Option<Arc<dyn Limiter>>,
    /// Registries.
    pub registry: Option<Arc<dyn RegistryStore>>,
    /// Which workers there are.
    pub workers: Option<Arc<dyn WorkerStore>>,
    /// Slots of skills with a limit.
    pub slots: Option<Arc<dyn SlotStore>>,
    /// Schedules.
    pub schedules: Option<Arc<dyn ScheduleStore>>,
    /// Operators' switches.
    pub switches: Option<Arc<dyn SwitchStore>>,
    /// The account of model calls.
    pub ledger: Option<Arc<dyn LedgerStore>>,
    /// API keys.
    pub keys: Option<Arc<dyn KeyStore>>,
    /// Audit logs.
    pub audit: Option<Arc<dyn AuditStore>>,
    /// Control over the clock of all of these.
    pub advance: Option<Advance>,
    /// A way to open the same data once more while it is open.
    pub open_again: Option<OpenAgain>,
    /// Whatever has to live as long as the store, such as its directory.
    pub guard: Option<Box<dyn Any + Send + Sync>>,
}

impl Roles {
    /// Uses `store` for runs and journals.
    #[must_use]
    pub fn with_runs<S: RunStore + JournalStore + 'static>(mut self, store: Arc<S>) -> Self {
        self.runs = Some(Arc::clone(&store) as _);
        self.journal = Some(store);
        self
    }

    /// Says that the store goes by `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: VirtualClock) -> Self {
        self.advance = Some(Box::new(move |duration| {
            clock.advance(duration);
            Box::pin(std::future::ready(()))
        }));
        self
    }
}

/// What a clause may need of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// [`Roles::runs`].
    Runs,
    /// [`Roles::journal`].
    Journal,
    /// [`Roles::blobs`].
    Blobs,
    /// [`Roles::cache`].
    Cache,
    /// [`Roles::limiter`].
    Limiter,
    /// [`Roles::registry`].
    Registry,
    /// [`Roles::workers`].
    Workers,
    /// [`Roles::slots`].
    Slots,
    /// [`Roles::schedules`].
    Schedules,
    /// [`Roles::switches`].
    Switches,
    /// [`Roles::ledger`].
    Ledger,
    /// [`Roles::keys`].
    Keys,
    /// [`Roles::audit`].
    Audit,
    /// [`Roles::advance`].
    ClockControl,
    /// [`Roles::open_again`].
    OpenAgain,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Runs => "runs",
            Self::Journal => "a journal",
            Self::Blobs => "blobs",
            Self::Cache => "a cache",
            Self::Limiter => "a limiter",
            Self::Registry => "a registry store",
            Self::Workers => "a list of workers",
            Self::Slots => "slots",
            Self::Schedules => "schedules",
            Self::Switches => "switches",
            Self::Ledger => "a ledger",
            Self::Keys => "API keys",
            Self::Audit => "an audit log",
            Self::ClockControl => "control over the clock",
            Self::OpenAgain => "data that can be opened twice",
        })
    }
}

/// What a clause came to: `Err` names the capability for want of which it was skipped. A broken contract panics.
pub type Outcome = Result<(), Capability>;

/// Runs one clause; says so when it is skipped. For [`conformance_tests!`](crate::conformance_tests).
pub fn run<B, C>(backend: &B, name: &str, clause: C)
where
    B: Backend,
    C: for<'a> FnOnce(&'a dyn Backend) -> BoxFuture<'a, Outcome> + Send,
{
    backend.block_on(Box::pin(async move {
        if let Err(capability) = clause(backend).await {
            println!("{name}: skipped: needs {capability}");
        }
    }));
}

/// Emits one `#[test]` per clause of a suite, in a module of the suite's name:
/// `conformance_tests!(journal, MyBackend)`. The second argument is an expression that gives a [`Backend`].
#[macro_export]
macro_rules! conformance_tests {
    (audit, $backend:expr) => {
        $crate::conformance_tests! { @suite audit, $backend,
            what_was_appended_is_read_back
            times_are_of_the_stores_clock
            reads_pages
            filters_let_through_what_fits
            racing_appends_are_one_chain
            checkpoints_are_kept
            tenants_are_apart
            texts_come_back
            is_there_for_another_process
        }
    };
    (blob, $backend:expr) => {
        $crate::conformance_tests! { @suite blob, $backend,
            gives_back_what_was_put
            same_bytes_again_change_nothing
            unknown_hashes_give_nothing
            large_blobs
            is_there_for_another_process
        }
    };
    (cache, $backend:expr) => {
        $crate::conformance_tests! { @suite cache, $backend,
            gives_back_what_was_put
            the_last_put_wins
            forgets_after_the_time_to_live
            tenants_are_apart
            takes_any_key_and_value
        }
    };
    (limiter, $backend:expr) => {
        $crate::conformance_tests! { @suite limiter, $backend,
            no_minute_has_more_requests
            no_minute_has_more_tokens
            no_minute_has_more_of_one_kind
            waiting_as_told_is_enough
            settling_frees_what_was_not_used
            settling_counts_what_was_used_beyond
            a_ticket_is_settled_once
            what_was_never_sent_does_not_count
            too_large_a_request_passes_alone
            limits_are_apart
            racing_callers_get_no_more
        }
    };
    (journal, $backend:expr) => {
        $crate::conformance_tests! { @suite journal, $backend,
            lines_come_back_byte_for_byte
            reads_pages
            an_unknown_run_is_not_found
            a_stale_epoch_is_fenced
            another_worker_is_fenced
            a_released_lease_is_fenced
            a_parked_lease_is_fenced
            a_finished_lease_is_fenced
            an_expired_lease_that_nobody_claimed_is_current
            a_wrong_index_changes_nothing
            an_index_is_taken_once
            finish_is_atomic
            failures_and_costs_are_kept
            a_buried_run_is_dead
            park_is_atomic
            an_empty_append_with_a_transition
            an_empty_append_at_a_wrong_index
            blobs_are_there_with_the_lines
            runs_do_not_disturb_each_other
            a_dropped_append_is_whole_or_nothing
            tenants_are_apart
            is_there_for_another_process
        }
    };
    (keys, $backend:expr) => {
        $crate::conformance_tests! { @suite keys, $backend,
            what_was_made_is_read_back
            a_name_is_taken_once
            only_the_first_key_is_the_first
            racing_first_keys_are_one
            a_revoked_key_stays_revoked
            uses_only_go_forward
            tenants_are_apart
            texts_come_back
            is_there_for_another_process
        }
    };
    (ledger, $backend:expr) => {
        $crate::conformance_tests! { @suite ledger, $backend,
            what_was_reserved_is_read_back
            a_settlement_says_what_is_known
            only_what_is_uncertain_is_settled
            reserving_again_changes_nothing
            a_cached_answer_costs_nothing
            a_budget_refuses_what_has_no_room
            a_call_without_a_price_has_no_room
            budgets_count_what_is_in_their_scope
            a_budget_counts_what_was_before_it
            a_daily_budget_begins_anew
            a_sweep_judges_what_was_left_open
            racing_reservations_keep_a_budget
            a_budget_set_amid_calls_counts_them_all
            costs_are_summed_up
            costs_are_filtered
            sums_saturate
            tenants_are_apart
            is_there_for_another_process
        }
    };
    (registry, $backend:expr) => {
        $crate::conformance_tests! { @suite registry, $backend,
            an_unknown_registry_is_empty
            what_was_saved_is_loaded
            a_stale_save_changes_nothing
            racing_saves_win_once
            changed_resolves_after_a_save
            audit_is_newest_first
            snapshots_are_kept_once
            tenants_are_apart
            is_there_for_another_process
        }
    };
    (runs, $backend:expr) => {
        $crate::conformance_tests! { @suite runs, $backend,
            what_was_created_is_read_back
            creating_the_same_again_gives_the_first
            creating_another_under_the_same_name_is_refused
            racing_creations_make_one_run
            creating_with_a_claim_leases
            creating_with_entries_begins_the_journal
            creating_without_a_lease_begins_nothing
            a_dropped_create_is_whole_or_nothing
            a_key_gives_its_run
            tenants_are_apart
            oldest_is_claimed_first
            racing_claims_give_each_run_once
            epochs_rise
            an_expired_lease_is_rescued_and_counted
            a_run_that_gets_further_is_rescued_from_one_again
            a_rescued_run_leaves_the_zombie_fenced
            a_heartbeat_prolongs
            a_heartbeat_tells_what_is_lost
            a_released_run_is_queued
            releasing_a_stale_lease_is_harmless
            a_parked_run_wakes_by_time
            a_finished_run_is_never_claimed
            a_parked_run_wakes_by_message
            a_message_that_came_before_parking_wakes
            inbox_numbers_have_no_gaps
            racing_messages_get_their_own_numbers
            messages_come_back_as_sent
            a_message_to_an_ended_run_is_refused
            a_message_to_an_unknown_run_is_refused
            changed_resolves_for_a_message
            changed_resolves_for_the_end
            changed_resolves_for_what_was_there_before
            changed_hears_another_process
            pages_are_stable_under_inserts
            lists_filter
            lists_filter_by_end
            counting_stops
            lists_filter_by_age
            an_unknown_cursor_is_refused
            stats_count
            the_most_urgent_is_claimed_first
            a_delayed_run_starts_at_its_time
            a_limit_holds_runs_back
            a_fork_is_leased_to_get_its_past
            a_limit_counts_live_leases_only
            racing_claims_keep_a_limit
            a_paused_run_is_left_alone
            a_held_run_is_paused_when_it_is_let_go
            a_paused_run_can_be_cancelled
            a_dead_run_can_be_revived
            a_dead_run_can_be_discarded
            ended_runs_are_purged
            a_child_is_kept_for_its_parent
        }
    };
    (schedules, $backend:expr) => {
        $crate::conformance_tests! { @suite schedules, $backend,
            what_was_put_is_read_back
            put_replaces_all_but_what_became_of_the_last_time
            schedules_are_listed_by_name
            a_removed_schedule_is_gone
            due_gives_what_has_come
            a_schedule_comes_due_by_the_clock
            what_is_due_is_given_once
            racing_hosts_share_what_is_due
            advance_moves_on_and_changes_nothing_else
            a_stale_advance_changes_nothing
            a_paused_schedule_keeps_what_was_begun
            racing_advances_win_once
            tenants_are_apart
            is_there_for_another_process
        }
    };
    (slots, $backend:expr) => {
        $crate::conformance_tests! { @suite slots, $backend,
            a_skill_without_a_limit_is_unlimited
            limits_are_listed_by_skill
            no_more_slots_than_the_limit
            a_released_slot_makes_room
            a_slot_lapses
            a_renewed_slot_stays_live
            a_lapsed_slot_does_not_come_back
            a_lowered_limit_takes_nothing_away
            racing_callers_get_no_more
            racing_callers_of_another_process_get_no_more
            tenants_are_apart
            is_there_for_another_process
        }
    };
    (switches, $backend:expr) => {
        $crate::conformance_tests! { @suite switches, $backend,
            a_switch_that_was_never_turned_is_not_there
            a_turn_is_seen
            a_turn_may_last_for_a_while
            the_last_turn_counts
            history_is_newest_first
            racing_turns_are_all_kept
            texts_come_back
            is_there_for_another_process
        }
    };
    (workers, $backend:expr) => {
        $crate::conformance_tests! { @suite workers, $backend,
            what_was_reported_is_listed
            a_report_replaces_the_one_before
            a_silent_worker_is_not_alive
            a_worker_that_left_is_forgotten
            workers_are_listed_by_name
            racing_reports_make_one_worker
            is_there_for_another_process
        }
    };
    (@suite $suite:ident, $backend:expr, $($clause:ident)*) => {
        mod $suite {
            #[allow(unused_imports, reason = "the backend's expression may not name anything")]
            use super::*;

            $(
                #[test]
                fn $clause() {
                    let clause = concat!(stringify!($suite), "::", stringify!($clause));
                    $crate::conformance::run(&$backend, clause, |b| {
                        ::std::boxed::Box::pin($crate::conformance::$suite::$clause(b))
                    });
                }
            )*
        }
    };
}
