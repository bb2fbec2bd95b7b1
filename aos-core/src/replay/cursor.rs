//! The place in a journal up to which a replay has come, and the comparison of what the program does with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::canonical::Hash;
use crate::error::{Code, Failure};
use crate::event::{Event, Requested, RunFinished, RunStarted};
use crate::flow::Patches;
use crate::id::EffectId;
use crate::journal::{Entry, Line};
use crate::payload::Payload;
use crate::replay::{Drift, DriftClass, ReplayError, chain};
use crate::time::Timestamp;

pub(crate) struct Cursor {
    entries: Vec<Entry>,
    /// Index of the next entry.
    next: usize,
    chain: Hash,
    patches: Option<Arc<BTreeSet<String>>>,
}

impl Cursor {
    /// Of a run that has no journal yet.
    pub(crate) const fn at_end() -> Self {
        Self { entries: Vec::new(), next: 0, chain: Hash::ZERO, patches: None }
    }

    /// At the beginning of a journal, once its chain is checked, its end included when `chain_hash` is known.
    pub(crate) fn new(
        lines: &[Line],
        blob: &dyn Fn(&Hash) -> Option<Payload>,
        chain_hash: Option<Hash>,
    ) -> Result<Self, ReplayError> {
        let (entries, chain) = chain::verify(lines, blob, chain_hash)?;
        let patches = entries.iter().filter_map(|entry| match &entry.event {
            Event::EffectRequested { request: Requested::Patched { name }, .. } => Some(name.clone()),
            _ => None,
        });
        let patches = Some(Arc::new(patches.collect()));
        Ok(Self { entries, next: 0, chain, patches })
    }

    /// How many entries there are, and the hash of the last line.
    pub(crate) const fn chain(&self) -> (u64, Hash) {
        (self.entries.len() as u64, self.chain)
    }

    /// Which code changes the run knows.
    pub(crate) fn patches(&self) -> Patches {
        Patches::new(self.patches.clone())
    }

    /// The first entry, which every journal begins with.
    pub(crate) fn started(&self) -> Result<(&RunStarted, Timestamp), ReplayError> {
        match self.entries.first() {
            Some(Entry { event: Event::RunStarted(started), at, .. }) => Ok((started, *at)),
            Some(_) => {
                Err(ReplayError::Corrupt { index: 0, why: "the first entry is not of type \"run_started\"".into() })
            }
            None => Err(ReplayError::Corrupt { index: 0, why: "the journal is empty".into() }),
        }
    }

    /// Takes the next entry as something that came from outside.
    pub(crate) fn next_fact(&mut self) -> Option<(Event, Timestamp)> {
        let entry = self.entries.get(self.next)?;
        self.next += 1;
        Some((entry.event.clone(), entry.at))
    }

    /// The value that `effect` read from the clock, if the next entry says so.
    pub(crate) fn clock_read_by(&self, effect: &EffectId) -> Option<Payload> {
        match &self.entries.get(self.next)?.event {
            Event::EffectCompleted { effect: e, output, .. } if e == effect && output.value().is_u64() => {
                Some(output.clone())
            }
            _ => None,
        }
    }

    /// How the journal words that `effect` was refused with `code`, if the next entry says so.
    pub(crate) fn refusal_of(&self, effect: &EffectId, code: &Code) -> Option<Failure> {
        match &self.entries.get(self.next)?.event {
            Event::EffectFailed { effect: e, failure, .. } if e == effect && failure.code == *code => {
                Some(failure.clone())
            }
            _ => None,
        }
    }

    /// Compares what the program did with the next entry; gives its time, or `None` past the end of the journal.
    pub(crate) fn compare(&mut self, actual: &Event) -> Result<Option<Timestamp>, Box<ReplayError>> {
        let Some(entry) = self.entries.get(self.next) else { return Ok(None) };
        if entry.event == *actual {
            self.next += 1;
            return Ok(Some(entry.at));
        }
        // Failure messages are for people and may be worded better in a later release.
        if let (
            Event::EffectFailed { effect: e, attempt: a, failure: f },
            Event::EffectFailed { effect, attempt, failure },
        ) = (&entry.event, actual)
            && (e, a, &f.code, f.cost) == (effect, attempt, &failure.code, failure.cost)
        {
            self.next += 1;
            return Ok(Some(entry.at));
        }
        if let (Event::RunFinished(expected), Event::RunFinished(actual)) = (&entry.event, actual)
            && same_end(expected, actual)
        {
            self.next += 1;
            return Ok(Some(entry.at));
        }
        let (class, effect) = self.classify(&entry.event, actual);
        Err(self.drift(class, effect, self.next, describe(&entry.event), describe(actual)))
    }

