//! The engine.

mod program;

pub(crate) use program::{EffectResult, Program};
