//! A deterministic runtime for agent workflows: contracts and a sans-IO engine.
//!
//! A *workflow* (a declarative definition or a Rust `async fn`) asks for *effects*: skill calls, sleeps, signals, child
//! runs. What the host learns of them goes into a *journal*, and the journal alone is enough to run the workflow again,
//! anywhere, without I/O, to the same content hash.
//!
//! ```
//! use std::sync::Arc;
//!
//! use aos_core::driver::Host;
//! use aos_core::engine::RunOptions;
//! use aos_core::flow::Flows;
//! use aos_core::id::{RunId, WorkerId};
//! use aos_core::memory::{self, VirtualClock};
//! use aos_core::registry::Registry;
//! use aos_core::replay::replay;
//! use aos_core::skill::{SkillContract, TypedSkill};
//! use aos_core::time::Clock;
//! use aos_core::workflow::Definition;
//! use aos_core::{Failure, Payload};
//! use serde_json::json;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock = Arc::new(VirtualClock::default());
//! let registry = Registry::new();
//! let contract = SkillContract::idempotent("lookup", "1.0.0")?;
//! let lookup = TypedSkill::new(contract, |city: String, _call| async move { Ok::<_, Failure>(format!("sun in {city}")) });
//! registry.register(Arc::new(lookup), clock.now())?;
//!
//! let definition = r#"{
//!     "id": "weather",
//!     "steps": [{"id": "look", "skill": "lookup@^1", "params": "{{ input.city }}"}],
//!     "output": {"report": "{{ steps.look.output }}"}
//! }"#;
//! let plan = Arc::new(Definition::from_json(definition)?.plan(&registry)?);
//!
//! let stores = memory::stores(clock.clone());
//! let host = Host::new(stores, Arc::new(registry), Flows::new(), clock, WorkerId::new("me")?);
//! let input = Payload::new(json!({"city": "Oslo"}))?;
//! let run = pollster::block_on(host.run(&plan, input, RunOptions::new(RunId::new("run-1")?)))?;
//! assert_eq!(run.finished.output, Some(Payload::new(json!({"report": "sun in Oslo"}))?));
//!
//! // Again, from the journal alone: no store, no skill, no clock.
//! let replayed = replay(plan, &Flows::new(), &run.lines, &|_| None)?;
//! assert_eq!(replayed.content_hash(), Some(run.finished.content_hash));
//! # Ok(())
//! # }
//! ```
//!
//! # Where to go
//!
//! | to | read |
//! |---|---|
//! | write workflows as JSON or YAML | [`workflow`] |
//! | write them as Rust functions | [`flow`] |
//! | give them something to call | [`skill`], [`registry`], [`llm`] |
//! | let a model decide what is called | [`agent`] |
//! | run them | [`driver`], with the stores in [`memory`] or your own |
//! | drive the state machine yourself | [`engine`] |
//! | read journals, replay, keep golden files | [`journal`], [`replay`] |
//! | know what may go wrong | [`error`] |
//!
//! # What the crate never does
//! It opens no file or socket, reads no clock or environment, draws no randomness of its own and starts no thread.
//! The host passes these in. Cargo features, all off by default: `yaml` (definitions in YAML), `jsonpath` (the skill
//! `json_transform`), `jsonschema` (schema checks of inputs and outputs), `tokio` (a clock on tokio's timer).

use std::future::Future;
use std::pin::Pin;

pub mod agent;
pub mod audit;
pub mod blob;
pub mod budget;
pub mod cache;
pub mod canonical;
pub mod diff;
pub mod driver;
pub mod engine;
pub mod error;
pub mod event;
mod fast_map;
pub mod flow;
pub mod id;
pub mod journal;
pub mod json;
#[cfg(feature = "jsonpath")]
mod jsonpath;
pub mod keys;
pub mod ledger;
pub mod limit;
pub mod limiter;
pub mod llm;
pub mod memory;
pub mod money;
pub mod payload;
pub mod queue;
pub mod random;
pub mod registry;
pub mod replay;
pub mod requirement;
pub mod retry;
pub mod runs;
pub mod schedules;
pub mod skill;
pub mod slots;
pub mod switches;
mod text;
pub mod time;
pub mod trace;
pub mod workers;
pub mod workflow;

pub use error::{Code, Failure, codes};
pub use payload::Payload;

/// A boxed future that may borrow, as the object-safe contracts return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
