//! Journals built by hand, typed and with a correct chain, for tests of whatever reads journals.

use std::collections::BTreeMap;
use std::time::Duration;

use aos_core::canonical::Hash;
use aos_core::event::{Event, Requested, RunFinished, RunStarted, RunStatus};
use aos_core::id::{EffectId, RunId, TenantId};
use aos_core::journal::{Line, encode};
use aos_core::money::Money;
use aos_core::payload::Payload;
use aos_core::random::Seed;
use aos_core::time::Timestamp;
use aos_core::workflow::Plan;
use aos_core::{Failure, codes};
use serde_json::Value;

/// A journal in the making. Entries are a millisecond apart; attempts and indices count themselves.
///
/// ```
/// use aos_core::workflow::PlanBuilder;
/// use aos_testkit::history::History;
/// use serde_json::json;
///
/// let plan = PlanBuilder::code("greet", "1.0.0")?.build();
/// let journal = History::start(&plan, json!("Ada"))?
///     .call("echo:1", "echo@1.0.0", json!("Hello, Ada!"))?
///     .completed("echo:1", json!("Hello, Ada!"))?
///     .build();
/// assert_eq!(journal.lines.len(), 3);
/// # Ok::<(), aos_core::Failure>(())
/// ```
#[derive(Clone, Debug)]
pub struct History {
    events: Vec<(Timestamp, Event)>,
    now: Timestamp,
    /// Attempts begun, by effect.
    attempts: BTreeMap<EffectId, u32>,
    seq: u64,
}

/// A journal with the payloads that stand outside its lines.
#[derive(Clone, Debug, PartialEq)]
pub struct Journal {
    /// The lines.
    pub lines: Vec<Line>,
    /// The payloads that lines refer to by hash.
    pub blobs: Vec<Payload>,
}

impl History {
    /// A run of `plan` with this input, run id `run-0001`, seed 0 and the plan's budget.
    ///
    /// # Errors
    /// A plan or an input that canonical JSON can't carry.
    pub fn start(plan: &Plan, input: Value) -> Result<Self, Failure> {
        let started = RunStarted {
            run: RunId::new("run-0001").map_err(invalid)?,
            tenant: TenantId::default(),
            workflow: plan.workflow.clone(),
            plan: plan.hash()?,
            input: Payload::new(input)?,
            seed: Seed::default(),
            budget: plan.budget,
            forked_from: None,
        };
        Ok(Self::started(started))
    }

    /// A run that begins with this entry.
    pub fn started(started: RunStarted) -> Self {
        let now = crate::harness::START;
        Self { events: vec![(now, Event::RunStarted(started))], now, attempts: BTreeMap::new(), seq: 0 }
    }

    /// Any entry, as it is.
    #[must_use]
    pub fn event(mut self, event: Event) -> Self {
        self.now = self.now.saturating_add(Duration::from_millis(1));
        self.events.push((self.now, event));
        self
    }

    /// Lets time pass before the next entry.
    #[must_use]
    pub fn pause(mut self, duration: Duration) -> Self {
        self.now = self.now.saturating_add(duration);
        self
    }

    /// The run asks for a skill.
    ///
    /// # Errors
    /// A malformed effect id, skill version or input; as for all methods below.
    pub fn call(self, effect: &str, skill: &str, input: Value) -> Result<Self, Failure> {
        self.requested(effect, Requested::Call { skill: skill.parse()?, input: Payload::new(input)? })
    }

    /// The run asks for something else.
    ///
    /// # Errors
    /// As [`History::call`].
    pub fn requested(self, effect: &str, request: Requested) -> Result<Self, Failure> {
        let effect = id(effect)?;
        Ok(self.event(Event::EffectRequested { effect, request }))
    }

    /// An effect ends well, free of charge.
    ///
    /// # Errors
    /// As [`History::call`].
    pub fn completed(self, effect: &str, output: Value) -> Result<Self, Failure> {
        self.completed_for(effect, output, Money::ZERO)
    }

    /// An effect ends well and costs something.
    ///
    /// # Errors
    /// As [`History::call`].
    pub fn completed_for(mut self, effect: &str, output: Value, cost: Money) -> Result<Self, Failure> {
        let effect = id(effect)?;
        let (attempt, output) = (self.attempt(&effect), Payload::new(output)?);
        Ok(self.event(Event::EffectCompleted { effect, attempt, output, cost, child: None }))
    }

    /// An attempt fails and the next one follows after `pause`.
    ///
    /// # Errors
    /// As [`History::call`].
    pub fn attempt_failed(mut self, effect: &str, failure: Failure, pause: Duration) -> Result<Self, Failure> {
        let effect = id(effect)?;
        let attempt = self.attempt(&effect);
        let retry_at = self.now.saturating_add(pause);
        let history = self.event(Event::AttemptFailed { effect, attempt, failure, retry_at });
        Ok(history.pause(pause))
    }

