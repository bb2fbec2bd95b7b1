//! What one process was granted within the last minute.

use std::collections::VecDeque;
use std::time::Duration;

use aos_core::memory::RateLimits;
use aos_core::time::Timestamp;

/// How long a grant counts.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// Grants within this time count until the last of them stops to: that bounds the log, whatever the limit.
const SLOT: Duration = Duration::from_secs(1);

/// Requests, and their tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) requests: u64,
    pub(super) tokens: u64,
}

impl Amount {
    pub(super) const fn one(tokens: u64) -> Self {
        Self { requests: 1, tokens }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    pub(super) fn min(self, other: Self) -> Self {
        self.with(other, u64::min)
    }

    /// An equal part for each of so many.
    pub(super) fn part(self, of: u64) -> Self {
        Self { requests: self.requests / of.max(1), tokens: self.tokens / of.max(1) }
    }

    pub(super) fn fits(self, most: Self) -> bool {
        self.requests <= most.requests && self.tokens <= most.tokens
    }

    fn with(self, other: Self, both: fn(u64, u64) -> u64) -> Self {
        Self { requests: both(self.requests, other.requests), tokens: both(self.tokens, other.tokens) }
    }
}

impl From<RateLimits> for Amount {
    fn from(limits: RateLimits) -> Self {
        Self { requests: limits.requests, tokens: limits.tokens }
    }
}

/// The log of a minute.
#[derive(Default)]
pub(super) struct Window {
    slots: VecDeque<Slot>,
    tickets: u64,
    last: Option<Timestamp>,
}

struct Slot {
    began: Timestamp,
    last: Timestamp,
    first_ticket: u64,
    /// Tokens of each ticket; nothing once it is settled.
    reserved: Vec<Option<u64>>,
    tokens: u64,
}

impl Slot {
    fn amount(&self) -> Amount {
        Amount { requests: self.reserved.len() as u64, tokens: self.tokens }
    }
}

impl Window {
    /// Counts a grant; gives its ticket.
    pub(super) fn grant(&mut self, now: Timestamp, tokens: u64) -> u64 {
        self.tickets += 1;
        self.last = Some(now);
        if self.slots.back().is_none_or(|slot| now.since(slot.began) >= SLOT) {
            let first_ticket = self.tickets;
            self.slots.push_back(Slot { began: now, last: now, first_ticket, reserved: Vec::new(), tokens: 0 });
        }
        if let Some(slot) = self.slots.back_mut() {
            slot.last = now;
            slot.reserved.push(Some(tokens));
            slot.tokens = slot.tokens.saturating_add(tokens);
        }
        self.tickets
    }

    /// Counts what a call did use; a ticket that is unknown, settled or older than a minute changes nothing.
    pub(super) fn settle(&mut self, ticket: u64, used: u64) {
        let after = self.slots.partition_point(|slot| slot.first_ticket <= ticket);
        let Some(slot) = after.checked_sub(1).and_then(|index| self.slots.get_mut(index)) else { return };
        let index = usize::try_from(ticket - slot.first_ticket).unwrap_or(usize::MAX);
        if let Some(reserved) = slot.reserved.get_mut(index).and_then(Option::take) {
            slot.tokens = slot.tokens.saturating_sub(reserved).saturating_add(used);
        }
    }

    /// Drops what no longer counts.
    pub(super) fn forget(&mut self, now: Timestamp) {
        while self.slots.front().is_some_and(|slot| slot.last.saturating_add(WINDOW) <= now) {
            self.slots.pop_front();
        }
    }

    /// What counts, oldest first, with the time from which it counts.
    pub(super) fn log(&self) -> impl Iterator<Item = (Timestamp, Amount)> + '_ {
        self.slots.iter().map(|slot| (slot.last, slot.amount()))
    }

    pub(super) fn sum(&self) -> Amount {
        self.log().fold(Amount::default(), |sum, (_, amount)| sum.plus(amount))
    }

    /// When `more` will fit into `most`; `None` when it does now. Once nothing counts, everything fits.
    pub(super) fn free_at(&self, more: Amount, most: Amount) -> Option<Timestamp> {
        let mut sum = self.sum();
        let mut free_at = None;
        for (from, amount) in self.log() {
            if sum.plus(more).fits(most) {
                break;
            }
            sum = sum.minus(amount);
            free_at = Some(from.saturating_add(WINDOW));
        }
        free_at
    }

    /// The time of the last grant, however long ago.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.last
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn a_grant_counts_for_a_minute_and_its_neighbours_a_second_longer() {
        let mut window = Window::default();
        for ms in [0, 400, 999, 1_000] {
            window.grant(at(ms), 10);
        }
        let log: Vec<_> = window.log().collect();
        assert_eq!(log, [(at(999), Amount { requests: 3, tokens: 30 }), (at(1_000), Amount::one(10))]);
        window.forget(at(60_998));
        assert_eq!(window.sum(), Amount { requests: 4, tokens: 40 });
        window.forget(at(60_999));
        assert_eq!(window.sum(), Amount::one(10));
        window.forget(at(61_000));
        assert!(window.is_empty() && window.last() == Some(at(1_000)));
    }

    #[test]
    fn a_ticket_is_settled_once() {
        let mut window = Window::default();
        let tickets: Vec<_> = [0, 500, 2_000].into_iter().map(|ms| window.grant(at(ms), 100)).collect();
        let tokens = |window: &Window| window.sum().tokens;
        window.settle(tickets[1], 30);
        assert_eq!(tokens(&window), 230);
        window.settle(tickets[1], 0);
        window.settle(0, 0);
        window.settle(tickets[2] + 1, 0);
        assert_eq!(tokens(&window), 230);
        window.settle(tickets[2], 500);
        assert_eq!(tokens(&window), 630);
        window.forget(at(61_000));
        window.settle(tickets[0], 0);
        assert_eq!(tokens(&window), 500);
    }

    #[test]
    fn what_fits_is_known_beforehand() {
        let mut window = Window::default();
        let most = Amount { requests: 3, tokens: 100 };
        for (ms, tokens) in [(0, 20), (10_000, 30), (20_000, 40)] {
            window.grant(at(ms), tokens);
        }
        for (more, free_at) in [(1, 60_000), (30, 60_000), (31, 70_000), (61, 80_000), (1_000, 80_000)] {
            assert_eq!(window.free_at(Amount::one(more), most), Some(at(free_at)), "{more}");
        }
        assert_eq!(window.free_at(Amount::one(10), Amount { requests: 4, tokens: 100 }), None);
        window.forget(at(80_000));
        assert_eq!(window.free_at(Amount::one(1_000), most), None);
    }
}
