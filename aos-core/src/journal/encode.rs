//! Writing a line. Fields are written in canonical order, numbers are integers below 2^53 and payloads are canonical
//! already, so the text *is* RFC 8785 without sorting anything.

use std::fmt::{Display, Write as _};

use crate::canonical::{Hash, push_integer, push_string};
use crate::error::Failure;
use crate::event::{Event, Requested, RunFinished, RunStarted};
use crate::journal::{INLINE_PAYLOAD_BYTES, Line, WIRE_VERSION};
use crate::money::Money;
use crate::payload::Payload;
use crate::time::Timestamp;

/// Writes an entry as the line that follows the one whose hash is `prev` ([`Hash::ZERO`] for the first). Payloads
/// over [`INLINE_PAYLOAD_BYTES`] are pushed to `blobs` and referred to by hash.
pub fn encode(index: u64, at: Timestamp, event: &Event, prev: Hash, blobs: &mut Vec<Payload>) -> Line {
    let mut line = Fields::new(at, event);
    match event {
        Event::RunStarted(started) => line.run_started(started, index, prev, blobs),
        Event::EffectRequested { effect, request } => {
            if let Requested::Sleep { duration_ms } = request {
                line.number("duration_ms", *duration_ms);
            }
            line.string("effect", effect.as_str());
            line.number("index", index);
            if let Requested::Call { input, .. } | Requested::Child { input, .. } = request {
                line.payload("input", input, blobs);
            }
            line.string("kind", kind(request));
            if let Requested::Signal { name } | Requested::Patched { name } = request {
                line.string("name", name);
            }
            line.hash("prev", prev);
            if let Requested::Call { skill, .. } = request {
                line.key("skill");
                line.0.push('"');
                skill.push_to(&mut line.0);
                line.0.push('"');
            }
            line.end("effect_requested");
            if let Requested::Child { workflow, .. } = request {
                line.word("workflow", workflow);
            }
        }
        Event::EffectCompleted { effect, attempt, output, cost, child } => {
            line.number("attempt", u64::from(*attempt));
            if let Some(child) = child {
                line.hash("child", *child);
            }
            line.cost(*cost);
            line.string("effect", effect.as_str());
            line.number("index", index);
            line.payload("output", output, blobs);
            line.hash("prev", prev);
            line.end("effect_completed");
        }
        Event::AttemptFailed { effect, attempt, failure, retry_at } => {
            line.number("attempt", u64::from(*attempt));
            line.string("effect", effect.as_str());
            line.failure(failure);
            line.number("index", index);
            line.hash("prev", prev);
            line.number("retry_at", retry_at.as_millis());
            line.end("attempt_failed");
        }
        Event::EffectFailed { effect, attempt, failure } => {
            line.number("attempt", u64::from(*attempt));
            line.string("effect", effect.as_str());
            line.failure(failure);
            line.number("index", index);
            line.hash("prev", prev);
            line.end("effect_failed");
        }
        Event::SignalReceived { seq, name, payload } => {
            line.number("index", index);
            line.payload("input", payload, blobs);
            line.string("name", name);
            line.hash("prev", prev);
            line.number("seq", *seq);
            line.end("signal_received");
        }
        Event::CancelRequested { seq, reason } => {
            line.number("index", index);
            line.hash("prev", prev);
            line.string("reason", reason);
            line.number("seq", *seq);
            line.end("cancel_requested");
        }
        Event::RunFinished(finished) => line.run_finished(finished, index, prev, blobs),
    }
    line.close()
}

const fn kind(request: &Requested) -> &'static str {
    match request {
        Requested::Call { .. } => "call",
        Requested::Child { .. } => "child",
        Requested::Sleep { .. } => "sleep",
        Requested::Signal { .. } => "signal",
        Requested::Now => "now",
        Requested::Random => "random",
        Requested::Patched { .. } => "patched",
    }
}

/// The line in the making. Writing into a `String` never fails.
struct Fields(String);

