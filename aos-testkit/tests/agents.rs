//! The research agent of the fixtures: as a step and in Rust, scripted and on the stub, forked from a turn of its past.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests panic")]

#[path = "support/flows.rs"]
mod flows;
#[path = "support/stage.rs"]
mod stage;

use std::fs;
use std::path::Path;

use aos_core::event::{Event, Fork, Requested, RunStarted};
use aos_core::id::{EffectId, RunId};
use aos_core::journal::Line;
use aos_core::payload::Payload;
use aos_core::replay::{fork, fork_point, replay, verify_chain};
use aos_testkit::harness::Ran;
use aos_testkit::history::rechained;
use aos_testkit::scenario::Scenario;
use serde_json::{Value, json};
use stage::{fixture, stage};

fn scenario(name: &str) -> Scenario {
    Scenario::read(&fixture(&format!("scenarios/{name}.yaml"))).unwrap()
}

fn ran(name: &str) -> Ran {
    scenario(name).check(&stage()).unwrap_or_else(|why| panic!("{name}: {why}"))
}

/// What a journal says about effects, without times and hashes.
fn effects(ran: &Ran) -> Vec<Value> {
    let entries = ran.lines.iter().map(|line| serde_json::from_str::<Value>(line.as_str()).unwrap());
    let mut entries: Vec<_> = entries.filter(|entry| entry.get("effect").is_some()).collect();
    for entry in &mut entries {
        let fields = entry.as_object_mut().unwrap();
        fields.remove("at");
        fields.remove("prev");
    }
    entries
}

#[test]
fn a_step_and_a_rust_workflow_ask_for_the_same() {
    let (step, flow) = (ran("research_agent"), ran("research_agent_flow"));
    assert_eq!(effects(&step), effects(&flow));
    assert_eq!(step.record.output, flow.record.output);
}

#[test]
fn a_fork_from_turn_five_goes_on_with_an_edited_result() {
    let original = ran("research_agent");
    let effect = EffectId::new("research/turn[4]/tool[0]").unwrap();
    let shared = fork_point(&original.lines, &original.finder(), &effect).unwrap().unwrap();
    let run = RunId::new("run-0002").unwrap();
    let entries = verify_chain(&original.lines, &original.finder()).unwrap();
    let Event::RunStarted(started) = &entries[0].event else { panic!("no start") };
    let forked_from = Some(Fork { run: started.run.clone(), effect: effect.clone() });
    let started = RunStarted { run: run.clone(), forked_from, ..started.clone() };
    let edited = json!({"status": 200, "body": "Warranty: 10 years, igniters included."});
    let edited = Some((effect, Payload::new(edited).unwrap()));
    let (lines, blobs) = fork(&original.lines, &original.finder(), shared, started, edited).unwrap();

    let played = scenario("research_agent").play(&stage()).unwrap();
    let forked = played.harness.run_id(run).past(lines.clone(), blobs).run().unwrap();
    assert_eq!(forked.lines[..lines.len()], lines);
    let called: Vec<_> = forked.calls.iter().map(|call| call.effect.as_str()).collect();
    // Of turn five only what had not ended; nothing of the turns before.
    assert!(!called.iter().any(|effect| effect.starts_with("research/turn[3]")), "{called:?}");
    assert!(called.contains(&"research/turn[5]") && !called.contains(&"research/turn[4]"), "{called:?}");
    let entries = verify_chain(&forked.lines, &forked.finder()).unwrap();
    let next = entries.iter().find_map(|entry| match &entry.event {
        Event::EffectRequested { effect, request } if effect.as_str() == "research/turn[5]" => Some(request.clone()),
        _ => None,
    });
    let Requested::Call { input, .. } = next.unwrap() else { panic!("a turn is a call") };
    assert!(input.as_str().contains("Warranty: 10 years, igniters included."), "{input}");
    assert!(!input.as_str().contains("Warranty: 5 years"), "{input}");
    assert_eq!(forked.record.output, original.record.output, "the script says the same");
    assert_ne!(forked.content_hash(), original.content_hash());
    assert_eq!(forked.replay().unwrap().content_hash(), Some(forked.content_hash()));
}

/// The scenario with another text in its workflow.
fn reworded(name: &str, changes: &[(&str, &str)], directory: &Path) -> Scenario {
    let text = fs::read_to_string(fixture("workflows/research_agent.yaml")).unwrap();
    let text = changes.iter().fold(text, |text, (old, new)| {
        assert!(text.contains(old), "{old:?} is not in the workflow");
        text.replace(old, new)
    });
    let file = directory.join("workflow.yaml");
    fs::write(&file, text).unwrap();
    Scenario { workflow: Some(file), ..scenario(name) }
}

/// On the stub every agent ends, and well, whatever its bounds are.
#[test]
fn agents_end_on_the_stub_within_any_bounds() {
    let directory = tempfile::tempdir().unwrap();
    for (turns, calls) in [(1, 20), (2, 20), (3, 20), (4, 20), (12, 1), (12, 2)] {
        let changes = [
            ("max_turns: 12", format!("max_turns: {turns}")),
            ("max_tool_calls: 20", format!("max_tool_calls: {calls}")),
        ];
        let changes = changes.each_ref().map(|(old, new)| (*old, new.as_str()));
        let scenario = reworded("research_agent_stub", &changes, directory.path());
        let ran = scenario.check(&stage()).unwrap_or_else(|why| panic!("{turns}, {calls}: {why}"));
        let output = ran.record.output.unwrap();
        assert!(output.value()["turns"].as_u64().unwrap() <= turns, "{output}");
        assert!(output.value()["tool_calls"].as_u64().unwrap() <= calls, "{output}");
        assert!(output.value()["answer"]["sources"].is_array(), "{output}");
    }
}

/// An agent passes on why an effect was refused; a later release may say it in other words.
#[test]
fn another_wording_of_a_refusal_is_no_drift() {
    let directory = tempfile::tempdir().unwrap();
    let changes = [("version: 1.0.0", "version: 1.0.0\nlimits: {in_flight: 1}")];
    let played = reworded("research_agent", &changes, directory.path()).play(&stage()).unwrap();
    let ran = played.harness.run().unwrap();
    let old = "the run has 2 effects in flight, and its limit is 1";
    assert!(ran.lines.iter().any(|line| line.as_str().contains(old)), "nothing was refused");
    let worded = |line: &Line| Line::new(line.as_str().replace(old, "there are too many of them"));
    // The end has a hash of what the model was told, and so of the words.
    let unfinished = &ran.lines[..ran.lines.len() - 1];
    let lines = rechained(&unfinished.iter().map(worded).collect::<Vec<_>>());
    assert_ne!(lines, unfinished);
    replay(ran.plan.clone(), &ran.flows, &lines, &ran.finder()).unwrap();
}
