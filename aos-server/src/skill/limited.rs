//! Limits on how many attempts of a skill are under way at the same time, in all processes.
//!
//! An attempt of a limited skill waits for a slot before it begins. The slot is a lease, prolonged while the attempt
//! goes on, so that those of a dead process come back by themselves.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aos_core::BoxFuture;
use aos_core::id::{SkillId, TenantId, WorkerId};
use aos_core::random::{Rng, Seed};
use aos_core::skill::{Skill, SkillCall, SkillContract, SkillResult, SkillSource, SkillVersion};
use aos_core::slots::{Admission, Slot, SlotStore};
use tokio_util::sync::CancellationToken;

/// How often the limits are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The pause before asking for a slot again, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The limits of this process's skills, and the slots that it holds. Cheap to clone.
#[derive(Clone)]
pub struct SkillLimits(Arc<Inner>);

struct Inner {
    store: Arc<dyn SlotStore>,
    tenant: TenantId,
    holder: WorkerId,
    lease: Duration,
    limited: Mutex<BTreeSet<SkillId>>,
    held: Mutex<HashSet<Slot>>,
}

impl SkillLimits {
    /// The limits in `store`; slots are asked for in the name of `holder`, for `lease`. None are known until
    /// [`SkillLimits::refresh`].
    pub fn new(store: Arc<dyn SlotStore>, tenant: TenantId, holder: WorkerId, lease: Duration) -> Self {
        let (limited, held) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { store, tenant, holder, lease, limited, held }))
    }

    /// Skills of `source`, whose attempts keep the limits.
    pub fn around(&self, source: Arc<dyn SkillSource>) -> Arc<dyn SkillSource> {
        Arc::new(LimitedSource { source, limits: self.clone() })
    }

    /// Looks at the limits in the store.
    ///
    /// # Errors
    /// A store that fails; the limits known so far stay.
    pub async fn refresh(&self) -> Result<(), aos_core::runs::StoreError> {
        let limits = self.0.store.limits(&self.0.tenant).await?;
        *lock(&self.0.limited) = limits.into_iter().map(|limit| limit.skill).collect();
        Ok(())
    }

    /// Looks at the limits and prolongs the slots in hand, until `done`.
    pub async fn keep(self, done: CancellationToken) {
        let inner = &self.0;
        let mut beat = tokio::time::interval(LOOK.min(inner.lease / 3));
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = done.cancelled() => return,
                _ = beat.tick() => {}
            }
            if let Err(error) = self.refresh().await {
                tracing::debug!(error = &error as &dyn std::error::Error, "reading the limits of skills failed");
            }
            let held: Vec<_> = lock(&inner.held).iter().cloned().collect();
            if held.is_empty() {
                continue;
            }
            match inner.store.renew(&held, inner.lease).await {
                Ok(lost) => lost.iter().filter(|slot| lock(&inner.held).remove(slot)).for_each(|slot| {
                    tracing::warn!(skill = %slot.skill, "a slot was lost: for a while there is one attempt too many");
                }),
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "prolonging slots failed"),
            }
        }
    }

    fn is_limited(&self, skill: &SkillId) -> bool {
        lock(&self.0.limited).contains(skill)
    }

    /// Waits until the skill has room; `None` when it has no limit any more. A store that fails grants nothing.
    async fn admit(&self, skill: &SkillId, call: &SkillCall) -> Option<Held> {
        let inner = &self.0;
        let mut dice = Rng::new(Seed::default(), &call.idempotency_key);
        let mut pause = FIRST_PAUSE;
        loop {
            match inner.store.acquire(&inner.tenant, skill, &inner.holder, inner.lease).await {
                Ok(Admission::Unlimited) => return None,
                Ok(Admission::Granted(slot)) => return Some(Held::new(self.clone(), slot)),
                Ok(Admission::Full) => {}
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, %skill, "taking a slot failed"),
            }
            let ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tokio::time::sleep(Duration::from_millis(ms / 2 + dice.below(ms))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// A slot in hand. It is given back when this is dropped, however the attempt ends.
struct Held {
    limits: SkillLimits,
    slot: Slot,
}

impl Held {
    fn new(limits: SkillLimits, slot: Slot) -> Self {
        lock(&limits.0.held).insert(slot.clone());
        Self { limits, slot }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.limits.0.held).remove(&self.slot);
        let (store, slot) = (Arc::clone(&self.limits.0.store), self.slot.clone());
        // Without a runtime the process is ending, and the slot's deadline gives it back.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = store.release(&slot).await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "giving a slot back failed");
                }
            });
        }
    }
}

