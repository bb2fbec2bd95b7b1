//! The contract of an adapter: a binding to a provider of language models.

use std::sync::Arc;
use std::time::Duration;

use super::delta::Deltas;
use super::failure::LlmFailure;
use super::price::PriceRef;
use super::request::LlmRequest;
use super::response::LlmResponse;
use super::room::Room;
use crate::BoxFuture;
use crate::id::{ApiKeyId, EffectId, RunId, TenantId};
use crate::money::Money;
use crate::random::Seed;
use crate::skill::SkillCall;
use crate::time::Timestamp;
use crate::trace::TraceParent;
use crate::workflow::WorkflowVersion;

/// One call of an adapter: a request and the circumstances.
#[derive(Clone, Debug)]
pub struct LlmCall {
    /// What is asked; it has passed [`LlmRequest::check`].
    pub request: Arc<LlmRequest>,
    /// On whose behalf: limits and caches are per tenant.
    pub tenant: TenantId,
    /// The run that asks; `None` outside of runs.
    pub run: Option<RunId>,
    /// The run's workflow; `None` outside of runs.
    pub workflow: Option<WorkflowVersion>,
    /// The API key by which the run was asked for.
    pub api_key: Option<ApiKeyId>,
    /// The span that the call is made within.
    pub trace: Option<TraceParent>,
    /// The effect that asks; `None` outside of runs.
    pub effect: Option<EffectId>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Which call of the attempt it is, from 0: where nobody gave an answer, others are asked.
    pub fallback: u32,
    /// The same for every attempt of one effect.
    pub idempotency_key: String,
    /// The effect's seed, for adapters that make answers up.
    pub seed: Seed,
    /// When the answer is no longer wanted; `None` for never.
    pub deadline: Option<Timestamp>,
    /// Whether pieces of the answer are wanted while it is being written.
    pub stream: bool,
    /// Where they go; set by [`Adapters::invoke`](super::Adapters::invoke). What was passed on has been seen: an attempt
    /// that fails after that is not made again.
    pub deltas: Option<Deltas>,
    /// Whether an answer that was kept may be given, and this one be kept; `None` for neither.
    pub cache: Option<CacheUse>,
}

/// How a call may use a cache of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheUse {
    /// For how long the answer may be kept.
    pub ttl: Duration,
    /// Only calls of the same scope share answers: the version of the skill that asks.
    pub scope: String,
}

impl LlmCall {
    /// A first attempt outside of any run.
    pub fn new(request: LlmRequest, seed: Seed) -> Self {
        Self {
            request: Arc::new(request),
            tenant: TenantId::default(),
            run: None,
            workflow: None,
            api_key: None,
            trace: None,
            effect: None,
            attempt: 1,
            fallback: 0,
            idempotency_key: String::new(),
            seed,
            deadline: None,
            stream: false,
            deltas: None,
            cache: None,
        }
    }

    /// The call that one attempt of a skill makes.
    pub fn for_skill(request: LlmRequest, call: &SkillCall) -> Self {
        Self {
            request: Arc::new(request),
            tenant: call.tenant.clone(),
            run: Some(call.run.clone()),
            workflow: call.workflow.clone(),
            api_key: call.api_key.clone(),
            trace: call.trace,
            effect: Some(call.effect.clone()),
            attempt: call.attempt,
            fallback: 0,
            idempotency_key: call.idempotency_key.clone(),
            seed: call.seed,
            deadline: call.deadline,
            stream: false,
            deltas: None,
            cache: None,
        }
    }
}

/// What an adapter gives.
#[derive(Clone, Debug, PartialEq)]
pub struct LlmAnswer {
    /// The answer.
    pub response: LlmResponse,
    /// What it cost; `None` when that is not known, which is not the same as nothing. Adapters of providers leave it to
    /// the host, which has the prices.
    pub cost: Option<Money>,
    /// The price by which that was computed; `None` when it was not by a book.
    pub price: Option<PriceRef>,
    /// The provider's name of the request, for its support.
    pub request_id: Option<String>,
    /// What the provider said it has left for this caller.
    pub room: Option<Box<Room>>,
    /// Whether the answer was kept from an earlier call, or is another call's: then it has cost nothing.
    pub cached: bool,
}

impl LlmAnswer {
    /// An answer at a cost, of which there is nothing more to say.
    pub const fn new(response: LlmResponse, cost: Option<Money>) -> Self {
        Self { response, cost, price: None, request_id: None, room: None, cached: false }
    }
}

/// A binding to a provider of language models.
///
/// # Contract
/// - `name` and `is_live` never change. A live adapter reaches a provider, and may spend money or tell it something;
///   one that is not live answers from what it has.
/// - `invoke` makes one attempt: no retries of its own (they belong to the engine, which journals them), and after
///   an outcome that is not known it fails and says so ([`Sent`](super::Sent)).
/// - An answer's `adapter` is the name of the adapter that was called, and its `usage` and cost are of this attempt only.
///   A failure of an attempt that was paid for carries its usage.
/// - Failures have the `ERR_LLM_…` codes; a provider's `retry-after` becomes [`Failure::retry_after_ms`](crate::Failure::retry_after_ms).
/// - Dropping the future abandons the attempt.
/// - Keys and other secrets appear in no answer, failure or `Debug` text.
pub trait LlmAdapter: Send + Sync {
    /// The name that steps use: short, lower case (`claude`, `stub`, `recorded`).
    fn name(&self) -> &str;
    /// Whether a call reaches a provider.
    fn is_live(&self) -> bool;
    /// Makes one attempt.
    fn invoke(&self, call: LlmCall) -> BoxFuture<'_, Result<LlmAnswer, LlmFailure>>;
}