impl Fields {
    /// Opens the line with `at`, the first field of every entry.
    fn new(at: Timestamp, event: &Event) -> Self {
        /// More than all fields but the payload take, unless names are very long.
        const FIELDS: usize = 320;
        let payload = match event {
            Event::EffectRequested { request: Requested::Call { input, .. }, .. } => input.len(),
            Event::EffectCompleted { output, .. } => output.len(),
            _ => 0,
        };
        let mut text = String::with_capacity(FIELDS + payload.min(INLINE_PAYLOAD_BYTES));
        text.push_str("{\"at\":");
        push_integer(&mut text, at.as_millis());
        Self(text)
    }

    fn run_started(&mut self, started: &RunStarted, index: u64, prev: Hash, blobs: &mut Vec<Payload>) {
        if let Some(budget) = started.budget {
            self.word("budget", &budget);
        }
        if let Some(fork) = &started.forked_from {
            self.key("forked_from");
            self.0.push_str("{\"effect\":");
            push_string(&mut self.0, fork.effect.as_str());
            self.0.push_str(",\"run\":");
            push_string(&mut self.0, fork.run.as_str());
            self.0.push('}');
        }
        self.number("index", index);
        self.payload("input", &started.input, blobs);
        self.hash("plan", started.plan);
        self.hash("prev", prev);
        self.string("run", started.run.as_str());
        self.number("seed", started.seed.get());
        self.string("tenant", started.tenant.as_str());
        self.end("run_started");
        self.word("workflow", &started.workflow);
    }

    fn run_finished(&mut self, finished: &RunFinished, index: u64, prev: Hash, blobs: &mut Vec<Payload>) {
        self.hash("content_hash", finished.content_hash);
        self.cost(finished.cost);
        if let Some(failure) = &finished.failure {
            self.failure(failure);
        }
        self.number("index", index);
        if let Some(output) = &finished.output {
            self.payload("output", output, blobs);
        }
        self.hash("prev", prev);
        self.string("status", finished.status.as_str());
        self.end("run_finished");
    }

    fn key(&mut self, key: &str) {
        self.0.push_str(",\"");
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    fn number(&mut self, key: &str, number: u64) {
        self.key(key);
        push_integer(&mut self.0, number);
    }

    fn string(&mut self, key: &str, string: &str) {
        self.key(key);
        push_string(&mut self.0, string);
    }

    /// Something whose text needs no escapes.
    fn word(&mut self, key: &str, word: &dyn Display) {
        self.key(key);
        let _ = write!(self.0, "\"{word}\"");
    }

    fn hash(&mut self, key: &str, hash: Hash) {
        self.key(key);
        self.0.push('"');
        self.0.push_str(hash.to_hex().as_str());
        self.0.push('"');
    }

    /// A cost, unless it is zero, which is what its absence means.
    fn cost(&mut self, cost: Money) {
        if !cost.is_zero() {
            self.word("cost", &cost);
        }
    }

    fn payload(&mut self, key: &str, payload: &Payload, blobs: &mut Vec<Payload>) {
        self.key(key);
        if payload.len() <= INLINE_PAYLOAD_BYTES {
            self.0.push_str(payload.as_str());
            return;
        }
        self.0.truncate(self.0.len() - "\":".len());
        let _ = write!(self.0, "_blob\":{{\"bytes\":{},\"sha256\":\"{}\"}}", payload.len(), payload.hash());
        blobs.push(payload.clone());
    }

    fn failure(&mut self, failure: &Failure) {
        // `Failure::details` normalises what callers put in, so this conversion only fails if a public field was
        // filled with something else; the code must survive even then.
        let payload = Payload::from_serialize(failure).or_else(|_| {
            Payload::from_serialize(&Failure { details: failure.details.to_string().into(), ..failure.clone() })
        });
        self.key("failure");
        self.0.push_str(payload.unwrap_or_default().as_str());
    }

    /// The two fields that all entries have near the end.
    fn end(&mut self, event_type: &str) {
        self.string("type", event_type);
        self.number("v", WIRE_VERSION);
    }

    fn close(mut self) -> Line {
        self.0.push('}');
        Line::new(self.0)
    }
}
