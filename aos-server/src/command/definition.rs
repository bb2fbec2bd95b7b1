//! Definitions as files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aos_core::Payload;
use aos_core::registry::Registry;
use aos_core::skill::schema::{JsonSchemas, PlanInput};
use aos_core::workflow::Plan;

use super::ui::CommandError;

/// The plan of the definition in `file`, with the workflows in `children` at hand.
///
/// # Errors
/// A file that can't be read, or a definition with mistakes: all of them.
pub fn plan(_skills: &Registry, _file: &Path, _children: &[PathBuf]) -> Result<Arc<Plan>, CommandError> {
    Err(CommandError::usage("definitions are not there yet"))
}

/// Checks an input against the plan's schema.
///
/// # Errors
/// Every mistake.
pub fn check_input(plan: &Plan, input: &Payload) -> Result<(), CommandError> {
    Ok(PlanInput::new(&JsonSchemas::new(), plan)?.check(input)?)
}
