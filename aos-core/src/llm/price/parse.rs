//! Reading a book, with every mistake named.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Price, Rates, TOKENS_OF_A_RATE};
use crate::error::{Failure, codes};
use crate::money::Money;
use crate::text;
use crate::time::Day;
use crate::workflow::Mistake;

const RATES: [&str; 5] = ["input", "output", "cache_write_5m", "cache_write_1h", "cache_read"];

/// The rows of every model.
pub(super) fn models(text: &str) -> Result<BTreeMap<String, Vec<Price>>, Failure> {
    let value = crate::json::parse(text)?;
    let mut reader = Reader::default();
    let models = reader.book(&value);
    if reader.mistakes.is_empty() {
        return Ok(models);
    }
    let count = reader.mistakes.len();
    let mut message = format!("the price book has {count} {}", if count == 1 { "mistake" } else { "mistakes" });
    reader.mistakes.iter().for_each(|mistake| message.push_str(&format!("\n  {mistake}")));
    Err(Failure::new(codes::INVALID_REQUEST, message).details(json!({"mistakes": reader.mistakes})))
}

#[derive(Default)]
struct Reader {
    mistakes: Vec<Mistake>,
}

impl Reader {
    fn book(&mut self, value: &Value) -> BTreeMap<String, Vec<Price>> {
        let Some(book) = self.object("", value, &["models", "note"]) else { return BTreeMap::new() };
        let Some(models) = book.get("models").and_then(Value::as_object) else {
            self.mistake("/models", book.get("models"), "an object: model names, each with a list of prices");
            return BTreeMap::new();
        };
        let mut read = BTreeMap::new();
        for (model, rows) in models {
            let path = format!("/models/{}", model.replace('~', "~0").replace('/', "~1"));
            match rows.as_array() {
                Some(rows) if !rows.is_empty() => {
                    read.insert(model.clone(), self.rows(&path, rows));
                }
                _ => self.mistake(&path, Some(rows), "a list of prices, at least one"),
            }
        }
        read
    }

    fn rows(&mut self, path: &str, rows: &[Value]) -> Vec<Price> {
        let mut read = Vec::new();
        let mut seen = BTreeSet::new();
        for (index, value) in rows.iter().enumerate() {
            let path = format!("{path}/{index}");
            let Some(row) = self.row(&path, value) else { continue };
            if !seen.insert((row.from, row.up_to)) {
                self.sentence(&path, "there is another price from the same day on, up to the same length");
            }
            read.push(row);
        }
        // Only where every row could be read: what is missing may be among the others.
        if read.len() == rows.len() {
            let from: BTreeSet<Day> = read.iter().map(|row| row.from).collect();
            for day in from.into_iter().filter(|day| !seen.contains(&(*day, None))) {
                let why = format!("of the prices from {day} on none is without `up_to`: what do longer prompts cost?");
                self.sentence(path, &why);
            }
        }
        read
    }

    fn row(&mut self, path: &str, value: &Value) -> Option<Price> {
        const KEYS: [&str; 8] =
            ["from", "up_to", "note", "input", "output", "cache_write_5m", "cache_write_1h", "cache_read"];
        let before = self.mistakes.len();
        let row = self.object(path, value, &KEYS)?;
        let from = match row.get("from") {
            None => Day::default(),
            Some(day) => day.as_str().and_then(|day| day.parse().ok()).unwrap_or_else(|| {
                self.mistake(&format!("{path}/from"), Some(day), "a day such as \"2026-11-23\"");
                Day::default()
            }),
        };
        let up_to = row.get("up_to").and_then(|length| {
            let tokens = length.as_u64().filter(|tokens| *tokens > 0);
            if tokens.is_none() {
                self.mistake(&format!("{path}/up_to"), Some(length), "a number of tokens, at least 1");
            }
            tokens
        });
        let [input, output, cache_write_5m, cache_write_1h, cache_read] =
            RATES.map(|key| self.rate(&format!("{path}/{key}"), row.get(key)));
        let rates = Rates { input, output, cache_write_5m, cache_write_1h, cache_read };
        (self.mistakes.len() == before).then_some(Price { from, up_to, rates })
    }

    fn rate(&mut self, path: &str, value: Option<&Value>) -> Money {
        let per_million = value.and_then(Value::as_str).and_then(|text| text.parse::<Money>().ok());
        let picodollars = per_million.map(Money::picodollars).filter(|picos| picos % TOKENS_OF_A_RATE == 0);
        if picodollars.is_none() {
            let expected = "dollars for a million tokens, as text with at most 6 decimals, such as \"0.25\"";
            self.mistake(path, value, expected);
        }
        Money::from_picodollars(picodollars.unwrap_or_default() / TOKENS_OF_A_RATE)
    }

    fn object<'a>(&mut self, path: &str, value: &'a Value, keys: &[&str]) -> Option<&'a Map<String, Value>> {
        let Some(object) = value.as_object() else {
            self.mistake(path, Some(value), "an object");
            return None;
        };
        for key in object.keys().filter(|key| !keys.contains(&key.as_str())) {
            let hint = text::nearest(key, keys.iter().copied());
            let hint = hint.map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default();
            self.sentence(path, &format!("the key {key:?} is not known{hint}; there are {}", keys.join(", ")));
        }
        Some(object)
    }

    fn mistake(&mut self, path: &str, found: Option<&Value>, expected: &str) {
        let found = found.map_or_else(|| "nothing".to_owned(), |value| value.to_string().chars().take(40).collect());
        self.mistakes.push(Mistake { path: path.to_owned(), found, expected: expected.to_owned(), why: None });
    }

    fn sentence(&mut self, path: &str, why: &str) {
        self.mistakes.push(Mistake {
            path: path.to_owned(),
            found: String::new(),
            expected: String::new(),
            why: Some(why.to_owned()),
        });
    }
}
