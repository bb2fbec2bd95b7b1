//! Agents, as steps and in Rust workflows: both ask for the same effects in the same order.

use std::sync::Arc;
use std::time::Duration;

use aos_core::agent::{Agent, AgentTool};
use aos_core::event::{Fact, Fork, RunStarted};
use aos_core::flow::{Ctx, Flows};
use aos_core::id::RunId;
use aos_core::money::Money;
use aos_core::replay::{fork, fork_point, retry};
use aos_core::retry::RetryPolicy;
use aos_core::skill::SkillContract;
use aos_core::workflow::{Definition, Plan, PlanBuilder, Resolver};
use aos_core::{Failure, codes};
use serde_json::{Value, json};

use crate::harness::{self, Harness, flaky};

fn contracts() -> [SkillContract; 3] {
    let url = json!({"type": "object", "properties": {"url": {"type": "string"}, "key": {"type": "string"}}});
    let model = SkillContract::idempotent("llm_invoke", "1.0.0").unwrap().estimate(Money::from_cents(1));
    let fetch = harness::idempotent().description("Gets a page.").schemas(url, json!(true)).retry(RetryPolicy::never());
    [model.retry(RetryPolicy::never()), fetch, harness::once()]
}

struct Skills;

impl Resolver for Skills {
    fn skill(&self, requirement: &str) -> Result<SkillContract, Failure> {
        let id = requirement.split('@').next().unwrap_or_default();
        let found = contracts().into_iter().find(|contract| contract.version.id.as_str() == id);
        found.ok_or_else(|| Failure::new(codes::SKILL_NOT_FOUND, format!("there is no skill {id}")))
    }

    fn workflow(&self, requirement: &str) -> Result<Arc<Plan>, Failure> {
        Err(Failure::new(codes::WORKFLOW_NOT_FOUND, format!("there is no workflow {requirement}")))
    }
}

/// The step `a`, an agent with this `agent` and more fields.
pub fn as_step(agent: Value, more: Value, input: Value) -> Harness {
    let mut step = json!({"id": "a", "agent": agent});
    step.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let definition = json!({"id": "w", "steps": [step], "output": "{{ steps.a.output }}"});
    let plan = Definition::from_value(definition).unwrap().plan(&Skills).unwrap();
    Harness::start_plan(Arc::new(plan), Flows::new(), input)
}

/// A Rust workflow that is this agent, named `a`.
fn as_flow(agent: Agent) -> Harness {
    let mut flows = Flows::new();
    let function = move |ctx: Ctx, _: Value| {
        let agent = agent.clone();
        async move { ctx.agent(agent).name("a").await }
    };
    flows.register("test", "1.0.0", function).unwrap();
    let [model, fetch, pay] = contracts();
    let plan = PlanBuilder::code("test", "1.0.0").unwrap().skill(&model).unwrap();
    Harness::start_plan(plan.tool(&fetch).unwrap().tool(&pay).unwrap().build(), flows, json!(null))
}

fn reader() -> Agent {
    Agent::new("find it", "m").tool("fetch").tool("pay").max_turns(4)
}

fn reader_json() -> Value {
    json!({"goal": "find it", "model": "m", "tools": ["fetch", "pay"], "max_turns": 4})
}

/// What the journal says about effects, without times and hashes.
fn effects(run: &Harness) -> Vec<Value> {
    let entries = run.lines.iter().map(|line| serde_json::from_str::<Value>(line.as_str()).unwrap());
    entries
        .filter(|entry| entry.get("effect").is_some() || entry["type"] == "signal_received")
        .map(|mut entry| {
            let fields = entry.as_object_mut().unwrap();
            fields.remove("at");
            fields.remove("prev");
            entry
        })
        .collect()
}

/// Plays the same with a step and a Rust workflow, and holds one against the other; gives the step's run.
#[track_caller]
fn both(agent: Value, same: Agent, play: impl Fn(&mut Harness)) -> Harness {
    let mut step = as_step(agent, json!({}), json!(null));
    let mut flow = as_flow(same);
    play(&mut step);
    play(&mut flow);
    assert_eq!(effects(&step), effects(&flow));
    let (of_step, of_flow) = (step.finished(), flow.finished());
    assert_eq!((of_step.status, &of_step.output, of_step.cost), (of_flow.status, &of_flow.output, of_flow.cost));
    let code = |failure: &Option<Failure>| failure.as_ref().map(|failure| failure.code.clone());
    assert_eq!(code(&of_step.failure), code(&of_flow.failure));
    for run in [&step, &flow] {
        match &run.finished().failure {
            None => run.succeeds_with(run.finished().output.as_ref().unwrap().value().clone()),
            Some(failure) => run.fails_with(&failure.code),
        }
    }
    step
}

