//! What `llm_invoke` asks, and what it makes of answers.

use super::*;
use crate::id::{EffectId, RunId, TenantId};
use crate::llm::{Content, LlmResponse, StopReason};
use crate::llm::{LlmAdapter, LlmFailure, StubAdapter, Usage};
use crate::payload::Payload;
use crate::random::Seed;

/// Answers every call with one answer.
struct Fixed(Result<LlmAnswer, Failure>);

impl LlmAdapter for Fixed {
    fn name(&self) -> &str {
        "fixed"
    }

    fn is_live(&self) -> bool {
        true
    }

    fn invoke(&self, _call: LlmCall) -> BoxFuture<'_, Result<LlmAnswer, LlmFailure>> {
        Box::pin(std::future::ready(self.0.clone().map_err(LlmFailure::from)))
    }
}

fn answer(content: Vec<Content>, stop_reason: StopReason, cost: Option<Money>) -> Fixed {
    let response =
        LlmResponse { content, stop_reason, usage: Usage::default(), model: "m-1".into(), adapter: "fixed".into() };
    Fixed(Ok(LlmAnswer::new(response, cost)))
}

fn call(input: Value) -> SkillCall {
    SkillCall {
        run: RunId::new("r").unwrap(),
        tenant: TenantId::default(),
        workflow: None,
        api_key: None,
        trace: None,
        effect: EffectId::new("e").unwrap(),
        attempt: 1,
        idempotency_key: "k".into(),
        input: Payload::new(input).unwrap(),
        seed: Seed::new(1),
        deadline: None,
    }
}

fn run(fixed: Fixed, input: Value) -> SkillResult {
    let adapters = Adapters::new(Arc::default()).with(Arc::new(StubAdapter)).with(Arc::new(fixed));
    pollster::block_on(LlmInvoke::new(Arc::new(adapters)).call(call(input)))
}

fn stub(input: Value) -> SkillResult {
    run(answer(vec![], StopReason::EndTurn, None), input)
}

#[test]
fn a_prompt_on_the_stub() {
    let output = stub(json!({"model": "m", "prompt": "hi"})).unwrap();
    let value = output.output.value();
    assert!(value["text"].as_str().unwrap().starts_with("stub answer"));
    assert_eq!(
        (&value["adapter"], &value["stop_reason"], &value["cost"]),
        (&json!("stub"), &json!("end_turn"), &json!("0"))
    );
    assert_eq!((value.get("json"), &value["tool_calls"]), (None, &json!([])));
    assert!(output.cost.is_zero());
}

#[test]
fn structured_answers_are_parsed() {
    let schema = json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}});
    let output = stub(json!({"model": "m", "prompt": "hi", "response_schema": schema})).unwrap();
    assert!(output.output.value()["json"]["n"].is_i64());
    for text in ["{\"n\": 1}", " ```json\n{\"n\": 1}\n``` ", "```\n{\"n\":1.0}```"] {
        let fixed = answer(vec![Content::text(text)], StopReason::EndTurn, None);
        let input = json!({"adapter": "fixed", "model": "m", "prompt": "hi", "response_schema": schema});
        assert_eq!(run(fixed, input).unwrap().output.value()["json"], json!({"n": 1}), "{text}");
    }
}

#[test]
fn tools_come_before_structure() {
    let tools = json!([{"name": "add", "input_schema": {"type": "object"}}]);
    let input = json!({"model": "m", "prompt": "hi", "tools": tools, "response_schema": {"type": "object"}});
    let value = stub(input).unwrap().output.value().clone();
    assert_eq!((&value["tool_calls"][0]["name"], value.get("json")), (&json!("add"), None));
    assert_eq!(value["content"][0]["id"], value["tool_calls"][0]["id"]);
}

#[test]
fn bad_answers_keep_their_cost() {
    let paid = Money::from_picodollars(5);
    let estimate = Money::from_cents(1);
    let text = |text: &str| vec![Content::text(text)];
    for (content, stop, cost, code, retry, booked, message) in [
        (text("sorry"), StopReason::EndTurn, Some(paid), codes::LLM_INVALID_RESPONSE, true, paid, "it is not JSON: "),
        (
            text("{\"n\": "),
            StopReason::MaxTokens,
            Some(paid),
            codes::LLM_INVALID_RESPONSE,
            true,
            paid,
            "cut at `max_tokens`",
        ),
        (
            text("{\"n\": 9007199254740993}"),
            StopReason::EndTurn,
            None,
            codes::LLM_INVALID_RESPONSE,
            true,
            estimate,
            "beyond",
        ),
        (
            text("I won't"),
            StopReason::Refusal,
            Some(paid),
            codes::LLM_CONTENT_BLOCKED,
            false,
            paid,
            "declined to answer: \"I won't\"",
        ),
    ] {
        let input = json!({"adapter": "fixed", "model": "m", "prompt": "hi", "response_schema": {"type": "object"}});
        let failure = run(answer(content, stop, cost), input).unwrap_err();
        assert_eq!((&failure.code, failure.retryable, failure.cost), (&code, retry, booked), "{failure}");
        assert!(failure.message.contains(message), "{failure}");
    }
}

#[cfg(feature = "jsonschema")]
#[test]
fn answers_that_do_not_fit_are_failures() {
    let schema = json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}});
    let fixed = answer(vec![Content::text("{\"n\": \"x\"}")], StopReason::EndTurn, Some(Money::ZERO));
    let input = json!({"adapter": "fixed", "model": "m", "prompt": "hi", "response_schema": schema});
    let failure = run(fixed, input).unwrap_err();
    assert_eq!(failure.code, codes::LLM_INVALID_RESPONSE);
    assert!(failure.message.contains("does not fit `response_schema`: /n"), "{failure}");
    let failure = stub(json!({"model": "m", "prompt": "hi", "response_schema": {"type": "strng"}})).unwrap_err();
    assert_eq!(failure.code, codes::LLM_INVALID_REQUEST);
}

