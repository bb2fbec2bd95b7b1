//! What one process may grant while it has no word from Redis.

use std::time::Duration;

use aos_core::limiter::{Amount, WINDOW, Window};
use aos_core::time::Timestamp;

use super::step::Answer;

/// For how long after its last answer a process may still count as present in Redis: twice the time after which it counts
/// as silent, because the last thing it said may have been said in time and heard late.
pub(super) const UNHEARD: Duration = Duration::from_secs(5);

/// How finely an answer says what ends to count; see `step.lua`.
const SPAN: Duration = Duration::from_secs(5);

/// How many such spans a minute has.
pub(super) const SPANS: usize = 12;

/// The last answer, and what was done since.
#[derive(Clone, Debug)]
pub(super) struct Alone {
    /// When it came; for a process that never got one, when it began.
    pub(super) heard_at: Timestamp,
    /// What the process may grant itself.
    pub(super) promise: Amount,
    /// What ends to count in each span after the answer, of what everybody was granted.
    pub(super) ends: [Amount; SPANS],
    /// What the process has granted itself since.
    pub(super) granted: Amount,
}

impl Alone {
    /// For a process that was promised nothing.
    pub(super) fn new(heard_at: Timestamp) -> Self {
        Self { heard_at, promise: Amount::NONE, ends: [Amount::NONE; SPANS], granted: Amount::NONE }
    }

    /// Goes by a new answer, to a step that told of `told` of what was granted since the one before.
    pub(super) fn hear(&mut self, now: Timestamp, told: Amount, answer: &Answer) {
        // What was granted since the step began has not been told.
        let granted = self.granted.minus(told);
        *self = Self { heard_at: now, promise: answer.promise, ends: answer.ends, granted };
    }

    /// Whether the promise of the last answer is enough for `more`, and this process's share is too.
    pub(super) fn is_promised(&self, more: Amount, window: &Window, most: Amount, replicas: u64) -> bool {
        self.granted.plus(more).fits(self.promise) && window.sum().plus(more).fits(most.part(replicas))
    }

    /// Whether `more` may be granted at `now`, to one of `replicas` processes under a limit of `most`; otherwise, when
    /// to ask again.
    pub(super) fn judge(
        &self,
        now: Timestamp,
        more: Amount,
        window: &Window,
        most: Amount,
        replicas: u64,
    ) -> Result<(), Timestamp> {
        let share = most.part(replicas);
        let at = if more.fits(share) {
            window.free_at(more, share).unwrap_or(now).max(self.due(now, more, replicas))
        } else {
            // What no share could hold goes alone, after the share has had the time to pay for it.
            let idle_since = window.last().unwrap_or(Timestamp::EPOCH).max(self.sure_at());
            idle_since.saturating_add(time_to_pay(more, most, replicas))
        };
        if at <= now { Ok(()) } else { Err(at) }
    }

    /// The most that may be granted until `later` without another answer.
    pub(super) fn at_most(&self, later: Timestamp, window: &Window, most: Amount, replicas: u64) -> Amount {
        let left = most.part(replicas).minus(window.sum());
        self.allowance(later, replicas).map_or(left, |allowance| left.min(allowance))
    }

    /// When every grant has stopped to count that Redis gave before it knew that this process is silent. From then on
    /// only the share matters.
    fn sure_at(&self) -> Timestamp {
        self.heard_at.saturating_add(WINDOW + UNHEARD)
    }

    /// What may be granted by `now`, after what was; `None` when only the share matters.
    ///
    /// That is the promise, and this process's part of what has ended to count since. Redis gives none of that to
    /// anybody once it takes this process for silent; what ends before that may be granted there.
    fn allowance(&self, now: Timestamp, replicas: u64) -> Option<Amount> {
        if now >= self.sure_at() {
            return None;
        }
        let ended = self.spans().filter(|(at, _)| *at <= now).fold(Amount::NONE, |sum, (_, more)| sum.plus(more));
        Some(self.promise.plus(ended.part(replicas)).minus(self.granted))
    }

    /// When `more` is allowed.
    fn due(&self, now: Timestamp, more: Amount, replicas: u64) -> Timestamp {
        let allowed = |at| self.allowance(at, replicas).is_none_or(|allowance| more.fits(allowance));
        let later = self.spans().map(|(at, _)| at).filter(|at| *at > now);
        std::iter::once(now).chain(later).find(|at| allowed(*at)).unwrap_or(self.sure_at())
    }

    /// The spans that count, with their ends.
    fn spans(&self) -> impl Iterator<Item = (Timestamp, Amount)> + '_ {
        let ends = (1..).map(|number| self.heard_at.saturating_add(SPAN * number));
        ends.zip(self.ends).skip_while(|(end, _)| *end <= self.heard_at.saturating_add(UNHEARD))
    }
}

