//! Child runs: created under a derived id, so that a second start joins the first; driven here, or waited for.

use std::mem::take;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::BoxFuture;
use crate::driver::{Host, create};
use crate::error::{Failure, codes};
use crate::event::{ChildEffect, Fact};
use crate::id::ApiKeyId;
use crate::queue::Priority;
use crate::runs::{Claim, Created, Lease, NewRun, RunRecord, RunState};
use crate::trace::TraceParent;

/// The run that starts a child.
pub(super) struct Parent {
    pub(super) lease: Lease,
    pub(super) priority: Priority,
    pub(super) api_key: Option<ApiKeyId>,
    pub(super) trace: TraceParent,
    /// Set once the child is somebody else's to drive.
    pub(super) waiting: Arc<AtomicBool>,
}

pub(super) async fn execute(host: &Host, parent: Parent, child: ChildEffect) -> Fact {
    let (effect, attempt) = (child.effect.clone(), child.attempt);
    match run(host, &parent, child).await {
        Ok(record) => ended(record, effect, attempt),
        Err(failure) => Fact::Failed { effect, attempt, failure },
    }
}

fn ended(record: RunRecord, effect: crate::id::EffectId, attempt: u32) -> Fact {
    if let (RunState::Succeeded, Some(output)) = (record.state, record.output) {
        return Fact::Completed { effect, attempt, output, cost: record.cost, child: record.content_hash };
    }
    let (code, message) = match record.failure {
        Some(failure) => (failure.code.to_string(), failure.message),
        None => (record.state.as_str().to_owned(), "it has no failure".to_owned()),
    };
    let failure = Failure::new(codes::CHILD_FAILED, format!("the child run failed with {code}: {message}"))
        .details(serde_json::json!({"run": record.new.run, "state": record.state, "code": code}))
        .cost(record.cost);
    Fact::Failed { effect, attempt, failure }
}

/// How long to leave a store alone that can't be reached.
const REST: Duration = Duration::from_secs(1);

/// Creates or joins the child, and gives its record once it has ended. What the parent learns of it is in its journal for
/// ever, so that it must not depend on whether the store could be reached: it is asked until it answers.
async fn run(host: &Host, parent: &Parent, child: ChildEffect) -> Result<RunRecord, Failure> {
    loop {
        match create_or_join(host, parent, &child).await {
            Err(failure) if failure.code == codes::STORE_UNAVAILABLE => rest(host).await,
            ended => return ended,
        }
    }
}

/// A child's lease in hand. It is not prolonged any more once this is dropped, with the parent's whole future perhaps.
struct Held<'a> {
    host: &'a Host,
    lease: &'a Lease,
}

impl<'a> Held<'a> {
    fn new(host: &'a Host, lease: &'a Lease) -> Self {
        host.observer.lease_taken(lease);
        Self { host, lease }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.host.observer.lease_ended(self.lease);
    }
}

async fn rest(host: &Host) {
    host.clock.sleep_until(host.now().saturating_add(REST)).await;
}

async fn create_or_join(host: &Host, parent: &Parent, child: &ChildEffect) -> Result<RunRecord, Failure> {
    let plan = host.keep_plan(&child.plan).await?;
    let new = NewRun {
        run: child.run.clone(),
        tenant: parent.lease.tenant.clone(),
        workflow: child.plan.workflow.clone(),
        plan,
        input: child.input.clone(),
        seed: child.seed,
        budget: child.budget,
        parent: Some(parent.lease.run.clone()),
        forked_from: None,
        idempotency_key: None,
        request_id: None,
        api_key: parent.api_key.clone(),
        trace: Some(parent.trace),
        priority: parent.priority,
        start_at: None,
    };
    if let (Created::New(record, Some(lease)), mut begun) = create(host, new).await? {
        let held = Held::new(host, &lease);
        let driven = loop {
            let claim = Claim { lease: lease.clone(), record: record.clone() };
            // Taken from its journal from the second time on. Boxed, because a child may have children.
            let driving: BoxFuture<'_, _> = Box::pin(take(&mut begun).drive(host, claim));
            match driving.await {
                Err(failure) if failure.code == codes::STORE_UNAVAILABLE => rest(host).await,
                driven => break driven,
            }
        };
        drop(held);
        if let Err(failure) = driven {
            host.stores.runs.release(&lease).await?;
            return Err(failure);
        }
    }
    parent.waiting.store(true, Ordering::Relaxed);
    let tenant = &parent.lease.tenant;
    loop {
        let record = host.stores.runs.get(tenant, &child.run).await?.ok_or_else(|| {
            Failure::new(codes::STORE_CORRUPT, format!("the child run {} has vanished from the store", child.run))
        })?;
        if record.state.is_terminal() {
            return Ok(record);
        }
        // No inbox number is that high: this waits for the end.
        host.stores.runs.changed(tenant, &child.run, u64::MAX).await;
    }
}
