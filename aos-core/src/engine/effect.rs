//! What the engine knows of each effect of the run.

use serde_json::Value;

use crate::canonical::Hash;
use crate::engine::content::Leaf;
use crate::engine::timer::TimerKey;
use crate::error::Code;
use crate::event::Requested;
use crate::fast_map::FastMap;
use crate::id::EffectId;
use crate::money::Money;
use crate::payload::Payload;
use crate::retry::RetryPolicy;
use crate::skill::CrashClass;
use crate::time::Timestamp;

/// An effect that has been requested and has not ended.
pub(super) struct Pending {
    pub(super) request: Requested,
    /// The attempt in flight, or the one that is waited for; from 1.
    pub(super) attempt: u32,
    /// Whether the attempt is with the host; not while waiting for a retry, a timer or a signal.
    pub(super) in_flight: bool,
    /// Whether the request was read back from the journal, so that an earlier process may have carried it out.
    pub(super) durable: bool,
    /// The order in which effects were requested.
    pub(super) place: u64,
    pub(super) timer: Option<TimerKey>,
    /// When the attempt in flight is given up.
    pub(super) deadline: Option<Timestamp>,
    pub(super) policy: CallPolicy,
    /// Codes of the attempts that failed.
    pub(super) failed: Vec<Code>,
    pub(super) spent: Money,
}

/// By what rules a call is made.
#[derive(Clone, Debug)]
pub(super) struct CallPolicy {
    pub(super) crash: CrashClass,
    pub(super) retry: RetryPolicy,
    pub(super) timeout_ms: Option<u64>,
    pub(super) estimate: Money,
    pub(super) volatile: Vec<String>,
}

impl CallPolicy {
    /// For effects that are not skill calls.
    pub(super) const fn plain() -> Self {
        Self {
            crash: CrashClass::Idempotent,
            retry: RetryPolicy::never(),
            timeout_ms: None,
            estimate: Money::ZERO,
            volatile: Vec::new(),
        }
    }
}

enum State {
    Pending(Box<Pending>),
    Ended(Leaf),
    /// Between the two.
    Taken,
}

/// All effects of a run by id.
#[derive(Default)]
pub(super) struct Effects {
    states: FastMap<EffectId, State>,
    pending: u64,
}

impl Effects {
    pub(super) fn requested(&self) -> u64 {
        self.states.len() as u64
    }

    pub(super) const fn pending_count(&self) -> u64 {
        self.pending
    }

    pub(super) fn contains(&self, effect: &EffectId) -> bool {
        self.states.contains_key(effect)
    }

    pub(super) fn pending(&mut self, effect: &EffectId) -> Option<&mut Pending> {
        match self.states.get_mut(effect) {
            Some(State::Pending(pending)) => Some(pending),
            Some(State::Ended(_) | State::Taken) | None => None,
        }
    }

    pub(super) fn begin(&mut self, effect: EffectId, pending: Pending) {
        self.pending += 1;
        self.states.insert(effect, State::Pending(Box::new(pending)));
    }

    /// Takes a pending effect out, for [`Effects::end`] to put its leaf in.
    pub(super) fn take(&mut self, effect: &EffectId) -> Option<Box<Pending>> {
        let state = self.states.get_mut(effect)?;
        match std::mem::replace(state, State::Taken) {
            State::Pending(pending) => {
                self.pending -= 1;
                Some(pending)
            }
            other => {
                *state = other;
                None
            }
        }
    }

    pub(super) fn end(&mut self, effect: &EffectId, leaf: Leaf) {
        match self.states.get_mut(effect) {
            Some(state) => *state = State::Ended(leaf),
            None => drop(self.states.insert(effect.clone(), State::Ended(leaf))),
        }
    }

    /// The pending effects in the order in which they were requested.
    pub(super) fn in_request_order(&mut self) -> Vec<(EffectId, &mut Pending)> {
        let mut pending: Vec<_> = self
            .states
            .iter_mut()
            .filter_map(|(effect, state)| match state {
                State::Pending(pending) => Some((effect.clone(), &mut **pending)),
                State::Ended(_) | State::Taken => None,
            })
            .collect();
        pending.sort_by_key(|(_, pending)| pending.place);
        pending
    }

    /// The leaves of all ended effects in the order of their ids.
    pub(super) fn leaves(&self) -> Vec<(&EffectId, &Leaf)> {
        let mut leaves: Vec<_> = self
            .states
            .iter()
            .filter_map(|(effect, state)| match state {
                State::Ended(leaf) => Some((effect, leaf)),
                State::Pending(_) | State::Taken => None,
            })
            .collect();
        leaves.sort_unstable_by_key(|(effect, _)| *effect);
        leaves
    }
}

/// The hash of `output` without its volatile fields.
pub(super) fn stable_hash(output: &Payload, volatile: &[String]) -> Hash {
    if volatile.is_empty() {
        return output.hash();
    }
    Hash::of(crate::canonical::write(&stable(output, volatile)))
}

/// `output` without its volatile fields.
pub(crate) fn stable(output: &Payload, volatile: &[String]) -> Value {
    let mut value = output.value().clone();
    for pointer in volatile {
        remove(&mut value, pointer);
    }
    value
}

fn remove(value: &mut Value, pointer: &str) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    if let Some(Value::Object(fields)) = value.pointer_mut(parent) {
        fields.remove(&key.replace("~1", "/").replace("~0", "~"));
    }
}