pub fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}], "stop_reason": "end_turn"})
}

pub fn uses(calls: &[(&str, &str, Value)]) -> Value {
    let block =
        |(id, name, input): &(&str, &str, Value)| json!({"type": "tool_use", "id": id, "name": name, "input": input});
    json!({"content": calls.iter().map(block).collect::<Vec<_>>(), "stop_reason": "tool_use"})
}

/// The input of the model's turn that is under way.
fn asked(run: &Harness) -> &Value {
    let turn = run.calls.iter().find(|call| call.skill.id.as_str() == "llm_invoke").expect("a turn is under way");
    turn.input.value()
}

/// What the last message tells of each tool call: `ok`, or the code of its failure.
fn told(run: &Harness) -> Vec<String> {
    let last = asked(run)["messages"].as_array().unwrap().last().unwrap()["content"].as_array().unwrap();
    let results = last.iter().filter(|block| block["type"] == "tool_result");
    results
        .map(|block| {
            let text = block["content"][0]["text"].as_str().unwrap_or_default();
            match block["is_error"].as_bool() {
                Some(true) => serde_json::from_str::<Value>(text).unwrap()["code"].as_str().unwrap().to_owned(),
                _ => "ok".to_owned(),
            }
        })
        .collect()
}

fn open(run: &Harness) -> Vec<&str> {
    run.calls.iter().map(|call| call.effect.as_str()).collect()
}

#[test]
fn tools_are_called_until_there_is_an_answer() {
    let run = both(reader_json(), reader(), |run| {
        assert_eq!(asked(run)["messages"], json!([{"role": "user", "content": [{"type": "text", "text": "find it"}]}]));
        assert_eq!(asked(run)["tools"][0]["description"], "Gets a page.");
        assert_eq!(asked(run)["tools"][1], json!({"name": "pay", "input_schema": {"type": "object"}}));
        let calls = uses(&[("x", "fetch", json!({"url": "u"})), ("y", "fetch", json!({}))]);
        run.complete_at_cost("a/turn[0]", calls.clone(), Money::from_cents(1));
        assert_eq!(open(run), ["a/turn[0]/tool[0]", "a/turn[0]/tool[1]"]);
        // Whoever is first, the results are in the order of the calls; and a crash changes nothing.
        run.complete_at_cost("a/turn[0]/tool[1]", json!("page"), Money::from_cents(2)).crash();
        run.fail("a/turn[0]/tool[0]", flaky()).crash();
        assert_eq!(asked(run)["messages"][1], json!({"role": "assistant", "content": calls["content"]}));
        assert_eq!(told(run), ["ERR_HTTP_FAILED", "ok"]);
        let result = json!({"type": "tool_result", "tool_use_id": "y", "content": [{"type": "text", "text": "page"}]});
        assert_eq!(asked(run)["messages"][2]["content"][1], result);
        run.complete("a/turn[1]", text("there"));
    });
    let answer =
        json!({"answer": "there", "text": "there", "turns": 2, "tool_calls": 2, "stop": "end_turn", "cost": "0.03"});
    run.succeeds_with(answer);
}

#[test]
fn what_is_not_on_the_list_or_malformed_is_answered_and_never_called() {
    let mut agent = reader_json();
    agent["tools"] = json!([{"skill": "fetch", "name": "get", "params": {"key": "secret"}}]);
    let get = AgentTool::new("fetch").name("get").params(json!({"key": "secret"}));
    let same = Agent::new("find it", "m").tool(get).max_turns(4);
    both(agent, same, |run| {
        assert_eq!(asked(run)["tools"][0]["input_schema"]["properties"], json!({"url": {"type": "string"}}));
        let calls = [
            ("1", "fetch", json!({})),
            ("2", "llm_invoke", json!({})),
            ("3", "get", json!("u")),
            ("4", "get", json!({"key": "mine"})),
            ("5", "get", json!({"url": "u"})),
            ("5", "get", json!({"url": "v"})),
            ("", "get", json!({"url": "w"})),
        ];
        run.complete("a/turn[0]", uses(&calls));
        assert_eq!(open(run), ["a/turn[0]/tool[4]"]);
        assert_eq!(run.calls[0].input, harness::json(json!({"url": "u", "key": "secret"})));
        run.complete("a/turn[0]/tool[4]", json!({"n": 1}));
        let (unknown, malformed) = ("ERR_AGENT_UNKNOWN_TOOL", "ERR_INVALID_INPUT");
        assert_eq!(told(run), [unknown, unknown, malformed, malformed, "ok", malformed, malformed]);
        let ids = |of: &str| -> Vec<Value> {
            let messages = asked(run)["messages"].as_array().unwrap();
            messages[1..]
                .iter()
                .flat_map(|m| m["content"].as_array().unwrap())
                .filter_map(|b| b.get(of).cloned())
                .collect()
        };
        // Every call has an id of its own, and the results refer to them.
        assert_eq!(ids("id"), ["1", "2", "3", "4", "5", "call_5", "call_6"]);
        assert_eq!(ids("id"), ids("tool_use_id"));
        run.complete("a/turn[1]", text("done"));
    });
}

