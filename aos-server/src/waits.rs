//! What an open run waits for, as its journal tells it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use aos_core::driver::Host;
use aos_core::id::{EffectId, RunId};
use aos_core::journal::Line;
use aos_core::runs::{InboxItem, Message, RunRecord};
use aos_core::skill::SkillVersion;
use aos_core::time::Timestamp;
use aos_core::workflow::WorkflowVersion;
use aos_core::{Failure, codes};
use serde::Deserialize;

/// Lines read from a store at a time.
const PAGE: usize = 1_000;

/// An effect that has been asked for and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Which effect.
    pub effect: EffectId,
    /// When it was asked for, or its last attempt failed.
    pub since: Timestamp,
    /// What has to happen.
    pub on: On,
}

/// What has to happen for an effect to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// A signal comes.
    Signal {
        /// Its name.
        name: String,
    },
    /// Time passes.
    Timer {
        /// When it has.
        until: Timestamp,
    },
    /// The pause after a failed attempt is over.
    Retry {
        /// The next attempt.
        attempt: u32,
        /// When it is made.
        until: Timestamp,
    },
    /// A child run ends.
    Child {
        /// The child.
        run: RunId,
        /// Its workflow.
        workflow: WorkflowVersion,
    },
    /// A skill gives its result.
    Skill {
        /// The skill.
        skill: SkillVersion,
    },
}

/// The part of an entry that matters here: payloads don't, and they may be large, or elsewhere.
#[derive(Deserialize)]
struct Told<'a> {
    at: Timestamp,
    attempt: Option<u32>,
    duration_ms: Option<u64>,
    effect: Option<EffectId>,
    #[serde(borrow, rename = "type")]
    event: Cow<'a, str>,
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    retry_at: Option<Timestamp>,
    run: Option<RunId>,
    seq: Option<u64>,
    skill: Option<SkillVersion>,
    workflow: Option<WorkflowVersion>,
}

/// The effects of a run that have not ended, in the course of its journal.
#[derive(Debug, Default)]
pub struct Waits {
    run: Option<RunId>,
    open: BTreeMap<EffectId, (u64, Wait)>,
    asked: u64,
    /// Effects that wait for signals, and signals that nobody has waited for yet, by name.
    waiting: HashMap<String, VecDeque<EffectId>>,
    unread: HashMap<String, u64>,
    seen: u64,
}

impl Waits {
    /// Reads a run's journal, unless it has more entries than `at_most`.
    ///
    /// # Errors
    /// A store that fails, or an entry that is damaged there.
    pub async fn read(host: &Host, record: &RunRecord, at_most: u64) -> Result<Option<Self>, Failure> {
        let mut waits = Self::default();
        let mut from = 0;
        loop {
            let page = host.stores.journal.read(&record.new.tenant, &record.new.run, from, PAGE).await?;
            from += page.len() as u64;
            if from > at_most {
                return Ok(None);
            }
            page.iter().try_for_each(|line| waits.learn(line))?;
            if page.len() < PAGE {
                return Ok(Some(waits));
            }
        }
    }

    /// Takes the next line of the journal.
    ///
    /// # Errors
    /// [`codes::JOURNAL_CORRUPT`] for a line that is not an entry.
    pub fn learn(&mut self, line: &Line) -> Result<(), Failure> {
        let told: Told<'_> = serde_json::from_str(line.as_str())
            .map_err(|e| Failure::new(codes::JOURNAL_CORRUPT, format!("an entry is malformed: {e}")))?;
        match (&*told.event, told.effect) {
            ("run_started", _) => self.run = told.run,
            ("effect_requested", Some(effect)) => {
                let on = match told.kind.as_deref() {
                    Some("call") => told.skill.map(|skill| On::Skill { skill }),
                    Some("child") => {
                        let run = self.run.as_ref().and_then(|parent| RunId::new(effect.key_in(parent)).ok());
                        run.zip(told.workflow).map(|(run, workflow)| On::Child { run, workflow })
                    }
                    Some("sleep") => {
                        let duration = told.duration_ms.map(Duration::from_millis);
                        duration.map(|duration| On::Timer { until: told.at.saturating_add(duration) })
                    }
                    Some("signal") => told.name.map(|name| On::Signal { name: name.into_owned() }),
                    // The others are answered in the same breath.
                    _ => None,
                };
                self.asked(effect, told.at, on);
            }
            ("attempt_failed", Some(effect)) => {
                if let (Some((_, wait)), Some(until)) = (self.open.get_mut(&effect), told.retry_at) {
                    wait.since = told.at;
                    wait.on = On::Retry { attempt: told.attempt.unwrap_or_default().saturating_add(1), until };
                }
            }
            ("effect_completed" | "effect_failed", Some(effect)) => self.ended(&effect),
            ("signal_received", _) => {
                self.seen = told.seq.unwrap_or(self.seen);
                self.signal(told.name.unwrap_or_default().into_owned());
            }
            ("cancel_requested", _) => self.seen = told.seq.unwrap_or(self.seen),
            ("run_finished", _) => *self = Self { seen: self.seen, ..Self::default() },
            _ => {}
        }
        Ok(())
    }

    /// Takes a message that is in the inbox and not in the journal yet.
    pub fn expect(&mut self, item: InboxItem) {
        if let Message::Signal { name, .. } = item.message {
            self.signal(name);
        }
    }

    /// The last inbox number that the journal has.
    pub fn inbox_seen(&self) -> u64 {
        self.seen
    }

