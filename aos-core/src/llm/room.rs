//! What a provider says it still has for a caller.

use std::time::Duration;

use crate::limiter::Amount;
use crate::time::Timestamp;

/// What a provider's rate limits leave, as it says with its answers; `None` where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Requests.
    pub requests: Option<Left>,
    /// Tokens of both kinds together.
    pub tokens: Option<Left>,
    /// Tokens read.
    pub input_tokens: Option<Left>,
    /// Tokens written.
    pub output_tokens: Option<Left>,
}

/// What is left of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The whole of it.
    pub limit: u64,
    /// What is left; providers round it.
    pub remaining: u64,
    /// When the whole of it is there again.
    pub full_at: Timestamp,
}

/// Limits are per minute: a provider that needs longer to fill up has another clock, or speaks of another limit.
const LONGEST_FILL: Duration = Duration::from_secs(60);

impl Room {
    /// Whether the provider has said nothing.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// When there is room for `need`, for who heard this at `heard_at`.
    pub fn ready_at(&self, heard_at: Timestamp, need: Amount) -> Timestamp {
        let limits = [self.requests, self.tokens, self.input_tokens, self.output_tokens];
        let each = limits.into_iter().zip(need.0).filter_map(|(left, need)| Some(left?.ready_at(heard_at, need)));
        each.max().unwrap_or(heard_at)
    }
}

impl Left {
    /// When `need` is there, or all of it for who needs more: what is used up comes back evenly, until all is there.
    pub fn ready_at(&self, heard_at: Timestamp, need: u64) -> Timestamp {
        let (missing, wanted) = (self.limit.saturating_sub(self.remaining), need.min(self.limit));
        let wanted = u128::from(wanted.saturating_sub(self.remaining));
        let fill = self.full_at.since(heard_at).min(LONGEST_FILL);
        let ms = (fill.as_millis() * wanted).div_ceil(u128::from(missing.max(1)));
        heard_at.saturating_add(Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_comes_back_evenly() {
        let heard_at = Timestamp::from_millis(1_000_000);
        for (limit, remaining, full_in, need, ready_in) in [
            (60, 5, 55_000, 5, 0),
            (60, 0, 60_000, 1, 1_000),
            (60, 2, 58_000, 7, 5_000),
            (60, 2, 58_000, 60, 58_000),
            (60, 2, 58_000, 1_000, 58_000),
            (60, 60, 0, 1_000, 0),
            // Rounded up to a whole millisecond.
            (7, 0, 1_000, 1, 143),
            // Absurd ones.
            (60, 0, 3_600_000, 1, 1_000),
            (0, 0, 60_000, 1, 0),
            (5, 9, 60_000, 7, 0),
            (u64::MAX, 0, 60_000, u64::MAX, 60_000),
        ] {
            let left = Left { limit, remaining, full_at: heard_at.saturating_add(Duration::from_millis(full_in)) };
            let ready = left.ready_at(heard_at, need);
            assert_eq!(ready.since(heard_at).as_millis(), ready_in, "{need} of {left:?}");
        }
    }

    #[test]
    fn the_scarcest_kind_decides() {
        let left = |remaining| Some(Left { limit: 100, remaining, full_at: Timestamp::from_millis(60_000) });
        let room = Room { requests: left(10), input_tokens: left(40), output_tokens: left(0), ..Room::default() };
        for (need, ready) in [(Amount::NONE, 0), (Amount::call(40, 0), 0), (Amount::call(50, 0), 10_000)] {
            assert_eq!(room.ready_at(Timestamp::EPOCH, need), Timestamp::from_millis(ready), "{need:?}");
        }
        assert_eq!(room.ready_at(Timestamp::EPOCH, Amount::call(50, 50)), Timestamp::from_millis(30_000));
        assert_eq!(Room::default().ready_at(Timestamp::EPOCH, Amount::call(50, 50)), Timestamp::EPOCH);
    }
}