#[test]
fn ids_that_a_model_uses_again_later_are_made_unique() {
    both(reader_json(), reader(), |run| {
        for turn in 0..2 {
            run.complete(&format!("a/turn[{turn}]"), uses(&[("call_1", "fetch", json!({}))]));
            run.complete(&format!("a/turn[{turn}]/tool[0]"), json!(turn));
        }
        assert_eq!(asked(run)["messages"][3]["content"][0]["id"], "call_2");
        run.complete("a/turn[2]", text("done"));
    });
}

/// How a turn ends decides what follows.
#[test]
fn every_way_to_stop_means_something() {
    let block = |text: &str| json!([{"type": "text", "text": text}]);
    let server = json!([{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}]);
    let thought = json!([{"type": "thinking", "thinking": "hm", "signature": "s"}]);
    let call = uses(&[("x", "fetch", json!({}))])["content"].clone();
    for (content, stop, then) in [
        (block("yes"), "end_turn", "answer"),
        (block("yes"), "stop_sequence", "answer"),
        (block("yes"), "a_new_word", "answer"),
        (block("  "), "end_turn", "empty"),
        (json!([]), "end_turn", "empty"),
        (thought, "end_turn", "empty"),
        (block("cut o"), "max_tokens", "fewer words"),
        (call.clone(), "max_tokens", "ERR_INVALID_INPUT"),
        (block("hm"), "tool_use", "called none"),
        (server, "pause_turn", "goes on"),
        (json!([]), "pause_turn", "empty"),
        (block("no"), "refusal", "ERR_LLM_CONTENT_BLOCKED"),
        (call, "model_context_window_exceeded", "ERR_LLM_CONTEXT_TOO_LONG"),
        (json!([{"type": "text"}]), "end_turn", "ERR_LLM_INVALID_RESPONSE"),
        (json!("no list"), "end_turn", "ERR_LLM_INVALID_RESPONSE"),
    ] {
        both(reader_json(), reader(), |run| {
            run.complete("a/turn[0]", json!({"content": content, "stop_reason": stop}));
            let what = format!("{content} {stop}");
            if then == "answer" {
                assert_eq!(run.finished().output.as_ref().unwrap().value()["stop"], stop, "{what}");
                return;
            }
            if let Some(finished) = run.engine.finished() {
                assert_eq!(finished.failure.as_ref().unwrap().code.as_str(), then, "{what}");
                return;
            }
            let messages = asked(run)["messages"].as_array().unwrap();
            let last = messages.last().unwrap();
            match then {
                "goes on" => assert_eq!(*last, json!({"role": "assistant", "content": content}), "{what}"),
                code if code.starts_with("ERR") => assert_eq!(told(run), [code], "{what}"),
                words => {
                    let said = last["content"].as_array().unwrap().last().unwrap()["text"].as_str().unwrap();
                    assert!(said.contains(words), "{what}: {said}");
                    assert!(messages.iter().all(|message| message["content"] != json!([])), "{what}");
                }
            }
            run.complete("a/turn[1]", text("done"));
        });
    }
}

