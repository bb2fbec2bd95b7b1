//! The contract of a skill, and what flows in and out of one.

pub mod builtin;
mod contract;
pub mod schema;

pub use contract::{CostModel, CrashClass, Determinism, SkillContract, SkillVersion};

use std::future::Future;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::BoxFuture;
use crate::error::{Failure, codes};
use crate::id::{ApiKeyId, EffectId, RunId, TenantId};
use crate::money::Money;
use crate::payload::Payload;
use crate::random::Seed;
use crate::time::Timestamp;
use crate::trace::TraceParent;
use crate::workflow::WorkflowVersion;

/// One attempt to execute a skill.
#[derive(Clone, Debug)]
pub struct SkillCall {
    /// The run that asks.
    pub run: RunId,
    /// On whose behalf.
    pub tenant: TenantId,
    /// The run's workflow, where the caller knows it.
    pub workflow: Option<WorkflowVersion>,
    /// The API key by which the run was asked for.
    pub api_key: Option<ApiKeyId>,
    /// The attempt's span: pass it on as `traceparent` to whatever the attempt asks.
    pub trace: Option<TraceParent>,
    /// The effect within the run.
    pub effect: EffectId,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The same for every attempt of this effect, on every machine: pass it on to whatever deduplicates.
    pub idempotency_key: String,
    /// The input, checked against the contract's schema by the host.
    pub input: Payload,
    /// A seed of this effect's own, the same for every attempt.
    pub seed: Seed,
    /// When the engine gives up on this attempt; `None` for never.
    pub deadline: Option<Timestamp>,
}

/// What a successful attempt gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkillOutput {
    /// The output, checked against the contract's schema by the host.
    pub output: Payload,
    /// What the attempt cost.
    pub cost: Money,
}

impl From<Payload> for SkillOutput {
    fn from(output: Payload) -> Self {
        Self { output, cost: Money::ZERO }
    }
}

/// The result of one attempt.
pub type SkillResult = Result<SkillOutput, Failure>;

/// A versioned callable behind a [`SkillContract`].
///
/// # Contract
/// - A call keeps the crash class its contract declares: a `pure` skill reaches nothing outside, an `idempotent`
///   one deduplicates by [`SkillCall::idempotency_key`].
/// - Dropping the returned future abandons the attempt; it must not leave anything broken behind.
/// - A failure says whether another attempt may help; it never panics (the host turns a panic into a failure).
pub trait Skill: Send + Sync {
    /// What this skill is and promises. Always the same value.
    fn contract(&self) -> &SkillContract;
    /// Executes one attempt.
    fn call(&self, call: SkillCall) -> BoxFuture<'_, SkillResult>;
}

/// A typed skill: schemas come from the Rust types, `call` takes and returns them.
///
/// ```
/// use aos_core::skill::{SkillContract, TypedSkill};
/// use aos_core::skill::Skill;
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Input { celsius: f64 }
/// #[derive(serde::Serialize, schemars::JsonSchema)]
/// struct Output { fahrenheit: f64 }
///
/// let contract = SkillContract::pure("to_fahrenheit", "1.0.0")?;
/// let skill = TypedSkill::new(contract, |input: Input, _call| async move {
///     Ok(Output { fahrenheit: input.celsius * 1.8 + 32.0 })
/// });
/// assert_eq!(skill.contract().input_schema["type"], "object");
/// # Ok::<(), aos_core::Failure>(())
/// ```
pub struct TypedSkill {
    contract: SkillContract,
    #[allow(clippy::type_complexity, reason = "one boxed closure, named nowhere else")]
    run: Box<dyn Fn(SkillCall) -> BoxFuture<'static, SkillResult> + Send + Sync>,
}

impl TypedSkill {
    /// Wraps an async function whose input and output types give the schemas of `contract`.
    pub fn new<I, O, F, Fut>(mut contract: SkillContract, function: F) -> Self
    where
        I: DeserializeOwned + JsonSchema + Send + 'static,
        O: Serialize + JsonSchema + 'static,
        F: Fn(I, SkillCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Failure>> + Send + 'static,
    {
        contract.input_schema = schemars::schema_for!(I).to_value();
        contract.output_schema = schemars::schema_for!(O).to_value();
        let function = Arc::new(function);
        Self {
            contract,
            run: Box::new(move |call| {
                let function = Arc::clone(&function);
                Box::pin(async move {
                    let input: I = call.input.to()?;
                    let output = function(input, call).await?;
                    Ok(Payload::from_serialize(&output)?.into())
                })
            }),
        }
    }

    /// Wraps an async function over untyped JSON; the schemas stay those of `contract`.
    pub fn untyped<F, Fut>(contract: SkillContract, function: F) -> Self
    where
        F: Fn(SkillCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = SkillResult> + Send + 'static,
    {
        Self { contract, run: Box::new(move |call| Box::pin(function(call))) }
    }
}

impl Skill for TypedSkill {
    fn contract(&self) -> &SkillContract {
        &self.contract
    }

    fn call(&self, call: SkillCall) -> BoxFuture<'_, SkillResult> {
        (self.run)(call)
    }
}

/// Where a host finds the code of a pinned skill.
pub trait SkillSource: Send + Sync {
    /// The skill of exactly this version.
    fn skill(&self, version: &SkillVersion) -> Option<Arc<dyn Skill>>;
}

/// The failure for a skill that the plan pins and the host doesn't have.
pub fn missing(version: &SkillVersion) -> Failure {
    Failure::new(
        codes::SKILL_NOT_FOUND,
        format!("this host has no skill {version}: register it before running the plan"),
    )
}
