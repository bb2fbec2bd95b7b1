//! What the mock has answered, and what a provider would bill for it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::request::Endpoint;

/// The tokens of an answer, in the API's terms: all input is `input_tokens` and the three counts of the cache together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Read, not from the cache and not into it.
    pub input_tokens: u64,
    /// Written, thinking included.
    pub output_tokens: u64,
    /// Read from the prompt cache.
    pub cache_read_tokens: u64,
    /// Written into the prompt cache for five minutes.
    pub cache_write_5m_tokens: u64,
    /// Written into the prompt cache for an hour.
    pub cache_write_1h_tokens: u64,
    /// Those of the output that were thinking.
    pub thinking_tokens: u64,
}

impl Usage {
    /// Tokens in and out, nothing cached.
    pub fn new(input_tokens: u64, output_tokens: u64) -> Self {
        Self { input_tokens, output_tokens, ..Self::default() }
    }

    /// `usage` of an answer.
    pub(super) fn json(&self) -> Value {
        let mut usage = self.delta_json();
        usage["cache_creation"] = json!({
            "ephemeral_5m_input_tokens": self.cache_write_5m_tokens,
            "ephemeral_1h_input_tokens": self.cache_write_1h_tokens
        });
        usage["service_tier"] = "standard".into();
        usage
    }

    /// `usage` of a `message_delta`: cumulative, and without what is known since the start.
    pub(super) fn delta_json(&self) -> Value {
        let mut usage = json!({
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": self.cache_write_5m_tokens + self.cache_write_1h_tokens,
            "cache_read_input_tokens": self.cache_read_tokens,
            "output_tokens": self.output_tokens
        });
        if self.thinking_tokens > 0 {
            usage["output_tokens_details"] = json!({"thinking_tokens": self.thinking_tokens});
        }
        usage
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.cache_read_tokens += other.cache_read_tokens;
        self.cache_write_5m_tokens += other.cache_write_5m_tokens;
        self.cache_write_1h_tokens += other.cache_write_1h_tokens;
        self.thinking_tokens += other.thinking_tokens;
    }
}

impl From<Usage> for aos_core::llm::Usage {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cache_read_tokens: usage.cache_read_tokens,
            cache_write_tokens: usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
            cache_write_1h_tokens: usage.cache_write_1h_tokens,
        }
    }
}

/// A request that the mock has answered, or should have.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The number of the request, from 1.
    pub number: u64,
    /// When its answer was decided, since the mock's start.
    pub at: Duration,
    /// What it was for.
    pub endpoint: Endpoint,
    /// The label of the key that it came with; `None` when that was not accepted.
    pub key: Option<Arc<str>>,
    /// The model it asked for; empty when it asked for none.
    pub model: String,
    /// The status of the answer; `None` when the connection was closed or reset in its place.
    pub status: Option<u16>,
    /// The answer's `request-id`.
    pub request_id: String,
    /// What is billed for it. Zero for errors.
    pub usage: Usage,
    /// Whether the whole answer was handed to the connection. A client that hung up may not have read all of it.
    pub whole: bool,
}

/// What the mock has answered so far, all together. It never forgets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// How many requests came, of any kind.
    pub requests: u64,
    /// How many of them got an answer of each status; those that got none are not among them.
    pub statuses: BTreeMap<u16, u64>,
    /// What a provider bills, by model: the usage of each answer that was made, also when the client was gone.
    pub usage: BTreeMap<String, Usage>,
}

impl Account {
    /// What a provider bills, of all models.
    pub fn total(&self) -> Usage {
        self.usage.values().fold(Usage::default(), |mut sum, usage| {
            sum += *usage;
            sum
        })
    }
}

/// The most that was accepted in any window of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    /// Requests to `/v1/messages`.
    pub requests: u64,
    /// Their input tokens, without those read from the cache.
    pub input_tokens: u64,
    /// Their output tokens, counted when the request was accepted.
    pub output_tokens: u64,
}

/// A record whose answer may still be under way.
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) whole: AtomicBool,
}

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) account: Account,
    entries: VecDeque<Arc<Entry>>,
    /// When what was accepted, in order.
    accepted: Vec<(Duration, Peak)>,
}

impl Ledger {
    /// Notes an answer, and forgets the oldest beyond `keep`. `accepted` says whether it counts for the limits. The
    /// record's time is set here, so that what is accepted is in order.
    pub(super) fn note(&mut self, mut record: Record, accepted: bool, keep: usize, started: Instant) -> Arc<Entry> {
        record.at = started.elapsed();
        self.account.requests += 1;
        if let Some(status) = record.status {
            *self.account.statuses.entry(status).or_default() += 1;
        }
        let usage = record.usage;
        if usage != Usage::default() {
            match self.account.usage.get_mut(&record.model) {
                Some(sum) => *sum += usage,
                None => drop(self.account.usage.insert(record.model.clone(), usage)),
            }
        }
        if accepted {
            self.accepted.push((record.at, Peak { requests: 1, ..counted(&usage) }));
        }
        let entry = Arc::new(Entry { record, whole: AtomicBool::new(false) });
        if self.entries.len() >= keep {
            self.entries.pop_front();
        }
        if keep > 0 {
            self.entries.push_back(Arc::clone(&entry));
        }
        entry
    }

    pub(super) fn records(&self) -> Vec<Record> {
        let whole = |entry: &Entry| entry.whole.load(Ordering::Acquire);
        self.entries.iter().map(|entry| Record { whole: whole(entry), ..entry.record.clone() }).collect()
    }

    pub(super) fn peak(&self, window: Duration) -> Peak {
        peak(&self.accepted, window)
    }
}

/// What counts for limits of tokens.
pub(super) const fn counted(usage: &Usage) -> Peak {
    let input_tokens = usage.input_tokens + usage.cache_write_5m_tokens + usage.cache_write_1h_tokens;
    Peak { requests: 0, input_tokens, output_tokens: usage.output_tokens }
}

/// The most in any half-open window; `events` are in order of time.
fn peak(events: &[(Duration, Peak)], window: Duration) -> Peak {
    let (mut now, mut most, mut first) = (Peak::default(), Peak::default(), 0);
    for (index, (at, one)) in events.iter().enumerate() {
        while first < index && at.saturating_sub(events[first].0) >= window {
            let gone = &events[first].1;
            now.requests -= gone.requests;
            now.input_tokens -= gone.input_tokens;
            now.output_tokens -= gone.output_tokens;
            first += 1;
        }
        now.requests += one.requests;
        now.input_tokens += one.input_tokens;
        now.output_tokens += one.output_tokens;
        most.requests = most.requests.max(now.requests);
        most.input_tokens = most.input_tokens.max(now.input_tokens);
        most.output_tokens = most.output_tokens.max(now.output_tokens);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_that_of_any_window() {
        let events: Vec<_> = [(0, 5), (10, 1), (59, 1), (60, 1), (61, 1), (200, 4)]
            .map(|(second, tokens)| {
                (Duration::from_secs(second), Peak { requests: 1, input_tokens: tokens, output_tokens: 2 * tokens })
            })
            .into();
        let peaks = [(0, 1, 5), (1, 1, 5), (2, 2, 5), (3, 3, 5), (60, 4, 7), (61, 4, 8), (1_000, 6, 13)];
        for (seconds, requests, input_tokens) in peaks {
            let expected = Peak { requests, input_tokens, output_tokens: 2 * input_tokens };
            assert_eq!(peak(&events, Duration::from_secs(seconds)), expected, "{seconds} s");
        }
        assert_eq!(peak(&[], Duration::from_secs(60)), Peak::default());
    }
}