#[test]
fn an_unknown_cost_books_the_estimate() {
    let input = json!({"adapter": "fixed", "model": "m", "prompt": "hi"});
    let output = run(answer(vec![], StopReason::EndTurn, None), input).unwrap();
    assert_eq!(output.cost, Money::from_cents(1));
    assert_eq!(output.output.value()["cost"], Value::Null);
}

#[test]
fn bad_input_is_named() {
    for (input, code, message) in [
        (json!({"model": "m"}), codes::INVALID_INPUT, "neither `prompt` nor `messages`"),
        (json!({"model": "m", "prompt": "", "messages": []}), codes::INVALID_INPUT, "both given"),
        (json!({"prompt": "x"}), codes::INVALID_INPUT, "missing field `model`"),
        (json!({"model": "m", "prompt": "x", "schema": {}}), codes::INVALID_INPUT, "unknown field `schema`"),
        (json!({"model": "m", "prompt": "x", "system": 1}), codes::INVALID_INPUT, "`system`: expected a text"),
        (json!({"model": "m", "messages": []}), codes::LLM_INVALID_REQUEST, "`messages` is empty"),
        (
            json!({"model": "m", "prompt": "x", "adapter": "claude"}),
            codes::LLM_ADAPTER_NOT_FOUND,
            "there is [fixed, stub]",
        ),
    ] {
        let failure = stub(input.clone()).unwrap_err();
        assert_eq!(failure.code, code, "{input}: {failure}");
        assert!(failure.message.contains(message) && !failure.retryable, "{input}: {failure}");
    }
}

#[test]
fn the_schema_reads_what_the_skill_reads() {
    // Every field of the input is in the schema, and the other way round: the error of serde lists them.
    let fields = LlmInvoke::new(Arc::new(Adapters::new(Arc::default()))).contract.input_schema["properties"].clone();
    let error = call(json!({"?": 1})).input.to::<Input>().map(|_| ()).unwrap_err().message;
    let mut known: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
    known.sort_unstable();
    let mut listed: Vec<&String> = fields.as_object().unwrap().keys().collect();
    listed.sort_unstable();
    assert_eq!(known, listed, "{error}");
}

/// Fails, as `name`.
struct Failing(&'static str, Failure);

impl LlmAdapter for Failing {
    fn name(&self) -> &str {
        self.0
    }

    fn is_live(&self) -> bool {
        false
    }

    fn invoke(&self, _call: LlmCall) -> BoxFuture<'_, Result<LlmAnswer, LlmFailure>> {
        Box::pin(std::future::ready(Err(self.1.clone().into())))
    }
}

#[test]
fn others_are_asked_when_a_provider_gives_no_answer() {
    let cents = Money::from_cents;
    let overloaded = Failure::new(codes::LLM_OVERLOADED, "busy").cost(cents(1));
    let limited = Failure::new(codes::LLM_RATE_LIMITED, "later").retry_after(Duration::from_secs(7)).cost(cents(2));
    let refused = Failure::new(codes::LLM_INVALID_REQUEST, "what?");
    let ask = |first: &str, others: &[&str]| {
        let fallback: Vec<_> =
            others.iter().map(|name| json!({"adapter": name, "model": format!("{name}-model")})).collect();
        let adapters = Adapters::new(Arc::default())
            .with(Arc::new(StubAdapter))
            .with(Arc::new(Failing("overloaded", overloaded.clone())))
            .with(Arc::new(Failing("limited", limited.clone())))
            .with(Arc::new(Failing("refused", refused.clone())));
        let input = json!({"adapter": first, "model": "m", "prompt": "hi", "fallback": fallback});
        pollster::block_on(LlmInvoke::new(Arc::new(adapters)).call(call(input)))
    };

    let output = ask("overloaded", &["absent", "limited", "stub"]).unwrap();
    let value = output.output.value();
    assert_eq!((&value["adapter"], &value["model"], output.cost), (&json!("stub"), &json!("stub-model"), cents(3)));
    assert_eq!(
        value["tried"],
        json!([
            {"adapter": "overloaded", "model": "m", "code": "ERR_LLM_OVERLOADED", "cost": "0.01"},
            {"adapter": "absent", "model": "absent-model", "code": "ERR_LLM_ADAPTER_NOT_FOUND"},
            {"adapter": "limited", "model": "limited-model", "code": "ERR_LLM_RATE_LIMITED", "cost": "0.02"},
        ])
    );

    for (first, others, code, retryable, retry_after_ms, cost, message) in [
        ("overloaded", &["limited"][..], codes::LLM_OVERLOADED, true, None, 3, "busy (and 1 more gave no answer"),
        ("absent", &["limited"], codes::LLM_ADAPTER_NOT_FOUND, true, Some(7_000), 2, "and 1 more"),
        ("absent", &["absent"], codes::LLM_ADAPTER_NOT_FOUND, false, None, 0, "and 1 more"),
        // What is wrong with the request is wrong for everybody.
        ("refused", &["stub"], codes::LLM_INVALID_REQUEST, false, None, 0, "what?"),
        ("overloaded", &["refused", "stub"], codes::LLM_OVERLOADED, true, None, 1, "and 1 more"),
    ] {
        let failure = ask(first, others).unwrap_err();
        let found = (&failure.code, failure.retryable, failure.retry_after_ms, failure.cost);
        assert_eq!(found, (&code, retryable, retry_after_ms, cents(cost)), "{first} {others:?}: {failure}");
        assert!(failure.message.contains(message), "{failure}");
    }
}
