//! `llm_invoke@1.0.0`: asks a language model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::contract;
use crate::BoxFuture;
use crate::error::{Failure, codes};
use crate::llm::{
    Adapters, Content, LlmAnswer, LlmCall, LlmRequest, LlmResponse, Message, Role, StopReason, Tool, ToolChoice,
};
use crate::money::Money;
use crate::payload::Payload;
use crate::retry::RetryPolicy;
use crate::skill::schema::{CompiledSchema, SchemaCompiler};
use crate::skill::{CrashClass, Determinism, Skill, SkillCall, SkillContract, SkillOutput, SkillResult};

/// The skill `llm_invoke@1.0.0`: one call of a language model through the host's [`Adapters`].
///
/// Its input and output are described field by field in the schemas of its contract. With a `response_schema` the
/// answer is parsed and checked, and an answer that does not fit is the failure [`codes::LLM_INVALID_RESPONSE`],
/// which is retried; an answer declined by the model is [`codes::LLM_CONTENT_BLOCKED`], which is not. Both keep what
/// the attempt cost. Where an adapter can't tell what a call cost, the contract's estimate is booked.
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
        let input: Input = call.input.to()?;
        let adapter = input.adapter.clone();
        let request = input.into_request()?;
        // A schema that can't be checked is refused before anything is spent.
        let schema = match &request.response_schema {
            None => None,
            Some(schema) => Some(self.schemas.compile(schema).map_err(|failure| {
                Failure::new(codes::LLM_INVALID_REQUEST, format!("`response_schema`: {}", failure.message))
                    .details(failure.details)
            })?),
        };
        let answer = self.adapters.invoke(adapter.as_deref(), LlmCall::for_skill(request, &call)).await?;
        let booked = answer.cost.unwrap_or(self.contract.cost.estimate);
        let output = output(&answer, schema.as_deref()).map_err(|failure| paid(failure, &answer).cost(booked))?;
        Ok(SkillOutput { output, cost: booked })
    }
}

impl Skill for LlmInvoke {
    fn contract(&self) -> &SkillContract {
        &self.contract
    }

    fn call(&self, call: SkillCall) -> BoxFuture<'_, SkillResult> {
        Box::pin(self.invoke(call))
    }
}

/// What the answer may have at most when the input does not say.
const DEFAULT_MAX_TOKENS: u32 = 4_096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    adapter: Option<String>,
    model: String,
    prompt: Option<String>,
    messages: Option<Vec<Message>>,
    system: Option<Value>,
    #[serde(default)]
    tools: Vec<Tool>,
    tool_choice: Option<ToolChoice>,
    response_schema: Option<Value>,
    max_tokens: Option<u32>,
    temperature: Option<f64>,
    #[serde(default)]
    stop_sequences: Vec<String>,
    #[serde(default)]
    options: Map<String, Value>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

impl Input {
    fn into_request(self) -> Result<LlmRequest, Failure> {
        let refused = |why: &str| Failure::new(codes::INVALID_INPUT, why.to_owned());
        let messages = match (self.prompt, self.messages) {
            (Some(prompt), None) => vec![Message { role: Role::User, content: vec![Content::text(prompt)] }],
            (None, Some(messages)) => messages,
            (Some(_), Some(_)) => return Err(refused("`prompt` and `messages` are both given: expected one of them")),
            (None, None) => return Err(refused("neither `prompt` nor `messages` is given: expected one of them")),
        };
        let system = match self.system {
            None => Vec::new(),
            Some(Value::String(text)) => vec![Content::text(text)],
            Some(blocks) => serde_json::from_value(blocks)
                .map_err(|error| refused(&format!("`system`: expected a text or a list of blocks: {error}")))?,
        };
        Ok(LlmRequest {
            model: self.model,
            system,
            messages,
            tools: self.tools,
            tool_choice: self.tool_choice,
            response_schema: self.response_schema,
            max_tokens: self.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
            temperature: self.temperature,
            stop_sequences: self.stop_sequences,
            options: self.options,
            metadata: self.metadata,
        })
    }
}

/// Adds to the failure of an answer what it was paid for, so that it can be priced again.
fn paid(failure: Failure, answer: &LlmAnswer) -> Failure {
    let LlmAnswer { response, price, .. } = answer;
    let mut details = match &failure.details {
        Value::Object(details) => details.clone(),
        _ => Map::new(),
    };
    details.insert("model".into(), json!(response.model));
    details.insert("usage".into(), json!(response.usage));
    if let Some(price) = price {
        details.insert("price".into(), json!(price));
    }
    failure.details(Value::Object(details))
}

fn output(answer: &LlmAnswer, schema: Option<&dyn CompiledSchema>) -> Result<Payload, Failure> {
    let LlmAnswer { response, cost, price, .. } = answer;
    if response.stop_reason == StopReason::Refusal {
        let said: String = response.text().chars().take(200).collect();
        return Err(Failure::new(
            codes::LLM_CONTENT_BLOCKED,
            format!("{} declined to answer: {said:?}", response.model),
        ));
    }
    let calls: Vec<Value> = response
        .content
        .iter()
        .filter_map(|block| match block {
            Content::ToolUse { id, name, input } => Some(json!({"id": id, "name": name, "input": input})),
            _ => None,
        })
        .collect();
    let mut output = json!({
        "text": response.text(),
        "content": response.content,
        "stop_reason": response.stop_reason,
        "usage": response.usage,
        "model": response.model,
        "adapter": response.adapter,
        "cost": cost,
    });
    if let Some(price) = price {
        output["price"] = json!(price);
    }
    // A model that wants a tool first has not given its structured answer yet.
    if let Some(schema) = schema.filter(|_| calls.is_empty()) {
        output["json"] = structured(response, schema)?;
    }
    output["tool_calls"] = Value::Array(calls);
    Payload::new(output).map_err(|error| invalid(response, error.to_string()))
}

