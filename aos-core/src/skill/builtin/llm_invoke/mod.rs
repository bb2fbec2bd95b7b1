//! `llm_invoke@1.0.0`: asks a language model.

mod input;
mod output;
mod schema;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::contract;
use crate::BoxFuture;
use crate::error::{Code, Failure, codes};
use crate::llm::{Adapters, CacheUse, LlmAnswer, LlmCall, bill};
use crate::money::Money;
use crate::retry::RetryPolicy;
use crate::skill::schema::{CompiledSchema, SchemaCompiler};
use crate::skill::{CrashClass, Determinism, Skill, SkillCall, SkillContract, SkillOutput, SkillResult};
use input::{Ask, Asked, Input};
use output::output;
use schema::{input_schema, output_schema};

/// The skill `llm_invoke@1.0.0`: one call of a language model through the host's [`Adapters`].
///
/// Its input and output are described field by field in the schemas of its contract. With a `response_schema` the
/// answer is parsed and checked, and an answer that does not fit is the failure [`codes::LLM_INVALID_RESPONSE`],
/// which is retried; an answer declined by the model is [`codes::LLM_CONTENT_BLOCKED`], which is not. Both keep what
/// the attempt cost. Where nobody can tell what a call cost, the contract's estimate is booked.
///
/// With a `fallback` others are asked in the same attempt when a provider gives no answer; who was asked is in the
/// output, so that the journal has it.
pub struct LlmInvoke {
    contract: SkillContract,
    adapters: Arc<Adapters>,
    schemas: Arc<dyn SchemaCompiler>,
}

impl LlmInvoke {
    /// The skill over `adapters`. Structured answers are checked by `JsonSchemas` where the feature `jsonschema` is on.
    pub fn new(adapters: Arc<Adapters>) -> Self {
        #[cfg(feature = "jsonschema")]
        let schemas = Arc::new(crate::skill::schema::JsonSchemas::new());
        #[cfg(not(feature = "jsonschema"))]
        let schemas = Arc::new(crate::skill::schema::Unchecked);
        let contract = contract("llm_invoke", Determinism::Recorded, CrashClass::Idempotent)
            .description(
                "Asks a language model; gives its text, its JSON when a schema was asked for, and its tool calls.",
            )
            .schemas(input_schema(), output_schema())
            .estimate(Money::from_cents(1))
            .timeout(Duration::from_secs(300))
            .retry(RetryPolicy { max_attempts: 4, initial_ms: 1_000, max_ms: 60_000, ..RetryPolicy::default() });
        Self { contract, adapters, schemas }
    }

    /// Checks structured answers with `schemas`.
    #[must_use]
    pub fn schemas(mut self, schemas: Arc<dyn SchemaCompiler>) -> Self {
        self.schemas = schemas;
        self
    }

    async fn invoke(&self, call: SkillCall) -> SkillResult {
        let Asked { asks, cache, stream } = call.input.to::<Input>()?.into_asked()?;
        // A schema that can't be checked is refused before anything is spent.
        let schema = match &asks[0].request.response_schema {
            None => None,
            Some(schema) => Some(self.schemas.compile(schema).map_err(|failure| {
                Failure::new(codes::LLM_INVALID_REQUEST, format!("`response_schema`: {}", failure.message))
                    .details(failure.details)
            })?),
        };
        let cache = cache.map(|ttl| CacheUse { ttl, scope: self.contract.version.to_string() });
        let mut tried: Vec<Tried> = Vec::new();
        let mut asks = (0..).zip(asks).peekable();
        while let Some((fallback, Ask { adapter, request })) = asks.next() {
            let model = request.model.clone();
            let asked = LlmCall { fallback, cache: cache.clone(), stream, ..LlmCall::for_skill(request, &call) };
            match self.adapters.invoke(adapter.as_deref(), asked).await {
                Ok(answer) => return self.answered(&answer, schema.as_deref(), &tried),
                Err(failure) => {
                    let failure = Failure::from(failure);
                    let is_last = asks.peek().is_none() || !falls_back(&failure);
                    tried.push(Tried { adapter, model, failure });
                    if is_last {
                        break;
                    }
                }
            }
        }
        Err(no_answer(tried))
    }

    fn answered(&self, answer: &LlmAnswer, schema: Option<&dyn CompiledSchema>, tried: &[Tried]) -> SkillResult {
        let booked = answer.cost.unwrap_or(self.contract.cost.estimate).saturating_add(cost(tried));
        let LlmAnswer { response, price, .. } = answer;
        let paid = |failure| bill(failure, &response.model, &response.usage, price.as_ref()).cost(booked);
        let output = output(answer, schema, tried).map_err(paid)?;
        Ok(SkillOutput { output, cost: booked })
    }
}

/// Somebody who was asked and gave no answer.
struct Tried {
    adapter: Option<String>,
    model: String,
    failure: Failure,
}

impl Tried {
    fn view(&self) -> Value {
        let mut view = json!({"adapter": self.adapter, "model": self.model, "code": self.failure.code});
        if !self.failure.cost.is_zero() {
            view["cost"] = json!(self.failure.cost);
        }
        view
    }
}

/// Whether somebody else may have an answer where this failure was the only one: not when the request itself is wrong, or
/// when a part of an answer was shown already.
fn falls_back(failure: &Failure) -> bool {
    const LASTING: [Code; 8] = [
        codes::LLM_ADAPTER_DISABLED,
        codes::LLM_ADAPTER_NOT_FOUND,
        codes::LLM_AUTH_FAILED,
        codes::LLM_PERMISSION_DENIED,
        codes::LLM_SPEND_LIMIT,
        codes::LLM_INVALID_MODEL,
        codes::LLM_CONTEXT_TOO_LONG,
        codes::LLM_REQUEST_TOO_LARGE,
    ];
    failure.retryable || LASTING.contains(&failure.code)
}

fn cost(tried: &[Tried]) -> Money {
    tried.iter().map(|tried| tried.failure.cost).sum()
}

/// The failure of the first who was asked, which is who was wanted; another attempt may help when it may with any of them.
fn no_answer(tried: Vec<Tried>) -> Failure {
    let (all, retryable) = (cost(&tried), tried.iter().any(|tried| tried.failure.retryable));
    let retry_after_ms = tried.iter().filter(|tried| tried.failure.retryable).map(|tried| tried.failure.retry_after_ms);
    let retry_after_ms = retry_after_ms.min().flatten();
    let views: Value = tried.iter().map(Tried::view).collect();
    let count = tried.len();
    let Some(Tried { failure, .. }) = tried.into_iter().next() else {
        return Failure::new(codes::INTERNAL, "nobody was asked");
    };
    if count == 1 {
        return failure;
    }
    let message = format!("{} (and {} more gave no answer: see `tried` in the details)", failure.message, count - 1);
    let details = json!({"first": failure.details, "tried": views});
    Failure { message, retryable, retry_after_ms, ..failure }.details(details).cost(all)
}

impl Skill for LlmInvoke {
    fn contract(&self) -> &SkillContract {
        &self.contract
    }

    fn call(&self, call: SkillCall) -> BoxFuture<'_, SkillResult> {
        Box::pin(self.invoke(call))
    }
}
