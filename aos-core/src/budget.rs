//! A run's budget: reserved before an effect, settled after it.

use crate::error::{Failure, codes};
use crate::money::Money;

/// What a run may spend, has spent and has promised to effects in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    limit: Option<Money>,
    spent: Money,
    reserved: Money,
}

impl Budget {
    /// A budget with an upper limit, or none.
    pub const fn new(limit: Option<Money>) -> Self {
        Self { limit, spent: Money::ZERO, reserved: Money::ZERO }
    }

    /// What has been spent.
    pub const fn spent(&self) -> Money {
        self.spent
    }

    /// What is left for new effects; `None` without a limit.
    pub fn left(&self) -> Option<Money> {
        self.limit.map(|limit| limit.saturating_sub(self.spent).saturating_sub(self.reserved))
    }

    /// Reserves the declared upper bound of an effect.
    ///
    /// # Errors
    /// [`codes::BUDGET_EXCEEDED`] when it does not fit, or when a limit is already used up; nothing is reserved then.
    pub fn reserve(&mut self, estimate: Money) -> Result<(), Failure> {
        if let (Some(limit), Some(left)) = (self.limit, self.left())
            && (estimate > left || (self.spent > limit))
        {
            return Err(Failure::new(
                codes::BUDGET_EXCEEDED,
                format!(
                    "the next effect may cost up to ${estimate}, and ${left} of the run's ${limit} are left (${} spent, ${} reserved)",
                    self.spent, self.reserved
                ),
            ));
        }
        self.reserved = self.reserved.saturating_add(estimate);
        Ok(())
    }

    /// Books what an attempt cost while its effect goes on.
    pub const fn spend(&mut self, cost: Money) {
        self.spent = self.spent.saturating_add(cost);
    }

    /// Gives a reservation back once its effect has ended.
    pub const fn release(&mut self, estimate: Money) {
        self.reserved = self.reserved.saturating_sub(estimate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserves_spends_and_releases() {
        let mut budget = Budget::new(Some(Money::from_cents(10)));
        budget.reserve(Money::from_cents(6)).unwrap();
        assert_eq!(budget.reserve(Money::from_cents(6)).unwrap_err().code, codes::BUDGET_EXCEEDED);
        budget.spend(Money::from_cents(2));
        budget.release(Money::from_cents(6));
        assert_eq!(budget.left(), Some(Money::from_cents(8)));
        budget.reserve(Money::from_cents(8)).unwrap();
    }

    #[test]
    fn no_limit_never_refuses() {
        let mut budget = Budget::new(None);
        budget.reserve(Money::MAX).unwrap();
        budget.reserve(Money::MAX).unwrap();
        assert_eq!(budget.left(), None);
    }
}
