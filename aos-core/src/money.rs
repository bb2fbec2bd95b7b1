//! Money as an integer count of picodollars (10^-12 USD).
//!
//! Model prices run to fractions of a microdollar per token, so cents would round; floats would drift. In wire
//! forms money is a decimal string of dollars (`"0.00125"`), exact and readable, because counts of picodollars
//! pass 2^53 at nine thousand dollars.

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const PICOS_PER_DOLLAR: u64 = 1_000_000_000_000;

/// An amount of US dollars, from zero to about 18.4 million, exact to the picodollar. Sums saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(u64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount.
    pub const MAX: Self = Self(u64::MAX);

    /// An amount in picodollars (10^-12 USD).
    pub const fn from_picodollars(picos: u64) -> Self {
        Self(picos)
    }

    /// An amount in whole cents.
    pub const fn from_cents(cents: u64) -> Self {
        Self(cents.saturating_mul(PICOS_PER_DOLLAR / 100))
    }

    /// The amount in picodollars.
    pub const fn picodollars(self) -> u64 {
        self.0
    }

    /// The amount in cents, for counters: many small amounts add up to what they are together, which rounded ones would
    /// not.
    pub fn cents(self) -> f64 {
        self.0 as f64 / (PICOS_PER_DOLLAR / 100) as f64
    }

    /// The amount in cents, rounded up to a hundredth of a cent, for display only.
    pub fn cents_rounded(self) -> f64 {
        let hundredths = self.0.div_ceil(PICOS_PER_DOLLAR / 10_000);
        // At most 1.8e11, which a double holds exactly.
        hundredths as f64 / 100.0
    }

    /// Whether this is nothing.
    pub const fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// `self + other`, cut at [`Money::MAX`].
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// `self - other`, zero when `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `self * count`, cut at [`Money::MAX`].
    #[must_use]
    pub const fn saturating_mul(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Self::saturating_add)
    }
}

/// Dollars with as many decimals as needed: `0.00125`, `12`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, picos) = (self.0 / PICOS_PER_DOLLAR, self.0 % PICOS_PER_DOLLAR);
        if picos == 0 {
            return write!(f, "{dollars}");
        }
        write!(f, "{dollars}.{}", format!("{picos:012}").trim_end_matches('0'))
    }
}

/// Why a text is not an amount of money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an amount of US dollars: expected digits with at most 12 decimals, such as \"0.25\"")]
pub struct MoneyError(String);

impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let error = || MoneyError(text.chars().take(40).collect());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 12 || text.ends_with('.') {
            return Err(error());
        }
        let dollars: u64 = whole.parse().map_err(|_| error())?;
        let picos: u64 = format!("{fraction:0<12}").parse().map_err(|_| error())?;
        dollars.checked_mul(PICOS_PER_DOLLAR).and_then(|d| d.checked_add(picos)).map(Self).ok_or_else(error)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::deserialize(deserializer)
    }
}

impl schemars::JsonSchema for Money {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Money".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": r"^\d+(\.\d{1,12})?$",
            "description": "US dollars as a decimal string, at most 12 decimals."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for text in ["0", "0.25", "12", "0.000000000001", "18446744.073709551615"] {
            assert_eq!(text.parse::<Money>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn rejects_what_is_not_an_amount() {
        for text in ["", ".5", "1.", "-1", "1e3", "0.0000000000001", "18446744.073709551616", "٣", "1,5", " 1"] {
            assert!(text.parse::<Money>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn cents_round_up() {
        assert_eq!(Money::from_cents(7).cents_rounded(), 7.0);
        assert_eq!(Money::from_picodollars(1).cents_rounded(), 0.01);
        assert_eq!(Money::from_picodollars(12_500_000_000).cents(), 1.25);
    }
}
