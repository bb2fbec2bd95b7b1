//! Cassettes: requests with the answers they once got, kept as lines of canonical JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::request::LlmRequest;
use super::response::LlmResponse;
use crate::canonical::{self, Hash};
use crate::diff::{self, Change};
use crate::error::{Failure, codes};

/// How many bad lines one failure lists.
const MAX_MISTAKES: usize = 10;

/// Requests and their answers, found by the request's [hash](LlmRequest::hash).
///
/// As text (`Display` and [`Cassette::parse`]) it is one object for each line, `{"request": …, "response": …}`, in
/// canonical JSON, sorted by request: recording the same calls in another order gives the same file. A request is
/// kept without its metadata and once: the answer that was recorded first stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cassette {
    entries: BTreeMap<Hash, Entry>,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    /// The identity of the request.
    request: Value,
    response: LlmResponse,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<Q, R> {
    request: Q,
    response: R,
}

impl Cassette {
    /// Reads a cassette's text; empty lines are skipped.
    ///
    /// # Errors
    /// [`codes::INVALID_REQUEST`] naming every bad line by its number: one that is no JSON, has an unknown or missing
    /// field, a request that no adapter would take, or another answer to a request of an earlier line.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let mut cassette = Self::default();
        let mut numbers = BTreeMap::new();
        let mut mistakes = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let number = index + 1;
            match cassette.read(line, number, &mut numbers) {
                Ok(()) => {}
                Err(why) if mistakes.len() < MAX_MISTAKES => mistakes.push(format!("line {number}: {why}")),
                Err(_) => {
                    mistakes.push("and more".into());
                    break;
                }
            }
        }
        if mistakes.is_empty() {
            return Ok(cassette);
        }
        Err(Failure::new(codes::INVALID_REQUEST, format!("the cassette can't be read: {}", mistakes.join("; "))))
    }

    fn read(&mut self, line: &str, number: usize, numbers: &mut BTreeMap<Hash, usize>) -> Result<(), String> {
        let Line { request, response } =
            serde_json::from_str::<Line<LlmRequest, LlmResponse>>(line).map_err(|error| error.to_string())?;
        crate::json::check_integers(line).map_err(|failure| failure.message)?;
        request.check().map_err(|failure| format!("the request: {}", failure.message))?;
        let hash = request.hash().map_err(|failure| format!("the request: {}", failure.message))?;
        if let (Some(known), Some(earlier)) = (self.entries.get(&hash), numbers.get(&hash))
            && known.response != response
        {
            return Err(format!("another answer to the request of line {earlier}"));
        }
        numbers.entry(hash).or_insert(number);
        self.record(&request, response).map_err(|failure| failure.message)
    }

    /// Adds an answer, unless there is one to this request already.
    ///
    /// # Errors
    /// A request or an answer without canonical form.
    pub fn record(&mut self, request: &LlmRequest, response: LlmResponse) -> Result<(), Failure> {
        let identity = request.identity()?;
        // What can't be written must not get in.
        let value =
            serde_json::to_value(&response).map_err(|error| Failure::new(codes::INVALID_JSON, error.to_string()))?;
        canonical::to_string(value)?;
        let hash = Hash::of(canonical::write(&identity));
        self.entries.entry(hash).or_insert(Entry { request: identity, response });
        Ok(())
    }

    /// How many requests there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The answer to `request`.
    ///
    /// # Errors
    /// [`codes::LLM_CASSETTE_MISS`]: the message shows where the nearest recorded request differs, the details have
    /// its hash, the request's own and the places.
    pub fn answer(&self, request: &LlmRequest) -> Result<&LlmResponse, Failure> {
        let identity = request.identity()?;
        let hash = Hash::of(canonical::write(&identity));
        self.entries.get(&hash).map(|entry| &entry.response).ok_or_else(|| self.miss(&hash, &identity))
    }

    fn miss(&self, hash: &Hash, asked: &Value) -> Failure {
        let nearest = self
            .entries
            .iter()
            .map(|(recorded, entry)| (diff::diff(&entry.request, asked), recorded))
            .min_by_key(|(changes, _)| (changes.len(), spread(changes)));
        let start = format!("the cassette has no answer to this request ({} recorded)", self.len());
        let Some((changes, recorded)) = nearest else {
            return Failure::new(codes::LLM_CASSETTE_MISS, start).details(serde_json::json!({"request": hash}));
        };
        let places: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
        let message = format!("{start}; where the nearest recorded one differs:\n{}", diff::display(&changes));
        Failure::new(codes::LLM_CASSETTE_MISS, message)
            .details(serde_json::json!({"request": hash, "nearest": recorded, "places": places}))
    }
}

/// How much text differs, to choose among requests that differ in as many places.
fn spread(changes: &[Change]) -> usize {
    let side = |value: &Option<Value>| value.as_ref().map(Value::to_string).unwrap_or_default();
    changes
        .iter()
        .map(|change| {
            let (expected, actual) = (side(&change.expected), side(&change.actual));
            let common = expected.bytes().zip(actual.bytes()).take_while(|(a, b)| a == b).count();
            expected.len().max(actual.len()) - common
        })
        .sum()
}

impl fmt::Display for Cassette {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<String> = Vec::with_capacity(self.len());
        for Entry { request, response } in self.entries.values() {
            let line = serde_json::to_value(Line { request, response }).map_err(|_| fmt::Error)?;
            // What was recorded has a canonical form: that was checked.
            lines.push(canonical::to_string(line).map_err(|_| fmt::Error)?);
        }
        lines.sort_unstable();
        lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
