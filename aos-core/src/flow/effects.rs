//! What a workflow's futures and the program that polls them share.

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::canonical::push_integer;
use crate::engine::EffectResult;
use crate::error::{Failure, codes};
use crate::event::{Command, Request};
use crate::fast_map::FastMap;
use crate::flow::Patches;
use crate::id::EffectId;
use crate::money::Money;
use crate::skill::SkillVersion;
use crate::workflow::Plan;

/// The shared state, behind one lock that is held for moments only.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<State>>);

struct State {
    plan: Arc<Plan>,
    /// Requests that the engine has not taken yet.
    requests: Vec<Request>,
    /// Every effect that was asked for.
    slots: FastMap<EffectId, Slot>,
    /// How many of them have no result yet.
    outstanding: usize,
    counters: FastMap<String, u64>,
    patches: Patches,
    patched: BTreeMap<String, bool>,
    /// The pin that each requirement has selected.
    selected: FastMap<String, SkillVersion>,
}

/// Where the result of an effect is left for the future that waits for it.
enum Slot {
    Asked(Option<Waker>),
    Ready(EffectResult, Money),
    Taken,
}

impl Shared {
    pub(super) fn new(plan: Arc<Plan>, patches: Patches) -> Self {
        Self(Arc::new(Mutex::new(State {
            plan,
            requests: Vec::new(),
            slots: FastMap::default(),
            outstanding: 0,
            counters: FastMap::default(),
            patches,
            patched: BTreeMap::new(),
            selected: FastMap::default(),
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

    pub(super) fn take_requests(&self, into: &mut Vec<Request>) {
        into.append(&mut self.lock().requests);
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.lock().outstanding > 0
    }

    pub(super) fn resolve(&self, effect: &EffectId, result: &EffectResult, cost: Money) {
        let mut state = self.lock();
        let Some(slot) = state.slots.get_mut(effect) else { return };
        let Slot::Asked(waker) = slot else { return };
        let waker = waker.take();
        *slot = Slot::Ready(result.clone(), cost);
        state.outstanding -= 1;
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
        push_integer(&mut name, count);
        name
    }

    /// Asks for an effect.
    fn request(&self, name: String, command: Result<Command, Failure>) -> Result<EffectId, Failure> {
        let mut state = self.lock();
        let effect = EffectId::new(&name).map_err(|error| Failure::new(codes::EFFECT_ID_INVALID, error.to_string()))?;
        match state.slots.entry(effect.clone()) {
            Entry::Vacant(slot) => slot.insert(Slot::Asked(None)),
            Entry::Occupied(_) => {
                let message =
                    format!("the effect name {effect} is used twice: name each effect of one scope differently");
                return Err(Failure::new(codes::EFFECT_ID_INVALID, message));
            }
        };
        state.outstanding += 1;
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
    /// Enough for the number that most names end with.
    const NUMBER: usize = 8;
    let mut joined = String::with_capacity(scope.len() + 1 + name.len() + NUMBER);
    if !scope.is_empty() {
        joined.push_str(scope);
        joined.push('/');
    }
    joined.push_str(name);
    joined
}

/// What a future waits for.
enum Source {
    Waiting { shared: Shared, effect: EffectId },
    Failed(Failure),
    Taken,
}

/// An effect that has been asked for: await it for its result.
///
/// Dropping it does not withdraw the effect; its result is ignored then.
#[must_use = "the effect has been asked for; await it for its result"]
pub struct Pending<T> {
    source: Source,
    convert: fn(EffectResult, Money) -> T,
}

impl<T> Pending<T> {
    pub(super) fn new(
        shared: &Shared,
        name: String,
        command: Result<Command, Failure>,
        convert: fn(EffectResult, Money) -> T,
    ) -> Self {
        let source = match shared.request(name, command) {
            Ok(effect) => Source::Waiting { shared: shared.clone(), effect },
            Err(failure) => Source::Failed(failure),
        };
        Self { source, convert }
    }
}

impl<T> Future for Pending<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let (result, cost) = match &self.source {
            Source::Waiting { shared, effect } => {
                let mut state = shared.lock();
                // It was put there when this future was made.
                let Some(slot) = state.slots.get_mut(effect) else { return Poll::Pending };
                match std::mem::replace(slot, Slot::Taken) {
                    Slot::Ready(result, cost) => (result, cost),
                    Slot::Asked(_) | Slot::Taken => {
                        *slot = Slot::Asked(Some(context.waker().clone()));
                        return Poll::Pending;
                    }
                }
            }
            Source::Failed(failure) => (Err(failure.clone()), Money::ZERO),
            // Polled again after the end, which no caller may do; a future must not panic for it.
            Source::Taken => return Poll::Pending,
        };
        self.source = Source::Taken;
        Poll::Ready((self.convert)(result, cost))
    }
}
