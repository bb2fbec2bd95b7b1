//! Requests and answers in the terms of the Messages API, and in ours.
//!
//! What the API says and our terms have no place for is kept in blocks of two types of our own, so that it survives
//! journal and replay and goes back to the API as it came: [`EXTRA`] and [`UNREAD`].

mod request;
mod response;
mod schema;

pub(super) use request::Wire;
pub(super) use response::{Message, Tokens, answer};

/// The type of a last block that has further fields of the blocks before it (citations, say):
/// `{"type": "extra_fields", "of": {"<place of the block>": {…}}}`.
const EXTRA: &str = "extra_fields";

/// The type of a block around one that has a type which our terms know in another form: `{"type": "unread_block",
/// "block": {…}}`.
const UNREAD: &str = "unread_block";
