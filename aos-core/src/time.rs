//! Time as integers, and the contract by which a host lends its clock.
//!
//! Nothing in this crate reads a clock: every method that needs the time takes a [`Timestamp`], and the
//! [driver](crate::driver) asks the host's [`Clock`].

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::BoxFuture;

/// A point in time: whole milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);
    /// The last instant a canonical JSON number can carry (2^53 - 1 ms, about the year 287,000).
    pub const MAX: Self = Self((1 << 53) - 1);

    /// The instant `ms` milliseconds after the Unix epoch, cut at [`Timestamp::MAX`].
    pub const fn from_millis(ms: u64) -> Self {
        if ms > Self::MAX.0 { Self::MAX } else { Self(ms) }
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// `self + duration`, cut at [`Timestamp::MAX`]; fractions of a millisecond are dropped.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self::from_millis(self.0.saturating_add(ms))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The day in which this is, UTC.
    pub const fn day(self) -> Day {
        // At most 2^53 / 86,400,000, which fits.
        Day((self.0 / MS_PER_DAY) as u32)
    }
}

/// RFC 3339 in UTC with milliseconds, for people: `2026-11-23T20:15:00.123Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0 % MS_PER_DAY;
        let (s, ms) = (ms / 1_000, ms % 1_000);
        write!(f, "{}T{:02}:{:02}:{:02}.{ms:03}Z", self.day(), s / 3_600, s / 60 % 60, s % 60)
    }
}

const MS_PER_DAY: u64 = 86_400_000;

/// A day of the calendar, UTC; as text and in wire forms `2026-11-23`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u32);

impl Day {
    /// The day so many days after 1 January 1970.
    pub const fn from_number(days: u32) -> Self {
        Self(days)
    }

    /// How many days after 1 January 1970 it is.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Its first instant.
    pub const fn start(self) -> Timestamp {
        Timestamp::from_millis(self.0 as u64 * MS_PER_DAY)
    }

    /// The day after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Year, month and day of the month.
    fn civil(self) -> (u64, u64, u64) {
        // Civil date from a day count, proleptic Gregorian, with eras of 400 years that begin on 1 March.
        let z = u64::from(self.0) + 719_468;
        let (era, day_of_era) = (z / 146_097, z % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        (year_of_era + era * 400 + u64::from(month <= 2), month, day)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// Why a text is not a day.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a day: expected year, month and day, from 1970 to 9999, such as \"2026-11-23\"")]
pub struct DayError(String);

impl FromStr for Day {
    type Err = DayError;

    fn from_str(text: &str) -> Result<Self, DayError> {
        let error = || DayError(text.chars().take(40).collect());
        let number = |range| text.get(range).filter(|s: &&str| s.bytes().all(|b| b.is_ascii_digit()));
        let (Some(year), Some(month), Some(day)) = (number(0..4), number(5..7), number(8..10)) else {
            return Err(error());
        };
        let parse = |text: &str| text.parse::<u64>().map_err(|_| error());
        let (year, month, day) = (parse(year)?, parse(month)?, parse(day)?);
        if year < 1970 || !(1..=12).contains(&month) {
            return Err(error());
        }
        // The inverse of `civil`; a day of the month that there is not gives another date, and so another text.
        let (shifted_year, shifted_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * shifted_month + 2) / 5 + day;
        let days = (era * 146_097 + day_of_era).checked_sub(719_469).and_then(|days| u32::try_from(days).ok());
        days.map(Self).filter(|found| found.to_string() == text).ok_or_else(error)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::deserialize(deserializer)
    }
}

/// The host's clock and timer, handed to the driver.
///
/// # Contract
/// - `now` never goes back by more than the host's clock does; the engine copes with steps in both directions.
/// - `sleep_until` resolves no earlier than `deadline` by this same clock, and at once when `deadline` has passed.
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> Timestamp;
    /// How long ago something was that is always the same, for measuring how long things take: finer than
    /// [`now`](Self::now), and without its steps, where the host has such a clock.
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now().as_millis())
    }
    /// Resolves when `deadline` has come.
    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rfc_3339() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (1_763_928_900_123, "2025-11-23T20:15:00.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp::from_millis(ms).to_string(), text);
        }
    }

    #[test]
    fn days_round_trip() {
        for number in (0..60_000).chain([2_932_896]) {
            let day = Day::from_number(number);
            assert_eq!(day.to_string().parse(), Ok(day));
            assert_eq!((day.start().day(), day.start().as_millis()), (day, u64::from(number) * 86_400_000));
        }
        let last = Timestamp::from_millis(Day::from_number(20_000).next().start().as_millis() - 1);
        assert_eq!(last.day(), Day::from_number(20_000));
    }

    #[test]
    fn rejects_what_is_not_a_day() {
        for text in [
            "",
            "2026",
            "2026-11",
            "2026-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "2026-01-32",
            "1969-12-31",
            "2026-1-01",
            "2026-01-01T",
            "2026/01/01",
            "+026-01-01",
            "20260101xx",
            "２026-01-01",
        ] {
            assert!(text.parse::<Day>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::MAX.saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::EPOCH.since(Timestamp::MAX), Duration::ZERO);
    }
}
