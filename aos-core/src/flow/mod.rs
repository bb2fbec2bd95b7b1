//! Rust workflows: an `async fn` over a [`Ctx`], from which it gets everything that comes from outside.
//!
//! ```
//! use aos_core::flow::{Ctx, Flows};
//! use aos_core::{Failure, Payload};
//!
//! async fn greet(ctx: Ctx, name: String) -> Result<String, Failure> {
//!     let greeting = ctx.call("echo@^1", &format!("Hello, {name}!")).await?;
//!     ctx.sleep(std::time::Duration::from_secs(60)).await?;
//!     greeting.to()
//! }
//!
//! let mut flows = Flows::new();
//! flows.register("greet", "1.0.0", greet)?;
//! # Ok::<(), Failure>(())
//! ```
//!
//! # What a workflow may do
//! Anything that depends on nothing but its input and what `ctx` gave it. Awaiting something else (a timer of the
//! runtime, a channel) never wakes up again and fails the run with
//! [`WORKFLOW_STALLED`](crate::codes::WORKFLOW_STALLED). Reading the clock, the environment or a hash map's order is
//! not noticed until a replay drifts; `aos-testkit` has a check that provokes it.

mod agent;
mod branch;
mod ctx;
mod effects;
mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use agent::AgentCall;
pub use ctx::{Call, Child, Ctx, Signal};
pub use effects::Pending;
pub(crate) use program::FlowProgram;

use crate::BoxFuture;
use crate::engine::EffectResult;
use crate::error::{Failure, codes};
use crate::payload::Payload;
use crate::workflow::{Plan, WorkflowVersion};

type Start = Arc<dyn Fn(Ctx, Payload) -> BoxFuture<'static, EffectResult> + Send + Sync>;

/// The Rust workflows that a host knows, by id and version.
#[derive(Clone, Default)]
pub struct Flows(BTreeMap<String, Start>);

impl Flows {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an async function as the workflow `id` at `version`.
    ///
    /// # Errors
    /// [`codes::INVALID_REQUEST`] for a malformed id or version, [`codes::CONFLICT`] when it is there already.
    pub fn register<I, O, F, Fut>(&mut self, id: &str, version: &str, function: F) -> Result<(), Failure>
    where
        I: DeserializeOwned + 'static,
        O: Serialize + 'static,
        F: Fn(Ctx, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Failure>> + Send + 'static,
    {
        let workflow: WorkflowVersion = format!("{id}@{version}").parse()?;
        let start: Start = Arc::new(move |ctx, input: Payload| match input.to::<I>() {
            Ok(input) => {
                let running = function(ctx, input);
                Box::pin(async move { Payload::from_serialize(&running.await?) })
            }
            Err(failure) => Box::pin(std::future::ready(Err(failure))),
        });
        match self.0.entry(workflow.to_string()) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(start);
                Ok(())
            }
            std::collections::btree_map::Entry::Occupied(_) => {
                Err(Failure::new(codes::CONFLICT, format!("the flow {workflow} is registered already")))
            }
        }
    }

    pub(crate) fn program(&self, plan: &Arc<Plan>, input: Payload, patches: Patches) -> Result<FlowProgram, Failure> {
        let start = self.0.get(&plan.workflow.to_string()).ok_or_else(|| {
            let known: Vec<_> = self.0.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            let message = format!("this host has no Rust workflow {}; it has {known}", plan.workflow);
            Failure::new(codes::WORKFLOW_NOT_FOUND, message)
        })?;
        Ok(FlowProgram::new(Arc::clone(start), Arc::clone(plan), input, patches))
    }
}

/// Which code changes a run knows: those its journal names, while it is being replayed; every one, when it is live.
pub(crate) struct Patches {
    in_journal: Option<Arc<BTreeSet<String>>>,
}

impl Patches {
    pub(crate) const fn new(in_journal: Option<Arc<BTreeSet<String>>>) -> Self {
        Self { in_journal }
    }

    fn knows(&self, name: &str) -> bool {
        self.in_journal.as_ref().is_none_or(|names| names.contains(name))
    }
}
