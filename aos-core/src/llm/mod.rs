//! Requests to and answers of language models, and the adapters that carry them.
//!
//! Workflows never reach a model themselves: they call the skill `llm_invoke`, which asks the host's [`Adapters`] for
//! the adapter to use. Which one that is depends on the step, the host's default and the operator's [`Switches`].

mod adapter;
mod adapters;
mod breaker;
mod cassette;
mod content;
mod delta;
mod failure;
mod price;
mod recorded;
mod request;
mod response;
mod room;
mod sample;
mod stub;
mod traffic;

pub use adapter::{CacheUse, LlmAdapter, LlmAnswer, LlmCall};
pub use adapters::{AdapterStatus, Adapters, STUB, Switches};
pub use breaker::{Breaker, BreakerSettings, BreakerState, Outcome, Pass};
pub use cassette::Cassette;
pub use content::{CacheTtl, Content, ImageSource};
pub use delta::{Delta, Deltas};
pub use failure::{LlmFailure, Sent, bill};
pub use price::{Price, PriceBook, PriceRef, Priced, Rates};
pub use recorded::{RecordedAdapter, Recorder};
pub use request::{LlmRequest, Message, Role, Tool, ToolChoice};
pub use response::{LlmResponse, StopReason, Usage};
pub use room::{Left, Room};
pub use stub::StubAdapter;
pub use traffic::Traffic;
