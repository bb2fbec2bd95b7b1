//! What calls of models cost: a book of dated prices.
//!
//! A price is a row of five rates. It holds from a day on (UTC, by the host's clock when the answer came), and perhaps
//! only for prompts up to a length; the whole of a longer prompt, and its answer, is paid for by the next row. All of it
//! is integers: picodollars for each token. A book's [hash](PriceBook::hash) is recorded with what was priced by it, so
//! that the same traffic can be priced again, by the same book or by another one.

mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::response::Usage;
use crate::canonical::Hash;
use crate::error::Failure;
use crate::money::Money;
use crate::payload::Payload;
use crate::time::{Day, Timestamp};

/// Prices of models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceBook {
    models: BTreeMap<String, Vec<Price>>,
    /// The same as canonical JSON.
    text: Payload,
}

/// One row: what a model costs from a day on, for prompts up to a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Price {
    /// The first day on which it holds.
    #[serde(skip_serializing_if = "is_always")]
    pub from: Day,
    /// The longest prompt it is for, in tokens, cached ones included; `None` for any that no other row is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_to: Option<u64>,
    /// What tokens cost.
    #[serde(flatten)]
    pub rates: Rates,
}

/// What one token costs. In JSON the five are dollars for a million tokens, as providers publish them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rates {
    /// Read, not from the cache and not into it.
    #[serde(serialize_with = "per_million")]
    pub input: Money,
    /// Written.
    #[serde(serialize_with = "per_million")]
    pub output: Money,
    /// Read and cached for five minutes.
    #[serde(serialize_with = "per_million")]
    pub cache_write_5m: Money,
    /// Read and cached for an hour.
    #[serde(serialize_with = "per_million")]
    pub cache_write_1h: Money,
    /// Read from the cache.
    #[serde(serialize_with = "per_million")]
    pub cache_read: Money,
}

/// Which row of which book something was priced by: what a journal keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceRef {
    /// The book's [`hash`](PriceBook::hash).
    pub book: Hash,
    /// The row's [`from`](Price::from).
    pub from: Day,
    /// The row's [`up_to`](Price::up_to).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<u64>,
}

/// What a call cost, and by which price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priced {
    /// The cost.
    pub cost: Money,
    /// The price.
    pub price: PriceRef,
}

/// How many tokens providers state a price for.
const TOKENS_OF_A_RATE: u64 = 1_000_000;

/// The prices that come with this release.
const BUILTIN: &str = include_str!("price/builtin.json");

impl PriceBook {
    /// The prices that come with this release; see `price/builtin.json` for their date.
    ///
    /// # Errors
    /// None: a test reads it.
    pub fn builtin() -> Result<Self, Failure> {
        Self::parse(BUILTIN)
    }

