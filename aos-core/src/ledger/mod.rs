//! The contract of a store that keeps the account of model calls: one record per call of a provider, and the budgets that
//! calls are held to.
//!
//! A call is reserved before it is made, at the most that it can cost, and settled after it. What is not known is kept as
//! a range, never as nothing: a call whose outcome nobody knows may have cost anything up to what was reserved, and keeps
//! counting at that.

mod budget;
mod call;
mod cost;

pub use budget::{BudgetUse, Period, Reserved, Scope, ScopeError};
pub use call::{CallRecord, CallState, NewCall, Settlement};
pub use cost::{CostBy, CostLine, CostQuery};

use crate::BoxFuture;
use crate::id::{CallId, RunId, TenantId};
use crate::money::Money;
use crate::runs::StoreError;

/// The most that a ledger keeps as one amount: about 9.2 million dollars. More is kept as this.
pub const MOST: Money = Money::from_picodollars(i64::MAX as u64);

/// Keeps the account.
///
/// # Contract
/// - `reserve` writes an open record, durable when it resolves with [`Reserved::Booked`], if every budget whose scope the
///   call is in has room for its bound; of those that have none it gives the first by scope and period, and then it has
///   written nothing. However many processes reserve at the same time, what is reserved and spent under a budget never
///   passes its limit by a reservation.
/// - Reserving the same call again changes nothing and is `Booked`: whoever is in doubt may ask again.
/// - `settle` puts what is known in place of what was reserved, durable when it resolves. It changes open records, and
///   those whose outcome was unknown: what is learned late counts. Of others, and of calls that were never reserved, it
///   changes nothing and is `Ok`.
/// - A call counts in budgets at the most that it can have cost ([`CallRecord::counts`]), on the day on which it was
///   reserved, open or not.
/// - `sweep` judges at most `max` records unknown that have been open for longer than their patience, of any tenant; they
///   keep counting at their bound. It gives how many they were.
/// - `set_budget` sets, changes or lifts a limit and says whether there was one. Calls of the period that were made before
///   count as well. A limit below what is spent refuses all that costs anything.
/// - `costs` gives the dearest line first, by what it cost at most, then by key; by days, the first day first.
/// - `calls` gives the newest first.
/// - All times are the store's clock's. Texts come back as they were given, but U+0000 in one may come back as U+FFFD.
///   Amounts beyond [`MOST`] come back as that, and so do sums; counts of tokens beyond 2^53 - 1 may come back as that.
/// - Nothing of one tenant is visible to, or changed by, a call for another; `sweep` is for hosts, which work for all.
pub trait LedgerStore: Send + Sync {
    /// Writes down a call that is about to be made, if budgets allow it.
    fn reserve<'a>(&'a self, call: &'a NewCall) -> BoxFuture<'a, Result<Reserved, StoreError>>;

    /// Says how a call ended.
    fn settle<'a>(
        &'a self,
        tenant: &'a TenantId,
        call: &'a CallId,
        settlement: &'a Settlement,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Judges what a dead process has left open; gives how many records those were.
    fn sweep(&self, max: usize) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Sets a budget; `None` lifts it. Says whether there was one.
    fn set_budget<'a>(
        &'a self,
        tenant: &'a TenantId,
        scope: &'a Scope,
        period: Period,
        limit: Option<Money>,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// The budgets that are set, by scope and period as text, with what is used of them.
    fn budgets<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<BudgetUse>, StoreError>>;

    /// Sums up.
    fn costs<'a>(&'a self, query: &'a CostQuery) -> BoxFuture<'a, Result<Vec<CostLine>, StoreError>>;

    /// The last `limit` calls, of one run or of all.
    fn calls<'a>(
        &'a self,
        tenant: &'a TenantId,
        run: Option<&'a RunId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<CallRecord>, StoreError>>;
}
