//! Effects in flight: skill attempts and child runs, as futures that end in a fact.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use futures_util::future::{AbortHandle, Abortable, poll_fn};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::BoxFuture;
use crate::driver::{Host, child};
use crate::error::{Failure, codes};
use crate::event::{CallEffect, Fact, HostEffect};
use crate::id::EffectId;
use crate::runs::Lease;
use crate::skill::{CrashClass, SkillCall, SkillResult, missing};

/// The effects of one run that the host carries out now.
#[derive(Default)]
pub(super) struct InFlight<'a> {
    futures: FuturesUnordered<Abortable<BoxFuture<'a, Fact>>>,
    handles: HashMap<EffectId, (AbortHandle, bool)>,
}

impl<'a> InFlight<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }

    pub(super) fn is_only_pure(&self) -> bool {
        !self.handles.is_empty() && self.handles.values().all(|(_, pure)| *pure)
    }

    pub(super) fn begin(&mut self, host: &'a Host, lease: &Lease, effect: HostEffect) {
        let lease = lease.clone();
        let (name, pure, future): (_, _, BoxFuture<'a, Fact>) = match effect {
            HostEffect::Call(call) => {
                (call.effect.clone(), call.crash == CrashClass::Pure, Box::pin(execute(host, lease, call)))
            }
            HostEffect::Child(child) => (child.effect.clone(), false, Box::pin(child::execute(host, lease, child))),
            HostEffect::Abort { effect } => {
                if let Some((handle, _)) = self.handles.remove(&effect) {
                    handle.abort();
                }
                return;
            }
        };
        let (handle, registration) = AbortHandle::new_pair();
        self.futures.push(Abortable::new(future, registration));
        self.handles.insert(name, (handle, pure));
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

async fn execute(host: &Host, lease: Lease, call: CallEffect) -> Fact {
    let begun = host.now();
    let result = attempt(host, &lease, &call).await;
    host.observer.attempt_ended(&lease, &call, host.now().since(begun), &result);
    let CallEffect { effect, attempt, .. } = call;
    match result {
        Ok(output) => Fact::Completed { effect, attempt, output: output.output, cost: output.cost, child: None },
        Err(failure) => Fact::Failed { effect, attempt, failure },
    }
}

async fn attempt(host: &Host, lease: &Lease, call: &CallEffect) -> SkillResult {
    let skill = host.skills.skill(&call.skill).ok_or_else(|| missing(&call.skill))?;
    let request = SkillCall {
        run: lease.run.clone(),
        tenant: lease.tenant.clone(),
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
