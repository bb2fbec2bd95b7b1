//! The HTTP surface: thin handlers over the state, one file per resource.

pub mod body;
pub mod middleware;
pub mod problem;
pub mod request_id;
