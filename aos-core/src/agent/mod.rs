//! Agents: a model with skills as tools, bounded by turns, tool calls and money.
//!
//! An agent is a program like any other: it asks for effects and learns their results. Every turn of the model is a call
//! of the skill [`MODEL_SKILL`] (`research/turn[0]`), every tool call one of a pinned skill (`research/turn[0]/tool[1]`),
//! and every question to a person a signal (`research/turn[0]/tool[1]/approval`, which is also the signal's name). So a run
//! with an agent is journaled, replayed, held against drift and forked from any turn as every other run is.
//!
//! The conversation is no state of its own: it is rebuilt from the recorded results. The engine of steps has agents as
//! steps, and Rust workflows as [`Ctx::agent`](crate::flow::Ctx::agent); both run the same program.
//!
//! # What a model may do
//! Nothing but what is listed. A call of a tool that is not on the list, without a name of its own, or with an input that is
//! no object is answered with an error and never made; one whose input doesn't fit the skill's schema is refused by the
//! host before the skill sees it. The model reads these answers, and the failures of tools, and may try again; the bounds
//! hold for all of it.
//!
//! # Texts for the model are part of journals
//! What an agent tells its model is input of the next turn, and so of its hash: to word it differently is a drift of the
//! journals that have it.

mod answer;
mod approval;
mod builder;
mod conversation;
mod program;
mod round;
mod spec;
mod tool;

pub use builder::{Agent, AgentTool};
pub use program::AgentAnswer;
pub(crate) use program::{AgentProgram, turn_of};
pub(crate) use spec::AgentParts;
pub use spec::{AgentSpec, ToolSpec};
pub use tool::ToolPin;
pub(crate) use tool::{default_name, is_name, offered_schema};

/// The skill that asks the model, as a requirement.
pub const MODEL_SKILL: &str = "llm_invoke@^1";

/// The most turns of the model, when an agent doesn't say.
pub const DEFAULT_MAX_TURNS: u32 = 10;

/// The most tool calls, when an agent doesn't say.
pub const DEFAULT_MAX_TOOL_CALLS: u32 = 50;
