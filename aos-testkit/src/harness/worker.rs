//! The loop of one simulated worker: claims runs, drives them, and dies when told.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use aos_core::driver::{Host, Observer, drive};
use aos_core::id::{RunId, TenantId};
use aos_core::runs::Lease;
use aos_core::{BoxFuture, Failure};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::bell::Bell;
use super::tap::Tap;

/// What the workers of one simulation share.
pub(super) struct Yard {
    pub(super) tap: Arc<Tap>,
    pub(super) bell: Bell,
    pub(super) tenant: TenantId,
    pub(super) root: RunId,
    pub(super) end: Mutex<Option<Result<(), Failure>>>,
}

impl Yard {
    pub(super) fn end(&self, result: Result<(), Failure>) {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(result);
        self.bell.ring();
    }

    fn has_ended(&self) -> bool {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// The leases of a worker, those that the driver took for child runs included.
#[derive(Default)]
pub(super) struct Leases(Mutex<Hand>);

#[derive(Default)]
struct Hand {
    held: Vec<Lease>,
    /// Those that the driver is done with; its run may not be.
    ended: Vec<Lease>,
}

impl Leases {
    fn take(&self) -> Vec<Lease> {
        std::mem::take(&mut self.lock().held)
    }

    fn any_ended(&self) -> bool {
        !self.lock().ended.is_empty()
    }

    fn take_ended(&self) -> Vec<Lease> {
        std::mem::take(&mut self.lock().ended)
    }

    fn lock(&self) -> MutexGuard<'_, Hand> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Leases {
    fn lease_taken(&self, lease: &Lease) {
        self.lock().held.push(lease.clone());
    }

    fn lease_ended(&self, lease: &Lease) {
        let mut hand = self.lock();
        hand.held.retain(|held| held != lease);
        hand.ended.push(lease.clone());
    }
}

/// Works until the root run has ended, or something has gone wrong that no retry helps against.
pub(super) async fn work(yard: Arc<Yard>, host: Host, leases: Arc<Leases>) {
    let result = Worker { yard: &yard, host: &host, leases: &leases, driving: FuturesUnordered::new() }.run().await;
    if let Err(failure) = result {
        yard.end(Err(failure));
    }
}

struct Worker<'a> {
    yard: &'a Yard,
    host: &'a Host,
    leases: &'a Leases,
    driving: FuturesUnordered<BoxFuture<'a, (Lease, Result<(), Failure>)>>,
}

impl Worker<'_> {
    async fn run(&mut self) -> Result<(), Failure> {
        while !self.yard.has_ended() {
            let heard = self.yard.bell.rings();
            let stopped = self.yard.tap.lock().stopped.remove(&self.host.worker);
            if stopped {
                self.driving.clear();
                give_up(self.yard, self.host, self.leases).await?;
            }
            let_go(self.yard, self.host, self.leases).await?;
            if self.claim().await? {
                continue;
            }
            let wake_at = {
                let mut state = self.yard.tap.lock();
                let now = self.host.clock.now();
                state.wakes = state.wakes.split_off(&now.saturating_add(std::time::Duration::from_millis(1)));
                state.wakes.first().copied()
            };
            let (ring, timer) = (self.yard.bell.after(heard), timer(self.host, wake_at));
            let (mut ring, mut timer) = (pin!(ring), pin!(timer));
            let (driving, leases) = (&mut self.driving, self.leases);
            let ended = poll_fn(|context| {
                // A stopped worker must not get on with anything: the ring is heard first.
                if ring.as_mut().poll(context).is_ready() || timer.as_mut().poll(context).is_ready() {
                    return Poll::Ready(None);
                }
                match driving.poll_next_unpin(context) {
                    Poll::Ready(Some(ended)) => Poll::Ready(Some(ended)),
                    Poll::Ready(None) | Poll::Pending if leases.any_ended() => Poll::Ready(None),
                    Poll::Ready(None) | Poll::Pending => Poll::Pending,
                }
            })
            .await;
            if let Some((lease, result)) = ended {
                ended_with(self.yard, self.host, self.leases, lease, result).await?;
            }
        }
        Ok(())
    }

    async fn claim(&mut self) -> Result<bool, Failure> {
        let claims = retried(|| self.host.stores.runs.claim(&self.host.worker, 1, self.host.lease)).await?;
        let claimed = !claims.is_empty();
        for claim in claims {
            self.leases.lease_taken(&claim.lease);
            let host = self.host;
            self.driving.push(Box::pin(async move {
                let lease = claim.lease.clone();
                let driven = drive(host, claim).await;
                (lease, driven.map(drop))
            }));
        }
        Ok(claimed)
    }
}

async fn ended_with(
    yard: &Yard,
    host: &Host,
    leases: &Leases,
    lease: Lease,
    result: Result<(), Failure>,
) -> Result<(), Failure> {
    leases.lease_ended(&lease);
    if let Err(failure) = result {
        if !failure.retryable {
            return Err(failure);
        }
        // A fault that may pass: whoever claims the run next goes on from its journal.
        retried(|| host.stores.runs.release(&lease)).await?;
    }
    look(yard, host).await
}

/// Ends the simulation when the run has ended; else everybody looks for work.
async fn look(yard: &Yard, host: &Host) -> Result<(), Failure> {
    let record = retried(|| host.stores.runs.get(&yard.tenant, &yard.root)).await?;
    if record.is_some_and(|record| record.state.is_terminal()) {
        yard.end(Ok(()));
    }
    yard.bell.ring();
    Ok(())
}

/// Gives back what the driver has given up, where a real store would let it expire.
async fn let_go(yard: &Yard, host: &Host, leases: &Leases) -> Result<(), Failure> {
    for lease in leases.take_ended() {
        retried(|| host.stores.runs.release(&lease)).await?;
        yard.bell.ring();
    }
    Ok(())
}

/// A worker has died: its leases are given back at once, where a real store would let them expire, so that the crash
/// takes no time, and timeouts that have nothing to do with it don't fire.
async fn give_up(yard: &Yard, host: &Host, leases: &Leases) -> Result<(), Failure> {
    for lease in leases.take() {
        retried(|| host.stores.runs.release(&lease)).await?;
    }
    // It may have died right after the last append.
    look(yard, host).await
}

async fn timer(host: &Host, wake_at: Option<aos_core::time::Timestamp>) {
    match wake_at {
        Some(at) => host.clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Makes a call again while it fails for a reason that may pass.
async fn retried<T, F>(call: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, aos_core::runs::StoreError>>,
{
    const ATTEMPTS: u32 = 100;
    let mut attempt = 1;
    loop {
        match call().await.map_err(Failure::from) {
            Err(failure) if failure.retryable && attempt < ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}

/// Worker names of a simulation.
pub(super) fn names(count: usize) -> BTreeSet<String> {
    (1..=count.max(1)).map(|n| format!("worker-{n:02}")).collect()
}
