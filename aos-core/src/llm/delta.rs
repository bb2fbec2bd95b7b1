//! Answers while they are being written.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// A piece of an answer, in the order of the answer. Pieces are for those who watch: the answer as a whole comes at the
/// end, and only that is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Delta {
    /// More text of a block.
    Text {
        /// The block's place in the answer, from 0.
        block: u32,
        /// What to append.
        text: String,
    },
    /// More of the model's reasoning.
    Thinking {
        /// The block's place in the answer, from 0.
        block: u32,
        /// What to append.
        text: String,
    },
    /// More of a tool call's input, as JSON text.
    ToolInput {
        /// The block's place in the answer, from 0.
        block: u32,
        /// The tool.
        name: String,
        /// What to append.
        json: String,
    },
}

/// Where the pieces of one answer go. Cheap to clone; must not block.
#[derive(Clone)]
pub struct Deltas(Arc<dyn Fn(Delta) + Send + Sync>);

impl Deltas {
    /// Passes pieces to `sink`.
    pub fn new(sink: impl Fn(Delta) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// Passes a piece on.
    pub fn send(&self, delta: Delta) {
        (self.0)(delta);
    }
}

impl fmt::Debug for Deltas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deltas")
    }
}