#[test]
fn an_answer_that_does_not_fit_its_schema_is_corrected_once() {
    let schema = json!({"type": "object", "required": ["n"]});
    let agent = json!({"goal": "count", "model": "m", "answer_schema": schema, "max_turns": 5});
    let same = || Agent::new("count", "m").answer_schema(schema.clone()).max_turns(5);
    let unfit = || Failure::new(codes::LLM_INVALID_RESPONSE, "the answer of m can't be used: /n is missing");
    let fit = json!({"content": [{"type": "text", "text": "{\"n\":1}"}], "stop_reason": "end_turn", "json": {"n": 1}});
    both(agent.clone(), same(), |run| {
        assert_eq!(asked(run)["response_schema"], schema);
        run.fail("a/turn[0]", unfit());
        let said = asked(run)["messages"][0]["content"][1]["text"].as_str().unwrap();
        assert!(said.contains("/n is missing. Give your final answer again, as JSON"), "{said}");
        run.complete("a/turn[1]", fit.clone());
        assert_eq!(run.finished().output.as_ref().unwrap().value()["answer"], json!({"n": 1}));
    });
    let run = both(agent, same(), |run| {
        run.fail("a/turn[0]", unfit()).fail("a/turn[1]", unfit());
    });
    run.fails_with(&codes::LLM_INVALID_RESPONSE);
    assert_eq!(run.finished().failure.as_ref().unwrap().details, json!({"turns": 2, "tool_calls": 0, "cost": "0"}));
}

#[test]
fn the_last_turn_can_only_answer() {
    let call = |id: &str| uses(&[(id, "fetch", json!({}))]);
    let play = |run: &mut Harness| {
        for turn in 0..3 {
            assert_eq!(asked(run).get("tool_choice"), None);
            run.complete(&format!("a/turn[{turn}]"), call(&turn.to_string()));
            run.complete(&format!("a/turn[{turn}]/tool[0]"), json!("page"));
        }
        assert_eq!(asked(run)["tool_choice"], json!({"type": "none"}));
        let said = asked(run)["messages"].as_array().unwrap().last().unwrap()["content"][1]["text"].as_str().unwrap();
        assert!(said.starts_with("No tool can be called any more."), "{said}");
    };
    both(reader_json(), reader(), |run| {
        play(run);
        run.complete("a/turn[3]", text("enough"));
    });
    let run = both(reader_json(), reader(), |run| {
        play(run);
        run.complete("a/turn[3]", call("3"));
        assert!(run.calls.is_empty(), "{:?}", open(run));
    });
    run.fails_with(&codes::AGENT_TURN_LIMIT);
    let failure = run.finished().failure.clone().unwrap();
    assert!(
        failure.message.contains("step a: the agent has no final answer after 4 turns and 3 tool calls"),
        "{failure}"
    );
}

#[test]
fn tool_calls_and_money_have_bounds_of_their_own() {
    let calls = |n: usize| {
        let calls: Vec<_> = (0..n).map(|id| (["x", "y", "z"][id], "fetch", json!({}))).collect();
        uses(&calls)
    };
    let mut agent = reader_json();
    agent["max_tool_calls"] = json!(2);
    both(agent, reader().max_tool_calls(2), |run| {
        run.complete("a/turn[0]", calls(3));
        assert_eq!(open(run), ["a/turn[0]/tool[0]", "a/turn[0]/tool[1]"]);
        run.complete("a/turn[0]/tool[0]", json!(0)).complete("a/turn[0]/tool[1]", json!(1));
        assert_eq!(told(run), ["ok", "ok", "ERR_LIMIT_EXCEEDED"]);
        assert_eq!(asked(run)["tool_choice"], json!({"type": "none"}));
        run.complete("a/turn[1]", text("done"));
    });
    // A turn is declared to cost a cent, and a call two.
    let mut agent = reader_json();
    agent["budget"] = json!("0.05");
    let run = both(agent, reader().budget(Money::from_cents(5)), |run| {
        run.complete_at_cost("a/turn[0]", calls(3), Money::from_cents(1));
        assert_eq!(open(run), ["a/turn[0]/tool[0]", "a/turn[0]/tool[1]"]);
        run.complete_at_cost("a/turn[0]/tool[0]", json!(0), Money::from_cents(2));
        run.complete_at_cost("a/turn[0]/tool[1]", json!(1), Money::from_cents(1));
        assert_eq!(told(run), ["ok", "ok", "ERR_BUDGET_EXCEEDED"]);
        run.complete_at_cost("a/turn[1]", calls(1), Money::from_cents(1));
    });
    run.fails_with(&codes::BUDGET_EXCEEDED);
    let failure = run.finished().failure.clone().unwrap();
    assert!(failure.message.contains("$0 of the agent's own budget are left ($0.05 spent)"), "{failure}");
}

