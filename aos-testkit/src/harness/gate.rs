//! A skill source that holds every result back until the scheduler lets it go, and writes down every call.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use aos_core::BoxFuture;
use aos_core::id::{EffectId, RunId};
use aos_core::payload::Payload;
use aos_core::random::Rng;
use aos_core::skill::{CrashClass, Skill, SkillCall, SkillContract, SkillResult, SkillSource, SkillVersion};

/// One attempt that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Called {
    /// The run.
    pub run: RunId,
    /// The effect.
    pub effect: EffectId,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The skill.
    pub skill: SkillVersion,
    /// Its crash class.
    pub crash: CrashClass,
    /// The key that must be the same for every attempt of the effect.
    pub idempotency_key: String,
    /// The input.
    pub input: Payload,
}

/// Results that are ready and held back, and the calls so far.
#[derive(Clone, Default)]
pub(super) struct Gates(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    next: u64,
    /// Whether a held result may go, and who waits for it. In order of arrival, which the executor's seed decides.
    held: BTreeMap<u64, (bool, Option<Waker>)>,
    calls: Vec<Called>,
}

impl Gates {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets one of the held results go; false when there is none.
    pub(super) fn release_one(&self, rng: &mut Rng) -> bool {
        let mut state = self.lock();
        let held: Vec<u64> = state.held.iter().filter(|(_, (open, _))| !open).map(|(key, _)| *key).collect();
        // Below the number of held results, so it fits.
        let Some(key) = held.get(rng.below(held.len() as u64) as usize) else { return false };
        let waker = state.held.get_mut(key).and_then(|held| {
            held.0 = true;
            held.1.take()
        });
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    pub(super) fn calls(&self) -> Vec<Called> {
        self.lock().calls.clone()
    }

    async fn pass(&self) {
        let mut place = Place { gates: self, key: None };
        poll_fn(|context| place.poll(context.waker())).await;
    }
}

struct Place<'a> {
    gates: &'a Gates,
    key: Option<u64>,
}

impl Place<'_> {
    fn poll(&mut self, waker: &Waker) -> Poll<()> {
        let mut state = self.gates.lock();
        let key = *self.key.get_or_insert_with(|| {
            state.next += 1;
            state.next
        });
        let held = state.held.entry(key).or_insert((false, None));
        if held.0 {
            return Poll::Ready(());
        }
        held.1 = Some(waker.clone());
        Poll::Pending
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.gates.lock().held.remove(&key);
        }
    }
}

/// The skills of `inner`, gated.
pub(super) struct Gated {
    pub(super) inner: Arc<dyn SkillSource>,
    pub(super) gates: Gates,
}

impl SkillSource for Gated {
    fn skill(&self, version: &SkillVersion) -> Option<Arc<dyn Skill>> {
        let inner = self.inner.skill(version)?;
        Some(Arc::new(GatedSkill { inner, gates: self.gates.clone() }))
    }
}

struct GatedSkill {
    inner: Arc<dyn Skill>,
    gates: Gates,
}

impl Skill for GatedSkill {
    fn contract(&self) -> &SkillContract {
        self.inner.contract()
    }

    fn call(&self, call: SkillCall) -> BoxFuture<'_, SkillResult> {
        Box::pin(async move {
            let contract = self.inner.contract();
            self.gates.lock().calls.push(Called {
                run: call.run.clone(),
                effect: call.effect.clone(),
                attempt: call.attempt,
                skill: contract.version.clone(),
                crash: contract.crash,
                idempotency_key: call.idempotency_key.clone(),
                input: call.input.clone(),
            });
            let result = self.inner.call(call).await;
            self.gates.pass().await;
            result
        })
    }
}
