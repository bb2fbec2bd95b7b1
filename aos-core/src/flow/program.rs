//! Polling a workflow's future, as a [`Program`].

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::BoxFuture;
use crate::engine::{EffectResult, Program};
use crate::error::{Failure, codes};
use crate::event::Request;
use crate::flow::effects::Shared;
use crate::flow::{Ctx, Patches, Start};
use crate::id::EffectId;
use crate::money::Money;
use crate::payload::Payload;
use crate::workflow::Plan;

/// A workflow's future, polled by nobody but the engine: every wake-up comes from a result, in journal order.
pub(crate) struct FlowProgram {
    state: Running,
    shared: Shared,
    woken: Arc<Woken>,
    waker: Waker,
}

enum Running {
    Ready(Start, Payload),
    Polled(BoxFuture<'static, EffectResult>),
    Ended(EffectResult),
    Told,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl FlowProgram {
    pub(super) fn new(start: Start, plan: Arc<Plan>, input: Payload, patches: Patches) -> Self {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        Self {
            state: Running::Ready(start, input),
            shared: Shared::new(plan, patches),
            waker: Waker::from(Arc::clone(&woken)),
            woken,
        }
    }

    fn poll(&mut self, requests: &mut Vec<Request>) {
        while let Running::Polled(future) = &mut self.state {
            if !self.woken.0.swap(false, Ordering::Relaxed) {
                break;
            }
            let mut context = Context::from_waker(&self.waker);
            let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)));
            match polled {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(outcome)) => self.state = Running::Ended(outcome),
                Err(panic) => self.state = Running::Ended(Err(panicked(&*panic))),
            }
        }
        self.shared.take_requests(requests);
        if matches!(self.state, Running::Polled(_)) && !self.shared.is_waiting() {
            let message = "the workflow waits for something that is not an effect: await only what its context gives";
            self.state = Running::Ended(Err(Failure::new(codes::WORKFLOW_STALLED, message)));
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Failure::new(codes::WORKFLOW_PANICKED, format!("the workflow panicked: {}", text.unwrap_or("no message")))
}

impl Program for FlowProgram {
    fn start(&mut self, requests: &mut Vec<Request>) {
        if let Running::Ready(start, input) = std::mem::replace(&mut self.state, Running::Told) {
            let ctx = Ctx::root(self.shared.clone());
            self.state = match catch_unwind(AssertUnwindSafe(|| start(ctx, input))) {
                Ok(future) => Running::Polled(future),
                Err(panic) => Running::Ended(Err(panicked(&*panic))),
            };
        }
        self.poll(requests);
    }

    fn resolve(&mut self, effect: &EffectId, result: &EffectResult, cost: Money, requests: &mut Vec<Request>) {
        self.shared.resolve(effect, result, cost);
        self.poll(requests);
    }

    fn go_live(&mut self) {
        self.shared.go_live();
    }

    fn outcome(&mut self) -> Option<EffectResult> {
        match std::mem::replace(&mut self.state, Running::Told) {
            Running::Ended(outcome) => Some(outcome),
            other => {
                self.state = other;
                None
            }
        }
    }
}
