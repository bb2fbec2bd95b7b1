//! The tool calls of one turn.

use std::collections::VecDeque;

use serde_json::Value;

use super::conversation::{Wish, told};
use super::tool::Tool;
use crate::error::{Failure, codes};
use crate::llm::Content;
use crate::payload::Payload;

/// One turn's calls, until each has its result.
pub(super) struct Round {
    ids: Vec<String>,
    results: Vec<Option<Content>>,
    /// Calls that have not been begun.
    waiting: VecDeque<Call>,
    /// How many are under way.
    pub(super) open: usize,
}

/// A call that is in order.
pub(super) struct Call {
    /// Its place in the turn.
    pub(super) place: usize,
    /// The tool's place among the agent's.
    pub(super) tool: usize,
    pub(super) input: Payload,
}

impl Round {
    /// The round of these wishes, of which at most `left` may be made; what is not in order has its answer at once.
    pub(super) fn new(wishes: &[Wish], tools: &[Tool], cut: bool, left: u32) -> Self {
        let mut round = Self {
            ids: wishes.iter().map(|wish| wish.id.clone()).collect(),
            results: vec![None; wishes.len()],
            waiting: VecDeque::new(),
            open: 0,
        };
        for (place, wish) in wishes.iter().enumerate() {
            let checked = checked(wish, tools, cut).and_then(|(tool, input)| {
                if round.waiting.len() as u64 >= u64::from(left) {
                    let message = "this call was not made: all tool calls that there may be are used up";
                    return Err(Failure::new(codes::LIMIT_EXCEEDED, message));
                }
                Ok(Call { place, tool, input })
            });
            match checked {
                Ok(call) => round.waiting.push_back(call),
                Err(failure) => round.settle(place, Err(failure)),
            }
        }
        round
    }

    /// How many calls have not been begun.
    pub(super) fn waiting(&self) -> u32 {
        u32::try_from(self.waiting.len()).unwrap_or(u32::MAX)
    }

    /// The next call to begin; with `alone`, only when no other is under way.
    pub(super) fn next(&mut self, alone: bool) -> Option<Call> {
        if alone && self.open > 0 { None } else { self.waiting.pop_front() }
    }

    /// Keeps what a call came to.
    pub(super) fn settle(&mut self, place: usize, result: Result<Value, Failure>) {
        if let (Some(id), Some(slot)) = (self.ids.get(place), self.results.get_mut(place)) {
            *slot = Some(told(id, result));
        }
    }

    /// The results in the order of the calls, once there are all.
    pub(super) fn results(&mut self) -> Option<Vec<Content>> {
        if self.results.iter().any(Option::is_none) {
            return None;
        }
        Some(self.results.drain(..).flatten().collect())
    }
}

/// The tool that is meant and the skill's input.
fn checked(wish: &Wish, tools: &[Tool], cut: bool) -> Result<(usize, Payload), Failure> {
    let Some((place, tool)) = tools.iter().enumerate().find(|(_, tool)| tool.offered.name == wish.tool) else {
        let names: Vec<_> = tools.iter().map(|tool| tool.offered.name.as_str()).collect();
        let there = if names.is_empty() { "no tool".to_owned() } else { names.join(", ") };
        let message = format!("there is no tool {:?}; there is {there}", clip(&wish.tool, 80));
        return Err(Failure::new(codes::AGENT_UNKNOWN_TOOL, message));
    };
    let not_made = |why: &str| Err(Failure::new(codes::INVALID_INPUT, format!("this call was not made: {why}")));
    if cut {
        return not_made("your answer was cut because it reached the limit of its length; answer in fewer words");
    }
    if wish.nameless {
        return not_made("it had no id of its own; call the tool again");
    }
    Ok((place, Payload::new(tool.input(&wish.input)?.into())?))
}

/// The start of a text that may be long.
pub(super) fn clip(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
