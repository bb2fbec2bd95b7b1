//! What was granted within the last minute.

use std::collections::VecDeque;
use std::time::Duration;

use super::amount::Amount;
use crate::time::Timestamp;

/// How long a grant counts.
pub const WINDOW: Duration = Duration::from_secs(60);

/// The log of a minute: a pure value, for implementations of [`Limiter`](super::Limiter).
///
/// The window slides: a grant counts for the minute after it, so that no minute, wherever it begins, sees more than
/// what fits.
#[derive(Clone, Debug)]
pub struct Window {
    slot: Duration,
    slots: VecDeque<Slot>,
    sum: Amount,
    tickets: u64,
    last: Option<Timestamp>,
}

/// Grants that stop to count together.
#[derive(Clone, Debug)]
struct Slot {
    began: Timestamp,
    last: Timestamp,
    amount: Amount,
    first_ticket: u64,
    /// Of each ticket, whether it is settled.
    settled: Vec<bool>,
}

impl Window {
    /// An empty log. Grants within `slot` count until the last of them stops to: that bounds the log, whatever the limit.
    pub const fn new(slot: Duration) -> Self {
        Self { slot, slots: VecDeque::new(), sum: Amount::NONE, tickets: 0, last: None }
    }

    /// Counts a grant; gives its ticket.
    pub fn grant(&mut self, now: Timestamp, amount: Amount) -> u64 {
        self.tickets += 1;
        // Of two callers the one that looked at the clock first may come second.
        let now = self.last.map_or(now, |last| last.max(now));
        self.last = Some(now);
        if self.slots.back().is_none_or(|slot| now.since(slot.began) >= self.slot) {
            let first_ticket = self.tickets;
            let slot = Slot { began: now, last: now, amount: Amount::NONE, first_ticket, settled: Vec::new() };
            self.slots.push_back(slot);
        }
        if let Some(slot) = self.slots.back_mut() {
            slot.last = now;
            slot.settled.push(false);
            slot.amount = slot.amount.plus(amount);
            self.sum = self.sum.plus(amount);
        }
        self.tickets
    }

    /// Counts what a call did use instead of what was reserved for it; a ticket that is unknown, settled or no longer
    /// counted changes nothing.
    pub fn settle(&mut self, ticket: u64, reserved: Amount, used: Amount) {
        let after = self.slots.partition_point(|slot| slot.first_ticket <= ticket);
        let Some(slot) = after.checked_sub(1).and_then(|index| self.slots.get_mut(index)) else { return };
        let index = usize::try_from(ticket - slot.first_ticket).unwrap_or(usize::MAX);
        if let Some(settled) = slot.settled.get_mut(index).filter(|settled| !**settled) {
            *settled = true;
            slot.amount = slot.amount.minus(reserved).plus(used);
            self.sum = self.sum.minus(reserved).plus(used);
        }
    }

    /// Drops what no longer counts.
    pub fn forget(&mut self, now: Timestamp) {
        while let Some(slot) = self.slots.pop_front_if(|slot| slot.last.saturating_add(WINDOW) <= now) {
            self.sum = self.sum.minus(slot.amount);
        }
    }

    /// What counts, oldest first, with the time from which it counts.
    pub fn log(&self) -> impl Iterator<Item = (Timestamp, Amount)> + '_ {
        let counted = self.slots.iter().filter(|slot| slot.amount != Amount::NONE);
        counted.map(|slot| (slot.last, slot.amount))
    }

    /// All that counts.
    pub fn sum(&self) -> Amount {
        self.sum
    }

    /// When `more` will fit into `most`; `None` when it does now. Once nothing counts, everything fits.
    pub fn free_at(&self, more: Amount, most: Amount) -> Option<Timestamp> {
        let mut sum = self.sum;
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
    pub fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// Whether nothing is left of the last minute.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::RateLimits;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn window() -> Window {
        Window::new(Duration::from_secs(1))
    }

    /// A call that reads so much, and writes 1.
    fn call(input: u64) -> Amount {
        Amount::call(input, 1)
    }

    #[test]
    fn a_grant_counts_for_a_minute_and_its_neighbours_a_little_longer() {
        let mut window = window();
        for ms in [0, 400, 999, 1_000] {
            window.grant(at(ms), call(10));
        }
        let log: Vec<_> = window.log().collect();
        assert_eq!(log, [(at(999), Amount([3, 33, 30, 3])), (at(1_000), call(10))]);
        window.forget(at(60_998));
        assert_eq!(window.sum(), Amount([4, 44, 40, 4]));
        window.forget(at(60_999));
        assert_eq!(window.sum(), call(10));
        window.forget(at(61_000));
        assert!(window.is_empty() && window.last() == Some(at(1_000)));
        assert_eq!(window.sum(), Amount::NONE);
    }

    #[test]
    fn a_ticket_is_settled_once() {
        let mut window = window();
        let tickets: Vec<_> = [0, 500, 2_000].into_iter().map(|ms| window.grant(at(ms), call(100))).collect();
        let mut settle = |ticket, used, left| {
            window.settle(ticket, call(100), used);
            assert_eq!(window.sum(), left, "{ticket}");
            assert_eq!(window.log().fold(Amount::NONE, |sum, (_, amount)| sum.plus(amount)), left, "{ticket}");
        };
        settle(tickets[1], call(30), Amount([3, 233, 230, 3]));
        for (ticket, used) in [(tickets[1], Amount::NONE), (0, Amount::NONE), (tickets[2] + 1, call(1_000))] {
            settle(ticket, used, Amount([3, 233, 230, 3]));
        }
        settle(tickets[2], call(500), Amount([3, 633, 630, 3]));
        settle(tickets[0], Amount::NONE, Amount([2, 532, 530, 2]));
        window.forget(at(61_000));
        window.settle(tickets[0], call(100), call(7));
        assert_eq!(window.sum(), call(500));
    }

    #[test]
    fn what_fits_is_known_beforehand() {
        let mut window = window();
        let most = RateLimits { input_tokens: Some(90), ..RateLimits::new(3, 100) }.into();
        for (ms, input) in [(0, 19), (10_000, 29), (20_000, 39)] {
            window.grant(at(ms), call(input));
        }
        for (more, free_at) in [(1, 60_000), (22, 60_000), (23, 70_000), (51, 70_000), (52, 80_000), (1_000, 80_000)] {
            assert_eq!(window.free_at(call(more), most), Some(at(free_at)), "{more}");
        }
        let wider = |input| RateLimits { input_tokens: input, ..RateLimits::new(4, 100) }.into();
        assert_eq!(window.free_at(call(9), wider(None)), None);
        assert_eq!(window.free_at(call(9), wider(Some(95))), Some(at(60_000)));
        window.forget(at(80_000));
        assert_eq!(window.free_at(call(1_000), most), None);
    }

    #[test]
    fn what_was_never_sent_hinders_nothing() {
        let mut window = window();
        let ticket = window.grant(at(0), call(50));
        window.settle(ticket, call(50), Amount::NONE);
        assert_eq!(window.free_at(call(1_000), RateLimits::new(1, 10).into()), None);
    }
}
