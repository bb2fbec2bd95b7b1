//! Wakes every worker that waits for work.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

/// Clones ring the same bell.
#[derive(Clone, Default)]
pub(super) struct Bell(Arc<Mutex<(u64, Vec<Waker>)>>);

impl Bell {
    pub(super) fn ring(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += 1;
        let wakers = std::mem::take(&mut state.1);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How often it has rung: take this before looking for work, so that no ring is missed.
    pub(super) fn rings(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// Resolves once it has rung more often than `heard`.
    pub(super) async fn after(&self, heard: u64) {
        poll_fn(|context| {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.0 > heard {
                return Poll::Ready(());
            }
            state.1.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
