//! Whatever a model answers, an agent calls nothing but what it is allowed to, and comes to an end.

use std::collections::BTreeSet;

use aos_core::codes;
use aos_core::error::Failure;
use aos_core::event::Fact;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::agent::as_step;
use crate::harness::{self, Harness};

const MAX_TURNS: u64 = 5;
const MAX_TOOL_CALLS: u64 = 6;

/// What happens to an effect that has been asked for: which one, and what comes of it.
#[derive(Clone, Debug)]
enum Happening {
    Answer(Value),
    Failure(usize),
}

fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({"url": "u"})),
        Just(json!({"key": "mine"})),
        Just(json!(null)),
        Just(json!([1, "two"])),
        "\\PC{0,6}".prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
    ]
}

fn block() -> impl Strategy<Value = Value> {
    let name =
        prop_oneof![3 => Just("fetch"), 2 => Just("pay"), 1 => Just("llm_invoke"), 1 => Just(""), 1 => Just("rm")];
    let id = prop_oneof![Just(""), Just("x"), Just("y"), Just("call_1")];
    prop_oneof![
        4 => (id, name, anything()).prop_map(|(id, name, input)| json!({"type": "tool_use", "id": id, "name": name, "input": input})),
        2 => "\\PC{0,6}".prop_map(|text| json!({"type": "text", "text": text})),
        1 => Just(json!({"type": "thinking", "thinking": "hm", "signature": "s"})),
        1 => anything().prop_map(|more| json!({"type": "server_tool_use", "more": more})),
        1 => anything(),
    ]
}

fn happening() -> impl Strategy<Value = (prop::sample::Index, Happening)> {
    let stop = prop_oneof![
        6 => Just("tool_use"), 1 => Just("end_turn"), 1 => Just("max_tokens"), 1 => Just("pause_turn"), 1 => Just("refusal"),
        1 => Just("model_context_window_exceeded"), 1 => Just("stop_sequence"), 1 => Just("other"),
    ];
    let answer = (prop::collection::vec(block(), 0..5), stop)
        .prop_map(|(content, stop)| json!({"content": content, "stop_reason": stop, "json": 1}));
    let what = prop_oneof![
        8 => answer.prop_map(Happening::Answer),
        1 => anything().prop_map(Happening::Answer),
        1 => any::<usize>().prop_map(Happening::Failure),
    ];
    (any::<prop::sample::Index>(), what)
}

/// A conversation as providers take it: turn about, and each tool use with its result in the next message.
fn is_in_order(input: &Value) -> Result<(), TestCaseError> {
    let messages = input["messages"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for (index, message) in messages.iter().enumerate() {
        prop_assert_eq!(&message["role"], if index % 2 == 0 { "user" } else { "assistant" });
        let content = message["content"].as_array().unwrap();
        prop_assert!(!content.is_empty());
        let used: Vec<_> =
            content.iter().filter(|block| block["type"] == "tool_use").map(|block| &block["id"]).collect();
        for id in &used {
            prop_assert!(id.as_str() != Some("") && ids.insert(id.to_string()), "the id {} twice", id);
        }
        if !used.is_empty() {
            let next = messages[index + 1]["content"].as_array().unwrap();
            let results = next.iter().filter_map(|block| block.get("tool_use_id"));
            prop_assert_eq!(used, results.collect::<Vec<_>>());
        }
    }
    Ok(())
}

fn play(run: &mut Harness, script: Vec<(prop::sample::Index, Happening)>) -> Result<(), TestCaseError> {
    let failures = [codes::LLM_INVALID_RESPONSE, codes::LLM_OVERLOADED, codes::HTTP_FAILED, codes::TIMEOUT];
    let (mut turns, mut calls, mut approved) = (0, 0, BTreeSet::new());
    for (which, happening) in script.into_iter().cycle().take(200) {
        if run.engine.finished().is_some() {
            break;
        }
        // Whoever is asked for approval says yes, so that a call is made wherever there may be one.
        for line in run.lines.clone() {
            let entry: Value = serde_json::from_str(line.as_str()).unwrap();
            if let ("signal", Some(name)) = (entry["kind"].as_str().unwrap_or_default(), entry["name"].as_str())
                && approved.insert(name.to_owned())
            {
                let (seq, payload) = (approved.len() as u64, harness::json(json!(true)));
                run.apply(Fact::Signal { seq, name: name.to_owned(), payload });
            }
        }
        if run.calls.is_empty() {
            continue;
        }
        let call = run.calls[which.index(run.calls.len())].clone();
        match call.skill.id.as_str() {
            "llm_invoke" => {
                turns += 1;
                is_in_order(call.input.value())?;
            }
            other => {
                prop_assert!(["fetch", "pay"].contains(&other), "{} was called", other);
                prop_assert!(call.input.value().is_object());
                calls += 1;
            }
        }
        match happening {
            Happening::Answer(value) => drop(run.complete(call.effect.as_str(), value)),
            Happening::Failure(n) => {
                let failure = Failure::new(failures[n % failures.len()].clone(), "it failed");
                run.fail(call.effect.as_str(), failure.retryable(false));
            }
        }
    }
    prop_assert!(run.engine.finished().is_some(), "no end after {} turns and {} calls", turns, calls);
    prop_assert!(turns <= MAX_TURNS && calls <= MAX_TOOL_CALLS, "{} turns, {} calls", turns, calls);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_model_gets_an_agent_out_of_bounds(
        script in prop::collection::vec(happening(), 1..12),
        parallel in any::<bool>(),
        structured in any::<bool>(),
    ) {
        let mut agent = json!({
            "goal": "g", "model": "m", "tools": ["fetch", {"skill": "pay", "approve": true}], "parallel": parallel,
            "max_turns": MAX_TURNS, "max_tool_calls": MAX_TOOL_CALLS,
        });
        if structured {
            agent["answer_schema"] = json!({"type": "integer"});
        }
        let mut run = as_step(agent, json!({}), json!(null));
        play(&mut run, script)?;
        // Every prefix of its journal replays.
        match &run.finished().failure {
            Some(failure) => run.fails_with(&failure.code.clone()),
            None => run.succeeds_with(run.finished().output.as_ref().unwrap().value().clone()),
        }
    }
}
