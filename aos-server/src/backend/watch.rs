//! Who waits for which changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aos_core::id::{RunId, TenantId};
use tokio::sync::Notify;

/// What can be waited for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::backend) enum Topic {
    /// A run's inbox and end.
    Run(TenantId, RunId),
    /// A tenant's registry.
    Registry(TenantId),
}

impl Topic {
    /// The run, when it is one.
    pub(in crate::backend) const fn run(&self) -> Option<(&TenantId, &RunId)> {
        match self {
            Self::Run(tenant, run) => Some((tenant, run)),
            Self::Registry(_) => None,
        }
    }
}

/// Wakes those who wait.
#[derive(Default)]
pub(in crate::backend) struct Waiters {
    topics: Mutex<HashMap<Topic, Arc<Notify>>>,
    tell: OnceLock<Tell>,
}

/// Tells other processes of a change.
type Tell = Box<dyn Fn(&Topic) + Send + Sync>;

impl Waiters {
    /// Begins to wait. Begin first and look at the store after that, so that no change is lost in between.
    pub(in crate::backend) fn watch(self: &Arc<Self>, topic: Topic) -> Watch {
        let notify = Arc::clone(self.topics().entry(topic.clone()).or_default());
        Watch { waiters: Arc::clone(self), topic, notify }
    }

    /// Has other processes told, too, of what this one changes.
    pub(in crate::backend) fn tell_others(&self, tell: impl Fn(&Topic) + Send + Sync + 'static) {
        // Whoever is first stays it.
        let _ = self.tell.set(Box::new(tell));
    }

    /// Says that this process has changed these: wakes those who wait for one of them, and has others told.
    pub(in crate::backend) fn notify(&self, changed: &[Topic]) {
        self.wake(changed);
        if let Some(tell) = self.tell.get() {
            changed.iter().for_each(tell);
        }
    }

    /// Wakes those who wait for one of these.
    pub(in crate::backend) fn wake(&self, changed: &[Topic]) {
        if changed.is_empty() {
            return;
        }
        let topics = self.topics();
        changed.iter().filter_map(|topic| topics.get(topic)).for_each(|notify| notify.notify_waiters());
    }

    /// Wakes everybody: something changed, nobody knows what.
    pub(in crate::backend) fn notify_all(&self) {
        self.topics().values().for_each(|notify| notify.notify_waiters());
    }

    pub(in crate::backend) fn is_empty(&self) -> bool {
        self.topics().is_empty()
    }

    /// What is waited for now.
    pub(in crate::backend) fn waited_for(&self) -> Vec<Topic> {
        self.topics().keys().cloned().collect()
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<Topic, Arc<Notify>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One wait for one topic.
pub(in crate::backend) struct Watch {
    waiters: Arc<Waiters>,
    topic: Topic,
    /// Woken at each change.
    pub(in crate::backend) notify: Arc<Notify>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut topics = self.waiters.topics();
        // The map's own and this one's.
        if Arc::strong_count(&self.notify) <= 2 {
            topics.remove(&self.topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_told_of_what_is_changed_here_and_of_nothing_else() {
        let (waiters, told) = (Arc::<Waiters>::default(), Arc::<Mutex<Vec<Topic>>>::default());
        let topic = Topic::Registry(TenantId::default());
        waiters.notify(std::slice::from_ref(&topic));
        waiters.tell_others({
            let told = Arc::clone(&told);
            move |topic| told.lock().unwrap().push(topic.clone())
        });
        waiters.wake(std::slice::from_ref(&topic));
        waiters.notify_all();
        assert!(told.lock().unwrap().is_empty());
        waiters.notify(std::slice::from_ref(&topic));
        assert_eq!(*told.lock().unwrap(), [topic]);
    }
}
