//! What a workflow gets everything from.

use std::future::IntoFuture;
use std::time::Duration;

use serde::Serialize;

use crate::engine::EffectResult;
use crate::error::{Failure, codes};
use crate::event::Command;
use crate::flow::effects::{Pending, Shared, join};
use crate::money::Money;
use crate::payload::Payload;
use crate::retry::RetryPolicy;
use crate::time::Timestamp;

/// The only way from a workflow to the outside. Cheap to clone; clones share one scope.
#[derive(Clone)]
pub struct Ctx {
    pub(super) shared: Shared,
    pub(super) scope: String,
}

impl Ctx {
    pub(super) const fn root(shared: Shared) -> Self {
        Self { shared, scope: String::new() }
    }

    /// Calls a skill that the plan pins: `id`, `id@^1` or `id@1.2.3`; the highest pinned version that fits.
    ///
    /// Await the call for its output. Its effect id is `<skill>:<n>` within the scope, unless [`Call::name`] says
    /// otherwise.
    pub fn call<T: Serialize + ?Sized>(&self, skill: &str, input: &T) -> Call {
        let pinned = self.shared.select(skill);
        Call {
            ctx: self.clone(),
            name: None,
            what: skill.split('@').next().unwrap_or_default().to_owned(),
            command: pinned.and_then(|skill| {
                Ok(Command::Call { skill, input: Payload::from_serialize(input)?, retry: None, timeout: None })
            }),
        }
    }

    /// Starts a child workflow that the plan pins, and waits for its output.
    pub fn child<T: Serialize + ?Sized>(&self, workflow: &str, input: &T) -> Child {
        let plan = self.shared.plan();
        let (id, required) = workflow.split_once('@').unwrap_or((workflow, "*"));
        let required = semver::VersionReq::parse(required);
        let pinned = plan
            .children
            .values()
            .map(|child| &child.workflow)
            .filter(|child| child.id.as_str() == id && required.as_ref().is_ok_and(|req| req.matches(&child.version)))
            .max_by(|a, b| a.version.cmp(&b.version));
        let command = match pinned {
            Some(pinned) => {
                Payload::from_serialize(input).map(|input| Command::Child { workflow: pinned.clone(), input })
            }
            None => {
                let message = format!("the plan of {} pins no workflow for {workflow:?}", plan.workflow);
                Err(Failure::new(codes::WORKFLOW_NOT_FOUND, message))
            }
        };
        Child { ctx: self.clone(), name: None, what: id.to_owned(), command }
    }

    /// Lets time pass.
    pub fn sleep(&self, duration: Duration) -> Pending<Result<(), Failure>> {
        self.ask("sleep", Ok(Command::Sleep(duration)), |result, _| result.map(drop))
    }

    /// Waits for a signal; gives its payload.
    pub fn signal(&self, name: &str) -> Signal {
        Signal { ctx: self.clone(), signal: name.to_owned(), timeout: None }
    }

    /// Reads the clock: the time at which the run came here first.
    pub fn now(&self) -> Pending<Result<Timestamp, Failure>> {
        self.ask("now", Ok(Command::Now), |result, _| {
            result.map(|ms| Timestamp::from_millis(ms.value().as_u64().unwrap_or_default()))
        })
    }

    /// Draws a random number below 2^53, from the run's seed.
    pub fn random(&self) -> Pending<Result<u64, Failure>> {
        self.ask("random", Ok(Command::Random), |result, _| {
            result.map(|number| number.value().as_u64().unwrap_or_default())
        })
    }

    /// Whether this run knows the code change called `name`: true for new runs, false for runs whose journal was
    /// written by code without it. Use it to change code under runs in flight:
    /// `if ctx.patched("new-prompt") { … } else { …as before… }`.
    pub fn patched(&self, name: &str) -> bool {
        self.shared.patched(&self.scope, name)
    }

    fn ask<T>(
        &self,
        what: &str,
        command: Result<Command, Failure>,
        convert: fn(EffectResult, Money) -> T,
    ) -> Pending<T> {
        Pending::new(&self.shared, self.shared.next_name(&self.scope, what), command, convert)
    }

    fn ask_named(&self, name: Option<String>, what: &str, command: Result<Command, Failure>) -> Pending<EffectResult> {
        match name {
            Some(name) => Pending::new(&self.shared, join(&self.scope, &name), command, |result, _| result),
            None => self.ask(what, command, |result, _| result),
        }
    }
}

/// A skill call in the making: await it, or say more first.
#[must_use = "nothing is called until it is awaited"]
pub struct Call {
    ctx: Ctx,
    name: Option<String>,
    what: String,
    command: Result<Command, Failure>,
}

impl Call {
    /// Gives the effect a name of its own, unique within the scope; a fixed name survives changes around it.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Overrides the skill's retry policy.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        if let Ok(Command::Call { retry, .. }) = &mut self.command {
            *retry = Some(policy);
        }
        self
    }

    /// Overrides how long one attempt may take.
    pub fn timeout(mut self, limit: Duration) -> Self {
        if let Ok(Command::Call { timeout, .. }) = &mut self.command {
            *timeout = Some(limit);
        }
        self
    }
}

impl IntoFuture for Call {
    type Output = Result<Payload, Failure>;
    type IntoFuture = Pending<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.ctx.ask_named(self.name, &self.what, self.command)
    }
}

/// A child run in the making: await it, or name it first.
#[must_use = "nothing is started until it is awaited"]
pub struct Child {
    ctx: Ctx,
    name: Option<String>,
    what: String,
    command: Result<Command, Failure>,
}

impl Child {
    /// Gives the effect a name of its own, unique within the scope.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }
}

impl IntoFuture for Child {
    type Output = Result<Payload, Failure>;
    type IntoFuture = Pending<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.ctx.ask_named(self.name, &self.what, self.command)
    }
}

/// A wait for a signal in the making: await it, or bound it first.
#[must_use = "nothing waits until it is awaited"]
pub struct Signal {
    ctx: Ctx,
    signal: String,
    timeout: Option<Duration>,
}

impl Signal {
    /// Fails with [`codes::TIMEOUT`] when the signal hasn't come by then.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }
}

impl IntoFuture for Signal {
    type Output = Result<Payload, Failure>;
    type IntoFuture = Pending<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let what = format!("signal.{}", self.signal);
        self.ctx.ask(&what, Ok(Command::Signal { name: self.signal, timeout: self.timeout }), |result, _| result)
    }
}
