//! Effects in flight: skill attempts and child runs, as futures that end in a fact.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::future::{AbortHandle, Abortable, poll_fn};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::BoxFuture;
use crate::driver::child::{self, Parent};
use crate::driver::{Attempt, Host};
use crate::error::{Failure, codes};
use crate::event::{CallEffect, Fact, HostEffect};
use crate::id::{ApiKeyId, EffectId};
use crate::queue::Priority;
use crate::runs::{Claim, Lease};
use crate::skill::{CrashClass, SkillCall, SkillResult, missing};
use crate::trace::TraceParent;
use crate::workflow::WorkflowVersion;

/// The effects of one run that the host carries out now.
pub(super) struct InFlight<'a> {
    of: Of,
    /// The run's own, which its children inherit.
    priority: Priority,
    futures: FuturesUnordered<Abortable<BoxFuture<'a, Fact>>>,
    handles: HashMap<EffectId, Handle>,
}

/// How to give an effect up, and when that does no harm.
struct Handle {
    abort: AbortHandle,
    pure: bool,
    /// Set once nothing is left to do for the effect but to wait for somebody else.
    waiting: Arc<AtomicBool>,
}

impl<'a> InFlight<'a> {
    pub(super) fn new(claim: &Claim) -> Self {
        let run = &claim.record.new;
        let of = Of { workflow: run.workflow.clone(), api_key: run.api_key.clone(), trace: claim.trace() };
        Self { of, priority: run.priority, futures: FuturesUnordered::new(), handles: HashMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }

    pub(super) fn is_only_pure(&self) -> bool {
        !self.handles.is_empty() && self.handles.values().all(|handle| handle.pure)
    }

    pub(super) fn begin(&mut self, host: &'a Host, lease: &Lease, effect: HostEffect) {
        let lease = lease.clone();
        let waiting = Arc::<AtomicBool>::default();
        let (name, pure, future): (_, _, BoxFuture<'a, Fact>) = match effect {
            HostEffect::Call(call) => {
                let (name, is_pure) = (call.effect.clone(), call.crash == CrashClass::Pure);
                (name, is_pure, Box::pin(execute(host, lease, self.of.clone(), call)))
            }
            HostEffect::Child(child) => {
                let name = child.effect.clone();
                let Of { api_key, trace, .. } = self.of.clone();
                let parent = Parent { lease, priority: self.priority, api_key, trace, waiting: Arc::clone(&waiting) };
                (name, false, Box::pin(child::execute(host, parent, child)))
            }
            HostEffect::Abort { effect } => {
                if let Some(handle) = self.handles.remove(&effect) {
                    handle.abort.abort();
                }
                return;
            }
        };
        let (abort, registration) = AbortHandle::new_pair();
        self.futures.push(Abortable::new(future, registration));
        self.handles.insert(name, Handle { abort, pure, waiting });
    }

    /// Gives up what can be computed anew at any time.
    pub(super) fn abandon_pure(&mut self) {
        self.handles.retain(|_, handle| {
            if handle.pure {
                handle.abort.abort();
            }
            !handle.pure
        });
    }

    /// Gives everything up if all of it only waits for somebody else; whether nothing is in flight now.
    pub(super) fn abandon_waiting(&mut self) -> bool {
        let idle = self.handles.values().all(|handle| handle.waiting.load(Ordering::Relaxed));
        if idle {
            self.handles.drain().for_each(|(_, handle)| handle.abort.abort());
        }
        idle
    }

    /// The next effect that ends; pending while none does.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Fact> {
        loop {
            match self.futures.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(fact))) => {
                    if let Fact::Completed { effect, .. } | Fact::Failed { effect, .. } = &fact {
                        self.handles.remove(effect);
                    }
                    return Poll::Ready(fact);
                }
                // Aborted: nobody wants its result.
                Poll::Ready(Some(Err(_))) => {}
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// What a skill is told of the run.
#[derive(Clone)]
struct Of {
    workflow: WorkflowVersion,
    api_key: Option<ApiKeyId>,
    trace: TraceParent,
}

async fn execute(host: &Host, lease: Lease, of: Of, call: CallEffect) -> Fact {
    let (begun, run) = (host.clock.monotonic(), of.trace);
    let trace = run.child(&format!("{}#{}", call.effect, call.attempt));
    let result = attempt(host, &lease, Of { trace, ..of }, &call).await;
    let took = host.clock.monotonic().saturating_sub(begun);
    host.observer.attempt_ended(&Attempt { lease: &lease, call: &call, run, trace }, took, &result);
    let CallEffect { effect, attempt, .. } = call;
    match result {
        Ok(output) => Fact::Completed { effect, attempt, output: output.output, cost: output.cost, child: None },
        Err(failure) => Fact::Failed { effect, attempt, failure },
    }
}

async fn attempt(host: &Host, lease: &Lease, of: Of, call: &CallEffect) -> SkillResult {
    let skill = host.skills.skill(&call.skill).ok_or_else(|| missing(&call.skill))?;
    let request = SkillCall {
        run: lease.run.clone(),
        tenant: lease.tenant.clone(),
        workflow: Some(of.workflow),
        api_key: of.api_key,
        trace: Some(of.trace),
        effect: call.effect.clone(),
        attempt: call.attempt,
        idempotency_key: call.idempotency_key(),
        input: call.input.clone(),
        seed: call.seed(),
        deadline: call.deadline,
    };
    let panicked = |panic: Box<dyn std::any::Any + Send>| {
        let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let message = format!("the skill {} panicked: {}", call.skill, text.unwrap_or("no message"));
        Failure::new(codes::SKILL_PANICKED, message)
    };
    let mut future = catch_unwind(AssertUnwindSafe(|| skill.call(request))).map_err(panicked)?;
    poll_fn(move |context: &mut Context<'_>| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll,
        Err(panic) => Poll::Ready(Err(panicked(panic))),
    })
    .await
}