fn structured(response: &LlmResponse, schema: &dyn CompiledSchema) -> Result<Value, Failure> {
    let text = response.text();
    let value = crate::json::parse(unfenced(&text)).map_err(|error| {
        let cut = if response.stop_reason == StopReason::MaxTokens { ": it was cut at `max_tokens`" } else { "" };
        let start: String = text.chars().take(120).collect();
        invalid(response, format!("{}{cut}; it begins {start:?}", error.message))
    })?;
    match &schema.check(&value)[..] {
        [] => Ok(value),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
            let mistakes: Vec<_> = std::iter::once(first).chain(rest).collect();
            Err(invalid(response, format!("it does not fit `response_schema`: {first}{more}"))
                .details(json!({ "errors": mistakes })))
        }
    }
}

fn invalid(response: &LlmResponse, why: String) -> Failure {
    Failure::new(codes::LLM_INVALID_RESPONSE, format!("the answer of {} can't be used: {why}", response.model))
}

/// The JSON within a Markdown fence, which models like to put around it.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```json").or_else(|| text.strip_prefix("```")).and_then(|t| t.strip_suffix("```"));
    inner.unwrap_or(text)
}

/// One block, as [`Content`] reads it: those types strictly, others as they are.
fn block_schema() -> Value {
    json!({
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"type": "string", "description": "text, image, tool_use, tool_result, thinking, or another type that the provider knows."}}
    })
}

fn input_schema() -> Value {
    let content = json!({
        "description": "A text, or a list of blocks.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/$defs/block"}}]
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": false,
        "required": ["model"],
        "oneOf": [{"required": ["prompt"]}, {"required": ["messages"]}],
        "properties": {
            "adapter": {"type": "string", "description": "Which adapter to use; the host's default when it is not given."},
            "model": {"type": "string", "minLength": 1, "description": "The provider's name of the model."},
            "prompt": {"type": "string", "description": "The question, in place of `messages`."},
            "messages": {
                "type": "array",
                "minItems": 1,
                "description": "The conversation so far, oldest first, in place of `prompt`.",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["role", "content"],
                    "properties": {"role": {"enum": ["user", "assistant"]}, "content": content}
                }
            },
            "system": content,
            "tools": {
                "type": "array",
                "description": "What the model may ask to be called.",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["name", "input_schema"],
                    "properties": {
                        "name": {"type": "string", "minLength": 1},
                        "description": {"type": "string"},
                        "input_schema": {"type": ["object", "boolean"], "description": "JSON Schema of the tool's input."}
                    }
                }
            },
            "tool_choice": {
                "type": "object",
                "additionalProperties": false,
                "required": ["type"],
                "description": "Whether the model may (auto), must (any, tool) or must not (none) ask for a tool.",
                "properties": {"type": {"enum": ["auto", "any", "none", "tool"]}, "name": {"type": "string"}}
            },
            "response_schema": {
                "type": ["object", "boolean"],
                "description": "JSON Schema of the answer; the output has it parsed under `json`."
            },
            "max_tokens": {"type": "integer", "minimum": 1, "maximum": u32::MAX, "default": DEFAULT_MAX_TOKENS},
            "temperature": {"type": "number", "minimum": 0},
            "stop_sequences": {"type": "array", "items": {"type": "string"}},
            "options": {"type": "object", "description": "Parameters of one provider, passed on as they are."},
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Facts for the provider's records."}
        },
        "$defs": {"block": block_schema()}
    })
}

fn output_schema() -> Value {
    let tokens = json!({"type": "integer", "minimum": 0});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": false,
        "required": ["text", "content", "tool_calls", "stop_reason", "usage", "model", "adapter", "cost"],
        "properties": {
            "text": {"type": "string", "description": "All text of the answer."},
            "json": {"description": "The answer parsed, when a `response_schema` was asked for and no tool is called."},
            "content": {"type": "array", "items": block_schema(), "description": "The answer's blocks, to be sent back as the content of an assistant's message."},
            "tool_calls": {
                "type": "array",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["id", "name", "input"],
                    "properties": {"id": {"type": "string"}, "name": {"type": "string"}, "input": {}}
                }
            },
            "stop_reason": {"type": "string", "description": "end_turn, max_tokens, stop_sequence, tool_use, pause_turn, or the provider's word."},
            "usage": {
                "type": "object",
                "additionalProperties": false,
                "required": ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"],
                "properties": {
                    "input_tokens": tokens, "output_tokens": tokens, "cache_read_tokens": tokens, "cache_write_tokens": tokens,
                    "cache_write_1h_tokens": tokens
                }
            },
            "model": {"type": "string", "description": "The model that answered."},
            "adapter": {"type": "string", "description": "The adapter that carried the answer."},
            "cost": {"type": ["string", "null"], "description": "US dollars as a decimal string; null when nobody can tell."},
            "price": {
                "type": "object",
                "additionalProperties": false,
                "required": ["book", "from"],
                "description": "The price that the cost was computed by; not there when it was not by a price book.",
                "properties": {
                    "book": {"type": "string", "description": "SHA-256 of the price book."},
                    "from": {"type": "string", "description": "The day from which on the price holds."},
                    "up_to": {"type": "integer", "minimum": 1, "description": "The longest prompt it is for, in tokens; any when it is not there."}
                }
            }
        }
    })
}

#[cfg(test)]
mod tests;