/// How long a share of the limit needs for an amount.
fn time_to_pay(amount: Amount, most: Amount, replicas: u64) -> Duration {
    let ms = amount.0.into_iter().zip(most.0).map(|(amount, most)| {
        let replicas_ms = u128::from(replicas).saturating_mul(WINDOW.as_millis());
        u128::from(amount).saturating_mul(replicas_ms) / u128::from(most.max(1))
    });
    Duration::from_millis(u64::try_from(ms.max().unwrap_or(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::step::Status;
    use super::*;

    const MOST: Amount = Amount([60, 6_000, u64::MAX, u64::MAX]);
    const CALL: Amount = Amount::call(90, 10);

    fn at(s: u64) -> Timestamp {
        Timestamp::from_millis(s * 1_000)
    }

    fn empty() -> Window {
        Window::new(Duration::from_secs(1))
    }

    /// So many of these calls.
    fn calls(number: u64) -> Amount {
        Amount(CALL.0.map(|amount| amount * number))
    }

    /// How many of these calls are granted at that second.
    fn burst(alone: &mut Alone, window: &mut Window, s: u64, replicas: u64) -> u64 {
        window.forget(at(s));
        (0..1_000)
            .take_while(|_| {
                let granted = alone.judge(at(s), CALL, window, MOST, replicas).is_ok();
                if granted {
                    window.grant(at(s), CALL);
                    alone.granted = alone.granted.plus(CALL);
                }
                granted
            })
            .count() as u64
    }

    #[test]
    fn who_was_promised_nothing_waits_until_it_is_sure() {
        let (mut alone, mut window) = (Alone::new(at(100)), empty());
        for s in [100, 130, 164] {
            assert_eq!(alone.judge(at(s), CALL, &window, MOST, 3), Err(at(165)), "{s}");
        }
        assert_eq!(burst(&mut alone, &mut window, 165, 3), 20);
        assert_eq!(alone.judge(at(200), CALL, &window, MOST, 3), Err(at(225)));
        assert_eq!(burst(&mut alone, &mut window, 225, 3), 20);
    }

    #[test]
    fn a_promise_is_kept_and_what_ends_is_shared() {
        let mut window = empty();
        // 15 of the 60 were granted here, 40 s before the answer; everything ends evenly.
        for _ in 0..15 {
            window.grant(at(60), CALL);
        }
        let ends = [calls(5); SPANS];
        let mut alone = Alone { promise: calls(2), ends, ..Alone::new(at(100)) };
        let granted: Vec<_> = (100..165).map(|s| burst(&mut alone, &mut window, s, 3)).collect();
        assert_eq!(granted[0], 2, "the promise");
        assert_eq!(granted[1..10].iter().sum::<u64>(), 0, "what ends in the first 5 s may be granted by Redis");
        assert_eq!(granted[10], 1, "a third of 5");
        assert_eq!(granted[..20].iter().sum::<u64>(), 5, "no more than the share, with the 15 that Redis gave");
        assert_eq!(granted.iter().sum::<u64>(), 2 + 55 / 3);
    }

    #[test]
    fn a_promise_is_good_for_what_fits_both_it_and_the_share() {
        let mut window = empty();
        for _ in 0..14 {
            window.grant(at(100), CALL);
        }
        let promised = |promise, granted| {
            let alone = Alone { promise: calls(promise), granted: calls(granted), ..Alone::new(at(100)) };
            (0..60).take_while(|more| alone.is_promised(calls(more + 1), &window, calls(60), 3)).count()
        };
        for (promise, granted, left) in [(0, 0, 0), (4, 0, 4), (4, 3, 1), (4, 4, 0), (4, 9, 0), (9, 2, 6)] {
            assert_eq!(promised(promise, granted), left, "{promise} with {granted} granted");
        }
    }

    #[test]
    fn what_was_granted_while_a_step_was_under_way_counts_against_its_promise() {
        let answer = Answer {
            epoch: String::new(),
            status: Status::Open,
            now: 0,
            present: 3,
            wait_ms: 0,
            promise: calls(4),
            ends: [Amount::NONE; SPANS],
        };
        let mut alone = Alone { promise: calls(9), granted: calls(5), ..Alone::new(at(100)) };
        let told = alone.granted;
        alone.granted = alone.granted.plus(calls(3));
        alone.hear(at(101), told, &answer);
        assert_eq!((alone.heard_at, alone.promise, alone.granted), (at(101), calls(4), calls(3)));
        assert!(alone.is_promised(CALL, &empty(), MOST, 3) && !alone.is_promised(calls(2), &empty(), MOST, 3));
    }

    #[test]
    fn what_no_share_could_hold_goes_alone_and_late() {
        let (mut alone, mut window) = (Alone::new(at(0)), empty());
        // 4,000 tokens of 6,000 are two minutes of a third.
        assert_eq!(alone.judge(at(1), Amount::call(4_000, 0), &window, MOST, 3), Err(at(65 + 120)));
        assert_eq!(alone.judge(at(185), Amount::call(4_000, 0), &window, MOST, 3), Ok(()));
        window.grant(at(185), Amount::call(4_000, 0));
        assert_eq!(alone.judge(at(186), Amount::call(4_000, 0), &window, MOST, 3), Err(at(305)));
        assert_eq!(alone.judge(at(186), Amount::call(1, 0), &window, MOST, 3), Err(at(245)));
        // Of 60 requests no hundredth is a whole one.
        alone.heard_at = at(1_000);
        assert_eq!(alone.judge(at(1_065), Amount::call(1, 0), &empty(), MOST, 100), Err(at(1_165)));
    }

    #[test]
    fn what_may_still_be_granted_is_never_more_than_the_share() {
        let (mut window, most) = (empty(), calls(60));
        for _ in 0..15 {
            window.grant(at(100), CALL);
        }
        let mut alone = Alone::new(at(100));
        assert_eq!(alone.at_most(at(105), &window, most, 3), Amount::NONE);
        alone.promise = calls(9);
        assert_eq!(alone.at_most(at(105), &window, most, 3), calls(5));
        alone.granted = calls(6);
        assert_eq!(alone.at_most(at(105), &window, most, 3), calls(3));
        assert_eq!(alone.at_most(at(165), &window, most, 3), calls(5));
    }
}
