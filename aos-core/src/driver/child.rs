//! Child runs: created under a derived id, so that a second start joins the first; driven here, or waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::BoxFuture;
use crate::driver::{Host, drive};
use crate::error::{Failure, codes};
use crate::event::{ChildEffect, Fact};
use crate::queue::Priority;
use crate::runs::{Claim, Created, Lease, NewRun, RunRecord, RunState};

/// The run that starts a child.
pub(super) struct Parent {
    pub(super) lease: Lease,
    pub(super) priority: Priority,
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

/// Creates or joins the child, and gives its record once it has ended.
async fn run(host: &Host, parent: &Parent, child: ChildEffect) -> Result<RunRecord, Failure> {
    let plan = host.keep_plan(&child.plan).await?;
    let new = NewRun {
        run: child.run.clone(),
        tenant: parent.lease.tenant.clone(),
        workflow: child.plan.workflow.clone(),
        plan,
        input: child.input,
        seed: child.seed,
        budget: child.budget,
        parent: Some(parent.lease.run.clone()),
        forked_from: None,
        idempotency_key: None,
        request_id: None,
        priority: parent.priority,
        start_at: None,
    };
    let claim = Some((host.worker.clone(), host.lease));
    if let Created::New(record, Some(lease)) = host.stores.runs.create(new, claim).await? {
        host.observer.lease_taken(&lease);
        // Boxed, because a child may have children.
        let driving: BoxFuture<'_, _> = Box::pin(drive(host, Claim { lease: lease.clone(), record }));
        let driven = driving.await;
        host.observer.lease_ended(&lease);
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