#[test]
fn tools_are_called_one_after_the_other_on_request() {
    let mut agent = reader_json();
    agent["parallel"] = json!(false);
    both(agent, reader().one_at_a_time(), |run| {
        run.complete(
            "a/turn[0]",
            uses(&[("x", "fetch", json!({})), ("y", "nope", json!({})), ("z", "fetch", json!({}))]),
        );
        assert_eq!(open(run), ["a/turn[0]/tool[0]"]);
        run.complete("a/turn[0]/tool[0]", json!(0));
        assert_eq!(open(run), ["a/turn[0]/tool[2]"]);
        run.complete("a/turn[0]/tool[2]", json!(2)).complete("a/turn[1]", text("done"));
    });
}

#[test]
fn a_person_is_asked_before_a_tool_is_called() {
    let mut agent = reader_json();
    agent["tools"] = json!(["fetch", {"skill": "pay", "approve": true}]);
    agent["approval_timeout"] = json!("1h");
    let same = Agent::new("find it", "m").tool("fetch").tool(AgentTool::new("pay").approve()).max_turns(4);
    let same = same.approval_timeout(Duration::from_secs(3_600));
    let answer = |seq, place: usize, payload: Value| {
        let name = format!("a/turn[0]/tool[{place}]/approval");
        Fact::Signal { seq, name, payload: harness::json(payload) }
    };
    both(agent, same, |run| {
        let pay = |n: u32| json!({"n": n});
        run.complete(
            "a/turn[0]",
            uses(&[("w", "pay", pay(0)), ("x", "fetch", json!({})), ("y", "pay", pay(2)), ("z", "pay", pay(3))]),
        );
        assert_eq!(open(run), ["a/turn[0]/tool[1]"]);
        // In any order, and each for itself.
        run.apply(answer(1, 2, json!({"approved": false, "by": "Ada", "comment": "too dear"})));
        run.apply(answer(2, 0, json!({"approved": true})));
        assert_eq!(open(run), ["a/turn[0]/tool[1]", "a/turn[0]/tool[0]"]);
        run.complete("a/turn[0]/tool[1]", json!("page")).complete("a/turn[0]/tool[0]", json!("paid"));
        run.crash().advance(Duration::from_secs(3_601));
        assert_eq!(told(run), ["ok", "ok", "ERR_APPROVAL_DENIED", "ERR_TIMEOUT"]);
        let declined = asked(run)["messages"][2]["content"][2]["content"][0]["text"].as_str().unwrap();
        assert!(declined.contains("Ada has declined this call, so it was not made: too dear"), "{declined}");
        run.complete("a/turn[1]", text("done"));
        assert_eq!(run.finished().output.as_ref().unwrap().value()["tool_calls"], 4);
    });
}

#[test]
fn an_unknown_outcome_is_told_to_the_model() {
    both(reader_json(), reader(), |run| {
        run.complete("a/turn[0]", uses(&[("x", "pay", json!({}))])).crash();
        assert_eq!(told(run), ["ERR_OUTCOME_UNKNOWN"]);
        run.complete("a/turn[1]", text("ask somebody"));
    });
}

#[test]
fn a_turn_that_fails_ends_the_agent_and_its_retry_does_that_turn_anew() {
    let play = |run: &mut Harness| {
        run.complete("a/turn[0]", uses(&[("x", "fetch", json!({})), ("y", "fetch", json!({}))]));
        run.fail("a/turn[0]/tool[1]", flaky()).complete("a/turn[0]/tool[0]", json!("page"));
        run.fail("a/turn[1]", Failure::new(codes::LLM_OVERLOADED, "busy"));
    };
    both(reader_json(), reader(), play).fails_with(&codes::LLM_OVERLOADED);
    for mut run in [as_step(reader_json(), json!({}), json!(null)), as_flow(reader())] {
        play(&mut run);
        let again = retry(&run.plan, &run.flows, &run.lines, &|_| None, RunId::new("run-2").unwrap(), run.now).unwrap();
        assert_eq!(again.fork.effect.as_str(), "a/turn[1]");
        run.lines = again.lines;
        run.crash();
        assert_eq!(open(&run), ["a/turn[1]"]);
        run.complete("a/turn[1]", text("done"));
        assert_eq!(run.finished().output.as_ref().unwrap().value()["turns"], 2);
    }
    // On the other hand a program that gave up has no effect to do anew.
    let mut run = as_step(json!({"goal": "g", "model": "m", "max_turns": 1}), json!({}), json!(null));
    run.complete("a/turn[0]", uses(&[("x", "fetch", json!({}))])).fails_with(&codes::AGENT_TURN_LIMIT);
    let failure =
        retry(&run.plan, &run.flows, &run.lines, &|_| None, RunId::new("run-2").unwrap(), run.now).unwrap_err();
    assert!(failure.message.contains("its program has (ERR_AGENT_TURN_LIMIT)"), "{failure}");
}