    /// Reads a book:
    ///
    /// ```
    /// use aos_core::llm::{PriceBook, Usage};
    /// use aos_core::time::Day;
    ///
    /// let book = PriceBook::parse(r#"{"models": {"small": [
    ///     {"up_to": 100000, "input": "0.10", "output": "0.50", "cache_write_5m": "0.125", "cache_write_1h": "0.2", "cache_read": "0.01"},
    ///     {"input": "0.50", "output": "2.50", "cache_write_5m": "0.625", "cache_write_1h": "1", "cache_read": "0.05"},
    ///     {"from": "2026-12-01", "input": "0.40", "output": "2", "cache_write_5m": "0.5", "cache_write_1h": "0.8", "cache_read": "0.04"}
    /// ]}}"#)?;
    /// let usage = Usage { input_tokens: 1_000, output_tokens: 100, ..Usage::default() };
    /// let on = |day: &str| book.price("small-20261001", &usage, day.parse::<Day>().unwrap().start());
    /// assert_eq!(on("2026-11-30").unwrap().cost.to_string(), "0.00015");
    /// assert_eq!(on("2026-12-01").unwrap().cost.to_string(), "0.0006");
    /// # Ok::<(), aos_core::Failure>(())
    /// ```
    ///
    /// Rates are dollars for a million tokens, as text, with at most six decimals. Rows of one model with the same
    /// `from` differ in `up_to`, and one of them has none. A row without `from` holds from the beginning; any object may
    /// have a `note` for people.
    ///
    /// # Errors
    /// [`codes::INVALID_JSON`](crate::codes::INVALID_JSON), or
    /// [`codes::INVALID_REQUEST`](crate::codes::INVALID_REQUEST) naming every mistake.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        Self::new(parse::models(text)?)
    }

    fn new(mut models: BTreeMap<String, Vec<Price>>) -> Result<Self, Failure> {
        models.values_mut().for_each(|rows| rows.sort_by_key(|row| (row.from, row.up_to.unwrap_or(u64::MAX))));
        let text = Payload::from_serialize(&BTreeMap::from([("models", &models)]))?;
        Ok(Self { models, text })
    }

    /// This book, with the models of `other` in place of its own of the same name.
    ///
    /// # Errors
    /// None for books that could be read.
    pub fn with(mut self, other: Self) -> Result<Self, Failure> {
        self.models.extend(other.models);
        Self::new(self.models)
    }

    /// SHA-256 of [`PriceBook::to_json`].
    pub fn hash(&self) -> Hash {
        self.text.hash()
    }

    /// The book as canonical JSON, without notes: what [`PriceBook::parse`] reads.
    pub fn to_json(&self) -> &str {
        self.text.as_str()
    }

    /// The models there are prices for.
    pub fn models(&self) -> impl Iterator<Item = (&str, &[Price])> {
        self.models.iter().map(|(model, rows)| (model.as_str(), rows.as_slice()))
    }

    /// What a call of `model` at `at` cost that used these tokens; `None` when the book has no price for it, which is
    /// not the same as nothing.
    ///
    /// A snapshot that the book does not name (`claude-opus-5-5-20261001`) costs what the model without the date does.
    pub fn price(&self, model: &str, usage: &Usage, at: Timestamp) -> Option<Priced> {
        let rows = self.rows(model)?;
        self.priced(rows, usage, valid_on(rows, at.day())?)
    }

    /// The same, by the prices of the day that was recorded.
    pub fn price_as_of(&self, model: &str, usage: &Usage, from: Day) -> Option<Priced> {
        self.priced(self.rows(model)?, usage, from)
    }

    /// What a call of `model` at `at` costs at most, when its prompt has about `input_tokens` and its answer has no more
    /// than `max_tokens`: as good as the estimate is. Every token of the prompt counts by the dearest of its rates.
    pub fn bound(&self, model: &str, input_tokens: u64, max_tokens: u64, at: Timestamp) -> Option<Money> {
        let rows = self.rows(model)?;
        let Rates { input, output, cache_write_5m, cache_write_1h, cache_read } =
            tier(rows, valid_on(rows, at.day())?, input_tokens)?.rates;
        let dearest = input.max(cache_write_5m).max(cache_write_1h).max(cache_read);
        Some(dearest.saturating_mul(input_tokens).saturating_add(output.saturating_mul(max_tokens)))
    }

    fn rows(&self, model: &str) -> Option<&[Price]> {
        let rows = self.models.get(model).or_else(|| self.models.get(without_date(model)?))?;
        Some(rows)
    }

    fn priced(&self, rows: &[Price], usage: &Usage, from: Day) -> Option<Priced> {
        let Price { from, up_to, rates } = *tier(rows, from, usage.all_input())?;
        Some(Priced { cost: rates.cost(usage), price: PriceRef { book: self.hash(), from, up_to } })
    }
}

impl Rates {
    /// What these tokens cost.
    fn cost(&self, usage: &Usage) -> Money {
        // A provider that says more of a part than of the whole means the part.
        let for_an_hour = usage.cache_write_1h_tokens;
        let for_minutes = usage.cache_write_tokens.saturating_sub(for_an_hour);
        [
            self.input.saturating_mul(usage.input_tokens),
            self.output.saturating_mul(usage.output_tokens),
            self.cache_write_5m.saturating_mul(for_minutes),
            self.cache_write_1h.saturating_mul(for_an_hour),
            self.cache_read.saturating_mul(usage.cache_read_tokens),
        ]
        .into_iter()
        .sum()
    }
}

/// The first day of the prices that hold on `day`.
fn valid_on(rows: &[Price], day: Day) -> Option<Day> {
    rows.iter().map(|row| row.from).filter(|from| *from <= day).max()
}

/// The row for a prompt so long, of those that hold from that day on; they are sorted.
fn tier(rows: &[Price], from: Day, prompt: u64) -> Option<&Price> {
    rows.iter().filter(|row| row.from == from).find(|row| row.up_to.is_none_or(|longest| prompt <= longest))
}

/// The model of a dated snapshot: `name-20261001`.
fn without_date(model: &str) -> Option<&str> {
    let (name, date) = model.rsplit_once('-')?;
    (date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit())).then_some(name)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_always(from: &Day) -> bool {
    *from == Day::default()
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn per_million<S: Serializer>(rate: &Money, serializer: S) -> Result<S::Ok, S::Error> {
    rate.saturating_mul(TOKENS_OF_A_RATE).serialize(serializer)
}
