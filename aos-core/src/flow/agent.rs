//! Agents of Rust workflows.

use std::future::IntoFuture;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::BoxFuture;
use crate::agent::{Agent, AgentAnswer, AgentProgram};
use crate::engine::Program;
use crate::error::{Failure, codes};
use crate::event::Request;
use crate::flow::Ctx;
use crate::flow::effects::{Pending, join};

impl Ctx {
    /// Lets a model call tools until it has an answer.
    ///
    /// Await the call for the [answer](AgentAnswer). Its effects are named within `agent:<n>` of the scope, unless
    /// [`AgentCall::name`] says otherwise; see [`agent`](crate::agent) for how.
    ///
    /// ```
    /// use aos_core::agent::{Agent, AgentTool};
    /// use aos_core::flow::{Ctx, Flows};
    /// use aos_core::workflow::PlanBuilder;
    /// # use aos_core::workflow::Resolver;
    /// # use aos_core::driver::Host;
    /// # use aos_core::engine::RunOptions;
    /// # use aos_core::id::{RunId, WorkerId};
    /// # use aos_core::llm::{Adapters, StubAdapter};
    /// # use aos_core::memory::{self, VirtualClock};
    /// # use aos_core::registry::Registry;
    /// # use aos_core::skill::{SkillContract, TypedSkill, builtin};
    /// # use aos_core::time::Clock;
    /// # use aos_core::{Failure, Payload};
    /// # use serde_json::json;
    /// # use std::sync::Arc;
    ///
    /// async fn research(ctx: Ctx, question: String) -> Result<String, Failure> {
    ///     let agent = Agent::new(question, "stub")
    ///         .system("You look things up before you answer.")
    ///         .tool("lookup@^1")
    ///         .tool(AgentTool::new("lookup@^1").name("lookup_archive").params(json!({"archive": true})))
    ///         .max_turns(5);
    ///     Ok(ctx.agent(agent).name("research").await?.text)
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut flows = Flows::new();
    /// flows.register("research", "1.0.0", research)?;
    /// # let clock = Arc::new(VirtualClock::default());
    /// # let registry = Registry::new();
    /// # let adapters = Arc::new(Adapters::new(Arc::default()).with(Arc::new(StubAdapter)));
    /// # builtin::all(adapters).into_iter().try_for_each(|skill| registry.register(skill, clock.now()).map(drop))?;
    /// # let contract = SkillContract::idempotent("lookup", "1.0.0")?.schemas(
    /// #     json!({"type": "object", "properties": {"word": {"type": "string"}, "archive": {"type": "boolean"}}}),
    /// #     json!(true),
    /// # );
    /// # let lookup = TypedSkill::untyped(contract, |call| async move { Ok(call.input.into()) });
    /// # registry.register(Arc::new(lookup), clock.now())?;
    /// # let (llm_invoke, lookup) = (Resolver::skill(&registry, "llm_invoke")?, Resolver::skill(&registry, "lookup")?);
    /// let plan = PlanBuilder::code("research", "1.0.0")?.skill(&llm_invoke)?.tool(&lookup)?.build();
    /// # let host = Host::new(memory::stores(clock.clone()), Arc::new(registry), flows, clock, WorkerId::new("me")?);
    /// # let input = Payload::new(json!("What is a kestrel?"))?;
    /// # let run = pollster::block_on(host.run(&plan, input, RunOptions::new(RunId::new("run-1")?)))?;
    /// # assert!(run.finished.output.unwrap().as_str().contains("stub answer"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn agent(&self, agent: Agent) -> AgentCall {
        AgentCall { ctx: self.clone(), name: None, agent }
    }
}

/// An agent in the making: await it, or name it first.
#[must_use = "the agent does nothing until it is awaited"]
pub struct AgentCall {
    ctx: Ctx,
    name: Option<String>,
    agent: Agent,
}

impl AgentCall {
    /// Gives the agent's effects a scope of their own name, unique within the scope; a fixed name survives changes around
    /// it.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }
}

impl IntoFuture for AgentCall {
    type Output = Result<AgentAnswer, Failure>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { ctx, name, agent } = self;
        let name = match name {
            Some(name) => join(&ctx.scope, &name),
            None => ctx.shared.next_name(&ctx.scope, "agent"),
        };
        Box::pin(async move {
            let (parts, prompt) = agent.tied(&ctx.shared.plan())?;
            let program = AgentProgram::new(&name, Arc::new(parts), prompt, agent.retry, agent.timeout)?;
            run(&ctx, program).await
        })
    }
}

/// Runs an agent within a workflow: its requests become effects of the workflow.
async fn run(ctx: &Ctx, mut program: AgentProgram) -> Result<AgentAnswer, Failure> {
    let mut requests = Vec::new();
    let mut running = FuturesUnordered::new();
    program.start(&mut requests);
    loop {
        for Request { effect, command } in requests.drain(..) {
            let pending =
                Pending::new(&ctx.shared, effect.as_str().to_owned(), Ok(command), |result, cost| (result, cost));
            running.push(async move { (effect, pending.await) });
        }
        if let Some(outcome) = program.outcome() {
            return outcome?.to();
        }
        let Some((effect, (result, cost))) = running.next().await else {
            return Err(Failure::new(codes::INTERNAL, "an agent waits for nothing and has not ended"));
        };
        program.resolve(&effect, &result, cost, &mut requests);
    }
}