    /// An effect fails for good.
    ///
    /// # Errors
    /// As [`History::call`].
    pub fn failed(mut self, effect: &str, failure: Failure) -> Result<Self, Failure> {
        let effect = id(effect)?;
        let attempt = self.attempt(&effect);
        Ok(self.event(Event::EffectFailed { effect, attempt, failure }))
    }

    /// A signal comes.
    ///
    /// # Errors
    /// As [`History::call`].
    pub fn signal(mut self, name: &str, payload: Value) -> Result<Self, Failure> {
        self.seq += 1;
        let (seq, payload) = (self.seq, Payload::new(payload)?);
        Ok(self.event(Event::SignalReceived { seq, name: name.to_owned(), payload }))
    }

    /// Somebody asks the run to stop.
    #[must_use]
    pub fn cancel(mut self, reason: &str) -> Self {
        self.seq += 1;
        let seq = self.seq;
        self.event(Event::CancelRequested { seq, reason: reason.to_owned() })
    }

    /// The run ends well, with the content hash that the test claims.
    ///
    /// # Errors
    /// As [`History::call`].
    pub fn succeeded(self, output: Value, cost: Money, content_hash: Hash) -> Result<Self, Failure> {
        let output = Some(Payload::new(output)?);
        let status = RunStatus::Succeeded;
        Ok(self.event(Event::RunFinished(RunFinished { status, output, failure: None, cost, content_hash })))
    }

    /// The journal: numbered and chained.
    pub fn build(self) -> Journal {
        chained(&self.events)
    }

    fn attempt(&mut self, effect: &EffectId) -> u32 {
        let attempt = self.attempts.entry(effect.clone()).or_insert(0);
        *attempt += 1;
        *attempt
    }
}

/// Writes events as a journal: numbered from 0, each line chained to the one before.
pub fn chained<'a>(events: impl IntoIterator<Item = &'a (Timestamp, Event)>) -> Journal {
    let (mut blobs, mut chain) = (Vec::new(), Hash::ZERO);
    let lines = (0..)
        .zip(events)
        .map(|(index, (at, event))| {
            let line = encode(index, *at, event, chain, &mut blobs);
            chain = line.hash();
            line
        })
        .collect();
    Journal { lines, blobs }
}

/// Gives lines new `prev` hashes, so that a journal whose lines were edited as JSON has a correct chain again. Lines
/// that are not JSON objects are left alone.
pub fn rechained(lines: &[Line]) -> Vec<Line> {
    let mut chain = Hash::ZERO;
    lines
        .iter()
        .map(|line| {
            let line = with_prev(line, chain).unwrap_or_else(|| line.clone());
            chain = line.hash();
            line
        })
        .collect()
}

fn with_prev(line: &Line, prev: Hash) -> Option<Line> {
    let mut value: Value = serde_json::from_str(line.as_str()).ok()?;
    value.as_object_mut()?.insert("prev".into(), prev.to_string().into());
    Some(Line::new(aos_core::canonical::to_string(value).ok()?))
}

fn id(effect: &str) -> Result<EffectId, Failure> {
    EffectId::new(effect).map_err(invalid)
}

fn invalid(error: aos_core::id::IdError) -> Failure {
    Failure::new(codes::INVALID_REQUEST, error.to_string())
}

#[cfg(test)]
mod tests {
    use aos_core::replay::{chain_hash, verify_chain};
    use aos_core::workflow::PlanBuilder;
    use serde_json::json;

    use super::*;

    #[test]
    fn builds_a_chain_and_mends_an_edited_one() {
        let plan = PlanBuilder::code("w", "1.0.0").unwrap().build();
        let retry = Duration::from_secs(1);
        let history = History::start(&plan, json!({"big": "x".repeat(40_000)}))
            .and_then(|h| h.call("a", "s@1.0.0", json!(1)))
            .and_then(|h| h.attempt_failed("a", Failure::new(codes::TIMEOUT, "late"), retry))
            .and_then(|h| h.completed_for("a", json!(2), Money::from_cents(3)))
            .and_then(|h| h.signal("go", json!(null)))
            .unwrap()
            .cancel("enough");
        let journal = history.build();
        let find = |hash: &Hash| journal.blobs.iter().find(|blob| blob.hash() == *hash).cloned();
        let entries = verify_chain(&journal.lines, &find).unwrap();
        assert_eq!((entries.len(), journal.blobs.len()), (6, 1));
        assert!(matches!(&entries[3].event, Event::EffectCompleted { attempt: 2, .. }));
        assert!(matches!(&entries[5].event, Event::CancelRequested { seq: 2, .. }));
        assert!(entries[3].at.since(entries[2].at) >= retry);

        let mut edited = journal.lines.clone();
        edited[1] = Line::new(edited[1].as_str().replace("s@1.0.0", "s@1.0.1"));
        assert!(verify_chain(&edited, &find).is_err());
        let mended = rechained(&edited);
        assert_eq!(verify_chain(&mended, &find).unwrap().len(), 6);
        assert_ne!(chain_hash(&mended), chain_hash(&journal.lines));
        assert_eq!(rechained(&journal.lines), journal.lines);
    }
}
