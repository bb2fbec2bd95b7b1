//! What a workflow's futures and the program that polls them share.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::engine::EffectResult;
use crate::error::{Failure, codes};
use crate::event::{Command, Request};
use crate::flow::Patches;
use crate::id::EffectId;
use crate::skill::SkillVersion;
use crate::workflow::Plan;

/// The shared state, behind one lock that is held for moments only.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<State>>);

struct State {
    plan: Arc<Plan>,
    /// Requests that the engine has not taken yet.
    requests: Vec<Request>,
    /// Results that no future has taken yet.
    results: HashMap<EffectId, EffectResult>,
    wakers: HashMap<EffectId, Waker>,
    outstanding: HashSet<EffectId>,
    used: HashSet<EffectId>,
    counters: HashMap<String, u64>,
    patches: Patches,
    patched: BTreeMap<String, bool>,
    /// The pin that each requirement has selected.
    selected: HashMap<String, SkillVersion>,
}

impl Shared {
    pub(super) fn new(plan: Arc<Plan>, patches: Patches) -> Self {
        Self(Arc::new(Mutex::new(State {
            plan,
            requests: Vec::new(),
            results: HashMap::new(),
            wakers: HashMap::new(),
            outstanding: HashSet::new(),
            used: HashSet::new(),
            counters: HashMap::new(),
            patches,
            patched: BTreeMap::new(),
            selected: HashMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding the lock; should it ever, the state is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.lock().plan)
    }

    /// The pinned skill that a requirement selects.
    pub(super) fn select(&self, requirement: &str) -> Result<SkillVersion, Failure> {
        let mut state = self.lock();
        if let Some(skill) = state.selected.get(requirement) {
            return Ok(skill.clone());
        }
        let skill = state.plan.select(requirement)?.skill.clone();
        state.selected.insert(requirement.to_owned(), skill.clone());
        Ok(skill)
    }

    pub(super) fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.lock().requests)
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.lock().outstanding.is_empty()
    }

    pub(super) fn resolve(&self, effect: &EffectId, result: &EffectResult) {
        let mut state = self.lock();
        if state.outstanding.remove(effect) {
            state.results.insert(effect.clone(), result.clone());
        }
        let waker = state.wakers.remove(effect);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// From now on every code change is known: what follows is not in the journal.
    pub(super) fn go_live(&self) {
        self.lock().patches = Patches::new(None);
    }

    /// The name of the next thing called `what` in `scope`: `scope/what:1`, `scope/what:2`, ….
    pub(super) fn next_name(&self, scope: &str, what: &str) -> String {
        let mut name = join(scope, what);
        let mut state = self.lock();
        let count = match state.counters.get_mut(&name) {
            Some(counter) => {
                *counter += 1;
                *counter
            }
            None => {
                state.counters.insert(name.clone(), 1);
                1
            }
        };
        drop(state);
        name.push(':');
        name.push_str(&count.to_string());
        name
    }

    /// Asks for an effect.
    fn request(&self, name: String, command: Result<Command, Failure>) -> Result<EffectId, Failure> {
        let mut state = self.lock();
        let effect = EffectId::new(&name).map_err(|error| Failure::new(codes::EFFECT_ID_INVALID, error.to_string()))?;
        if !state.used.insert(effect.clone()) {
            let message = format!("the effect name {effect} is used twice: name each effect of one scope differently");
            return Err(Failure::new(codes::EFFECT_ID_INVALID, message));
        }
        state.outstanding.insert(effect.clone());
        state.requests.push(Request { effect: effect.clone(), command: command.unwrap_or_else(Command::Fail) });
        Ok(effect)
    }

    pub(super) fn patched(&self, scope: &str, name: &str) -> bool {
        let mut state = self.lock();
        if let Some(known) = state.patched.get(name) {
            return *known;
        }
        let known = state.patches.knows(name);
        state.patched.insert(name.to_owned(), known);
        if known && let Ok(effect) = EffectId::new(format!("{}:{name}", join(scope, "patched"))) {
            state.requests.push(Request { effect, command: Command::Patched { name: name.to_owned() } });
        }
        known
    }
}

pub(super) fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}/{name}") }
}

/// Where the result of one effect will be.
enum Slot {
    Waiting { shared: Shared, effect: EffectId },
    Failed(Failure),
    Taken,
}

/// An effect that has been asked for: await it for its result.
///
/// Dropping it does not withdraw the effect; its result is ignored then.
#[must_use = "the effect has been asked for; await it for its result"]
pub struct Pending<T> {
    slot: Slot,
    convert: fn(EffectResult) -> T,
}

impl<T> Pending<T> {
    pub(super) fn new(
        shared: &Shared,
        name: String,
        command: Result<Command, Failure>,
        convert: fn(EffectResult) -> T,
    ) -> Self {
        let slot = match shared.request(name, command) {
            Ok(effect) => Slot::Waiting { shared: shared.clone(), effect },
            Err(failure) => Slot::Failed(failure),
        };
        Self { slot, convert }
    }
}

impl<T> Future for Pending<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let result = match &self.slot {
            Slot::Waiting { shared, effect } => {
                let mut state = shared.lock();
                match state.results.remove(effect) {
                    Some(result) => result,
                    None => {
                        state.wakers.insert(effect.clone(), context.waker().clone());
                        return Poll::Pending;
                    }
                }
            }
            Slot::Failed(failure) => Err(failure.clone()),
            // Polled again after the end, which no caller may do; a future must not panic for it.
            Slot::Taken => return Poll::Pending,
        };
        self.slot = Slot::Taken;
        Poll::Ready((self.convert)(result))
    }
}
