//! What adapters of providers share that are spoken to over HTTP: the transport with its phases, keys and their
//! rotation, server-sent events, and failures.
//!
//! Nothing here retries. The one exception is a key that was refused: the request is made again with another key, since
//! a refused request has used nothing.

mod api;
mod failure;
mod headers;
mod keys;
mod sse;
mod transport;

pub use transport::Timeouts;

pub(crate) use api::{Api, Broken, Call, Provider, Stream, hear};
pub(crate) use failure::Refusal;
pub(crate) use sse::Sse;
pub(crate) use transport::Reply;