struct LimitedSource {
    source: Arc<dyn SkillSource>,
    limits: SkillLimits,
}

impl SkillSource for LimitedSource {
    fn skill(&self, version: &SkillVersion) -> Option<Arc<dyn Skill>> {
        let skill = self.source.skill(version)?;
        if !self.limits.is_limited(&version.id) {
            return Some(skill);
        }
        Some(Arc::new(LimitedSkill { skill, limits: self.limits.clone() }))
    }
}

struct LimitedSkill {
    skill: Arc<dyn Skill>,
    limits: SkillLimits,
}

impl Skill for LimitedSkill {
    fn contract(&self) -> &SkillContract {
        self.skill.contract()
    }

    fn call(&self, call: SkillCall) -> BoxFuture<'_, SkillResult> {
        Box::pin(async move {
            let _held = self.limits.admit(&self.contract().version.id, &call).await;
            self.skill.call(call).await
        })
    }
}

/// Both sets stay consistent whatever panicked while holding the lock: every change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aos_core::memory::MemorySlots;
    use aos_core::registry::Registry;
    use aos_core::skill::{SkillOutput, TypedSkill};
    use aos_core::{Failure, Payload};

    use super::*;
    use crate::clock::{self, SystemClock};

    /// Two processes, a skill that says how many attempts of it are under way, and its limit.
    async fn most_at_once(limit: Option<u32>) -> usize {
        let store: Arc<dyn SlotStore> = Arc::new(MemorySlots::new(Arc::new(SystemClock)));
        let tenant = TenantId::default();
        store.limit(&tenant, &"busy".parse().unwrap(), limit).await.unwrap();
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let registry = Registry::new();
        let counted = (Arc::clone(&now), Arc::clone(&most));
        let skill = TypedSkill::untyped(SkillContract::pure("busy", "1.0.0").unwrap(), move |_| {
            let (now, most) = counted.clone();
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, Failure>(SkillOutput::from(Payload::null()))
            }
        });
        registry.register(Arc::new(skill), clock::now()).unwrap();
        let mut attempts = tokio::task::JoinSet::new();
        for process in ["one", "two"] {
            let limits =
                SkillLimits::new(Arc::clone(&store), tenant.clone(), process.parse().unwrap(), Duration::from_secs(9));
            limits.refresh().await.unwrap();
            let skills = limits.around(Arc::new(registry.clone()));
            for attempt in 0..8 {
                let skill = skills.skill(&"busy@1.0.0".parse().unwrap()).unwrap();
                let call = SkillCall {
                    run: "run".parse().unwrap(),
                    tenant: tenant.clone(),
                    workflow: None,
                    api_key: None,
                    trace: None,
                    effect: "effect".parse().unwrap(),
                    attempt: 1,
                    idempotency_key: format!("{process}-{attempt}"),
                    input: Payload::null(),
                    seed: Seed::default(),
                    deadline: None,
                };
                attempts.spawn(async move { skill.call(call).await });
            }
        }
        while let Some(ended) = attempts.join_next().await {
            ended.unwrap().unwrap();
        }
        most.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn a_limit_holds_over_processes() {
        assert_eq!(most_at_once(Some(2)).await, 2);
        assert!(most_at_once(None).await > 2);
    }
}
