//! Steps that are agents: programs within the program.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Interpreter, Waiting};
use crate::agent::{AgentParts, AgentProgram};
use crate::engine::{EffectResult, Program};
use crate::error::Failure;
use crate::event::Request;
use crate::id::EffectId;
use crate::money::Money;
use crate::payload::Payload;
use crate::workflow::Step;

/// The agents that are at work by name: the step's id, with the number of its item or turn.
pub(super) type Agents = HashMap<Arc<str>, (AgentProgram, Waiting)>;

/// The agent of a step at its beginning.
///
/// # Errors
/// A prompt that can't be one, or that sets parameters which a tool doesn't have.
pub(super) fn program(
    step: &Step,
    parts: &Arc<AgentParts>,
    prompt: &Payload,
    name: &str,
) -> Result<AgentProgram, Failure> {
    let timeout = step.timeout_ms.map(Duration::from_millis);
    let agent =
        prompt.to().and_then(|prompt| AgentProgram::new(name, Arc::clone(parts), prompt, step.retry.clone(), timeout));
    agent.map_err(|failure| Failure { message: format!("the agent {name}: {}", failure.message), ..failure })
}

impl Interpreter {
    /// Begins an agent called `name`, whose outcome is that of `waiting`.
    pub(super) fn begin_agent(
        &mut self,
        mut agent: AgentProgram,
        name: &str,
        waiting: Waiting,
        requests: &mut Vec<Request>,
    ) {
        let mut asked = Vec::new();
        agent.start(&mut asked);
        let name: Arc<str> = name.into();
        self.agents.insert(Arc::clone(&name), (agent, waiting));
        self.agent_asked(&name, asked, requests);
    }

    /// Tells an agent how one of its effects ended.
    pub(super) fn agent_learns(
        &mut self,
        name: &Arc<str>,
        effect: &EffectId,
        result: &EffectResult,
        cost: Money,
        requests: &mut Vec<Request>,
    ) {
        let Some((agent, _)) = self.agents.get_mut(name) else { return };
        let mut asked = Vec::new();
        agent.resolve(effect, result, cost, &mut asked);
        self.agent_asked(name, asked, requests);
    }

    /// Passes on what an agent asks for; ends its step, item or turn when it has ended.
    fn agent_asked(&mut self, name: &Arc<str>, asked: Vec<Request>, requests: &mut Vec<Request>) {
        for request in asked {
            self.in_flight.insert(request.effect.clone(), Waiting::Agent(Arc::clone(name)));
            requests.push(request);
        }
        let outcome = self.agents.get_mut(name).and_then(|(agent, _)| agent.outcome());
        if let Some(outcome) = outcome
            && let Some((_, waiting)) = self.agents.remove(name)
        {
            self.resolved(waiting, &outcome, requests);
        }
    }
}