    fn classify(&self, expected: &Event, actual: &Event) -> (DriftClass, Option<EffectId>) {
        use DriftClass as Class;
        match (expected, actual) {
            (Event::EffectRequested { effect: e, request: r }, Event::EffectRequested { effect, request }) => {
                if e != effect {
                    let later = self.entries[self.next..].iter().any(|entry| requests(&entry.event, effect));
                    return (if later { Class::Order } else { Class::Extra }, Some(effect.clone()));
                }
                let class = match (r, request) {
                    (Requested::Call { skill: a, .. }, Requested::Call { skill: b, .. }) if a != b => {
                        Class::SkillVersion
                    }
                    (Requested::Child { workflow: a, .. }, Requested::Child { workflow: b, .. }) if a != b => {
                        Class::SkillVersion
                    }
                    _ => Class::Input,
                };
                (class, Some(effect.clone()))
            }
            (Event::RunFinished(e), Event::RunFinished(a)) => {
                (if e.cost == a.cost { Class::Output } else { Class::Cost }, None)
            }
            (Event::EffectRequested { effect, .. }, Event::RunFinished(_)) => (Class::Missing, Some(effect.clone())),
            (_, Event::RunFinished(_)) => (Class::Missing, subject(expected)),
            (Event::EffectRequested { effect: e, .. }, Event::EffectFailed { effect, .. }) if e == effect => {
                (Class::Cost, Some(effect.clone()))
            }
            (Event::EffectCompleted { effect: e, .. } | Event::EffectFailed { effect: e, .. }, _)
                if subject(actual).as_ref() == Some(e) =>
            {
                (Class::Output, Some(e.clone()))
            }
            (Event::RunStarted(_), _) | (_, Event::RunStarted(_)) => (Class::Input, None),
            _ => (Class::Extra, subject(actual)),
        }
    }

    /// The entry just taken says something about an effect that the program did not ask for.
    pub(crate) fn not_asked_for(&self) -> Box<ReplayError> {
        let index = self.next.saturating_sub(1);
        let Some(entry) = self.entries.get(index) else {
            return Box::new(ReplayError::Corrupt { index: index as u64, why: "the journal is empty".into() });
        };
        let effect = subject(&entry.event);
        let class = if matches!(entry.event, Event::RunFinished(_)) { DriftClass::Extra } else { DriftClass::Missing };
        let actual = match class {
            DriftClass::Extra => json!("the program goes on"),
            _ => json!("the program did not ask for this, or has its answer already"),
        };
        self.drift(class, effect, index, describe(&entry.event), actual)
    }

    /// Program and journal disagree about the entry just taken.
    pub(crate) fn drift_here(
        &self,
        class: DriftClass,
        effect: Option<EffectId>,
        expected: Value,
        actual: Value,
    ) -> Box<ReplayError> {
        self.drift(class, effect, self.next.saturating_sub(1), expected, actual)
    }

    fn drift(
        &self,
        class: DriftClass,
        effect: Option<EffectId>,
        index: usize,
        expected: Value,
        actual: Value,
    ) -> Box<ReplayError> {
        Box::new(ReplayError::Drift(Box::new(Drift { class, effect, index: index as u64, expected, actual })))
    }
}

fn requests(event: &Event, effect: &EffectId) -> bool {
    matches!(event, Event::EffectRequested { effect: e, .. } if e == effect)
}

fn subject(event: &Event) -> Option<EffectId> {
    match event {
        Event::EffectRequested { effect, .. }
        | Event::EffectCompleted { effect, .. }
        | Event::AttemptFailed { effect, .. }
        | Event::EffectFailed { effect, .. } => Some(effect.clone()),
        Event::RunStarted(_) | Event::SignalReceived { .. } | Event::CancelRequested { .. } | Event::RunFinished(_) => {
            None
        }
    }
}

fn same_end(expected: &RunFinished, actual: &RunFinished) -> bool {
    let code = |finished: &RunFinished| finished.failure.as_ref().map(|failure| failure.code.clone());
    (expected.status, &expected.output, code(expected), expected.cost, expected.content_hash)
        == (actual.status, &actual.output, code(actual), actual.cost, actual.content_hash)
}

/// What an event says, for a drift report.
fn describe(event: &Event) -> Value {
    match event {
        Event::EffectRequested { effect, request } => match request {
            Requested::Call { skill, input } => {
                json!({"asks": "call", "effect": effect, "skill": skill, "input": input})
            }
            Requested::Child { workflow, input } => {
                json!({"asks": "child", "effect": effect, "workflow": workflow, "input": input})
            }
            Requested::Sleep { duration_ms } => json!({"asks": "sleep", "effect": effect, "duration_ms": duration_ms}),
            Requested::Signal { name } => json!({"asks": "signal", "effect": effect, "name": name}),
            Requested::Now => json!({"asks": "now", "effect": effect}),
            Requested::Random => json!({"asks": "random", "effect": effect}),
            Requested::Patched { name } => json!({"asks": "patched", "effect": effect, "name": name}),
        },
        Event::EffectCompleted { effect, output, .. } => json!({"effect": effect, "output": output}),
        Event::AttemptFailed { effect, failure, .. } => json!({"effect": effect, "attempt_failed": failure}),
        Event::EffectFailed { effect, failure, .. } => json!({"effect": effect, "failed": failure}),
        Event::SignalReceived { name, .. } => json!({"signal": name}),
        Event::CancelRequested { reason, .. } => json!({"cancelled": reason}),
        Event::RunStarted(started) => json!({
            "budget": started.budget, "input": started.input, "plan": started.plan, "seed": started.seed,
            "workflow": started.workflow,
        }),
        Event::RunFinished(finished) => {
            json!({
                "status": finished.status.as_str(), "output": finished.output, "cost": finished.cost,
                "failure": finished.failure.as_ref().map(|failure| &failure.code),
                "content_hash": finished.content_hash,
            })
        }
    }
}