#[test]
fn a_fork_goes_on_from_any_turn_with_another_result() {
    for mut run in [as_step(reader_json(), json!({}), json!(null)), as_flow(reader())] {
        run.complete("a/turn[0]", uses(&[("x", "fetch", json!({}))])).complete("a/turn[0]/tool[0]", json!("old"));
        run.complete("a/turn[1]", text("it is old"));
        let effect = "a/turn[0]/tool[0]".parse().unwrap();
        let shared = fork_point(&run.lines, &|_| None, &effect).unwrap().unwrap();
        let of = Fork { run: RunId::new("run-1").unwrap(), effect: effect.clone() };
        let started =
            RunStarted { run: RunId::new("run-2").unwrap(), forked_from: Some(of), ..run.engine.started().clone() };
        let edited = Some((effect, harness::json(json!("new"))));
        (run.lines, _) = fork(&run.lines, &|_| None, shared, started, edited).unwrap();
        run.crash();
        assert_eq!(asked(&run)["messages"][2]["content"][0]["content"][0]["text"], "new");
        run.complete("a/turn[1]", text("it is new"));
        assert_eq!(run.finished().output.as_ref().unwrap().value()["text"], "it is new");
        run.replay().unwrap();
    }
}

#[test]
fn agents_are_steps_like_others() {
    let agent = json!({
        "goal": "look at {{ item }}", "model": "{{ input.model }}", "system": "Be brief.", "adapter": "stub",
        "max_tokens": 99, "temperature": 0.5, "options": {"effort": "low"},
    });
    let more = json!({"for_each": "input.items", "concurrency": 1, "on_error": {"fallback": "{{ error.code }}"}});
    let mut run = as_step(agent, more, json!({"model": "m", "items": ["a", "b"]}));
    let expected = json!({
        "adapter": "stub", "max_tokens": 99, "model": "m", "options": {"effort": "low"}, "system": "Be brief.",
        "temperature": 0.5, "messages": [{"role": "user", "content": [{"type": "text", "text": "look at a"}]}],
    });
    assert_eq!(*run.calls[0].input.value(), expected);
    run.complete("a[0]/turn[0]", text("A"));
    run.fail("a[1]/turn[0]", Failure::new(codes::LLM_AUTH_FAILED, "no key"));
    let output = run.finished().output.as_ref().unwrap().value();
    assert_eq!((&output[0]["answer"], &output[1]), (&json!("A"), &json!("ERR_LLM_AUTH_FAILED")));
    let again = json!({"repeat": {"until": "output.answer == 'yes'", "max": 3}});
    let mut run = as_step(json!({"goal": "g", "model": "m"}), again, json!(null));
    run.complete("a[0]/turn[0]", text("no")).complete("a[1]/turn[0]", text("yes"));
    assert_eq!(run.finished().output.as_ref().unwrap().value()["answer"], "yes");
}

#[test]
fn a_prompt_that_is_none_fails_the_step() {
    let run = as_step(json!({"goal": "{{ input.n }}", "model": "m"}), json!({}), json!({"n": 5}));
    run.fails_with(&codes::INVALID_INPUT);
    let failure = run.finished().failure.clone().unwrap();
    assert!(
        failure.message.starts_with("step a: the agent a: invalid type: integer `5`, expected a string"),
        "{failure}"
    );
}

#[test]
fn an_agent_that_a_plan_does_not_allow_says_so() {
    let table: [(Agent, aos_core::Code, &str); 5] = [
        (Agent::new("g", "m").tool("nope"), codes::SKILL_NOT_IN_PLAN, "pins no skill for \"nope\""),
        (Agent::new("g", "m").tool("llm_invoke"), codes::SKILL_NOT_IN_PLAN, "not as a tool of agents"),
        (Agent::new("g", "m").tool("fetch").tool("fetch"), codes::INVALID_DEFINITION, "two tools"),
        (Agent::new("g", "m").tool(AgentTool::new("fetch").name("a b")), codes::INVALID_DEFINITION, "a tool name"),
        (Agent::new("g", "m").max_turns(0), codes::INVALID_DEFINITION, "max_turns is 0"),
    ];
    for (agent, code, why) in table {
        let run = as_flow(agent);
        run.fails_with(&code);
        assert!(run.finished().failure.as_ref().unwrap().message.contains(why), "{:?}", run.finished());
    }
}