    /// The names of the signals that are waited for, each once, those first that are waited for longest.
    pub fn signals(&self) -> Vec<String> {
        let mut names = Vec::new();
        for wait in self.list() {
            if let On::Signal { name } = wait.on
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        names
    }

    /// What is waited for, in the order in which it was asked for.
    pub fn list(&self) -> Vec<Wait> {
        let mut waits: Vec<_> = self.open.values().collect();
        waits.sort_unstable_by_key(|(place, _)| *place);
        waits.into_iter().map(|(_, wait)| wait.clone()).collect()
    }

    fn asked(&mut self, effect: EffectId, since: Timestamp, on: Option<On>) {
        let Some(on) = on else { return };
        if let On::Signal { name } = &on {
            if let Some(unread) = self.unread.get_mut(name).filter(|unread| **unread > 0) {
                *unread -= 1;
                return;
            }
            self.waiting.entry(name.clone()).or_default().push_back(effect.clone());
        }
        self.asked += 1;
        self.open.insert(effect.clone(), (self.asked, Wait { effect, since, on }));
    }

    fn ended(&mut self, effect: &EffectId) {
        let Some((_, wait)) = self.open.remove(effect) else { return };
        if let On::Signal { name } = wait.on
            && let Some(queue) = self.waiting.get_mut(&name)
        {
            queue.retain(|waiting| waiting != effect);
        }
    }

    /// A signal goes to whoever has waited for it longest, or is kept.
    fn signal(&mut self, name: String) {
        match self.waiting.get_mut(&name).and_then(VecDeque::pop_front) {
            Some(effect) => drop(self.open.remove(&effect)),
            None => *self.unread.entry(name).or_default() += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use aos_core::Payload;
    use serde_json::{Value, json};

    use super::*;

    fn waits(lines: &[Value]) -> Waits {
        let mut waits = Waits { run: RunId::new("r").ok(), ..Waits::default() };
        for line in lines {
            waits.learn(&Line::new(line.to_string())).unwrap();
        }
        waits
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    fn asks(effect: &str, name: &str) -> Value {
        json!({"at": 1, "effect": effect, "kind": "signal", "name": name, "type": "effect_requested"})
    }

    fn comes(seq: u64, name: &str) -> Value {
        json!({"at": 2, "input": "x", "name": name, "seq": seq, "type": "signal_received"})
    }

    #[test]
    fn signals_go_to_who_has_waited_longest_and_are_kept_for_who_comes_later() {
        let failed = json!({"at": 2, "attempt": 1, "effect": "a", "failure": {}, "type": "effect_failed"});
        for (lines, open, signals) in [
            (vec![asks("a", "go")], &["a"][..], &["go"][..]),
            (vec![asks("a", "go"), comes(1, "go")], &[], &[]),
            (vec![comes(1, "go"), asks("a", "go"), asks("b", "go")], &["b"], &["go"]),
            (vec![asks("b", "go"), asks("a", "go"), comes(1, "go")], &["a"], &["go"]),
            (vec![asks("a", "go"), comes(1, "stop"), asks("b", "no")], &["a", "b"], &["go", "no"]),
            (vec![asks("a", "go"), asks("b", "go"), failed.clone(), comes(1, "go")], &[], &[]),
            (vec![asks("a", "go"), json!({"at": 3, "type": "run_finished"})], &[], &[]),
        ] {
            let found = waits(&lines);
            let list: Vec<_> = found.list().into_iter().map(|wait| wait.effect.to_string()).collect();
            assert_eq!((list, found.signals()), (owned(open), owned(signals)), "{lines:?}");
        }
    }

    #[test]
    fn every_kind_of_effect_is_waited_for_in_its_way() {
        let request = |kind: &str, more: Value| {
            let mut line = json!({"at": 1_000, "effect": "e", "kind": kind, "type": "effect_requested"});
            line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            line
        };
        let call = request("call", json!({"input": null, "skill": "echo@1.0.0"}));
        let retry = json!({"at": 2_000, "attempt": 2, "effect": "e", "failure": {}, "retry_at": 9_000, "type": "attempt_failed"});
        let child = RunId::new(EffectId::new("e").unwrap().key_in(&RunId::new("r").unwrap())).unwrap();
        let at = Timestamp::from_millis;
        for (lines, since, on) in [
            (vec![call.clone()], 1_000, On::Skill { skill: "echo@1.0.0".parse().unwrap() }),
            (vec![call, retry], 2_000, On::Retry { attempt: 3, until: at(9_000) }),
            (vec![request("sleep", json!({"duration_ms": 500}))], 1_000, On::Timer { until: at(1_500) }),
            (
                vec![request("child", json!({"input": null, "workflow": "w@1.0.0"}))],
                1_000,
                On::Child { run: child, workflow: "w@1.0.0".parse().unwrap() },
            ),
        ] {
            let effect = EffectId::new("e").unwrap();
            assert_eq!(waits(&lines).list(), [Wait { effect, since: at(since), on }], "{lines:?}");
        }
        assert!(waits(&[request("now", json!({})), request("random", json!({}))]).list().is_empty());
    }

    #[test]
    fn a_message_on_its_way_counts() {
        let mut found = waits(&[asks("a", "go"), asks("b", "go"), comes(4, "other")]);
        assert_eq!(found.inbox_seen(), 4);
        let message = Message::Signal { name: "go".into(), payload: Payload::null() };
        found.expect(InboxItem { seq: 5, message: message.clone() });
        assert_eq!(found.signals(), ["go"]);
        found.expect(InboxItem { seq: 6, message });
        assert!(found.signals().is_empty());
    }
}
