//! How the backends sum up costs: what their SQL has in common.

use aos_core::ledger::{CostBy, MOST};
use aos_core::money::Money;

/// A dollar in picodollars. Amounts are added up in dollars and rest, so that no sum leaves 64 bits.
pub(super) const DOLLAR: i64 = 1_000_000_000_000;

/// What calls have in common, as a column of the ledger. Days are their numbers.
pub(super) const fn key(by: CostBy) -> &'static str {
    match by {
        CostBy::Model => "coalesce(answered, model)",
        CostBy::Workflow => "workflow",
        CostBy::Day => "CAST(at / 86400000 AS text)",
        CostBy::Run => "run",
        CostBy::Effect => "effect",
        CostBy::Attempt => "effect || '#' || attempt",
        CostBy::Adapter => "adapter",
        CostBy::Key => "api_key",
    }
}

/// So many dollars and picodollars, at most [`MOST`].
pub(super) fn amount(dollars: i64, picodollars: i64) -> Money {
    let sum = i128::from(dollars) * i128::from(DOLLAR) + i128::from(picodollars);
    Money::from_picodollars(u64::try_from(sum.max(0)).unwrap_or(u64::MAX)).min(MOST)
}

/// An amount as the tables keep it: [`MOST`] is the largest.
pub(super) fn picodollars(money: Money) -> i64 {
    money.min(MOST).picodollars() as i64
}

/// An amount that the tables hold.
pub(super) fn money(picodollars: i64) -> Money {
    Money::from_picodollars(picodollars.max(0) as u64)
}

/// A number of tokens as the tables keep it: a thousand of the largest still have a sum.
pub(super) fn tokens(tokens: u64) -> i64 {
    tokens.min(aos_core::canonical::MAX_SAFE_INTEGER) as i64
}
