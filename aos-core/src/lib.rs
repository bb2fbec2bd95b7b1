//! A deterministic runtime for agent workflows: contracts and a sans-IO engine.

use std::future::Future;
use std::pin::Pin;

pub mod blob;
pub mod budget;
pub mod cache;
pub mod canonical;
pub mod diff;
pub mod driver;
pub mod engine;
pub mod error;
pub mod event;
pub mod flow;
pub mod id;
pub mod journal;
#[cfg(feature = "jsonpath")]
mod jsonpath;
pub mod limit;
pub mod limiter;
pub mod llm;
pub mod memory;
pub mod money;
pub mod payload;
pub mod random;
pub mod registry;
pub mod replay;
pub mod requirement;
pub mod retry;
pub mod runs;
pub mod skill;
mod text;
pub mod time;
pub mod workflow;

pub use error::{Code, Failure, codes};
pub use payload::Payload;

/// A boxed future that may borrow, as the object-safe contracts return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
