//! Definitions as files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aos_core::registry::Registry;
use aos_core::skill::schema::{JsonSchemas, PlanInput};
use aos_core::workflow::Plan;
use aos_core::{Failure, Payload};
use serde_json::Value;

use super::input::read_text;
use super::ui::{CommandError, Exit};
use crate::{clock, definition};

/// The plan of the definition in `file`, with the workflows in `children` at hand.
///
/// # Errors
/// A file that can't be read, or a definition with mistakes: all of them.
pub fn plan(skills: &Registry, file: &Path, children: &[PathBuf]) -> Result<Arc<Plan>, CommandError> {
    for child in children {
        let (definition, plan) = read(skills, child)?;
        skills.register_plan(definition, plan, clock::now()).map_err(|failure| wrong(failure, child))?;
    }
    Ok(read(skills, file)?.1)
}

fn read(skills: &Registry, file: &Path) -> Result<(Value, Arc<Plan>), CommandError> {
    let text = read_text(file)?;
    let is_json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    // JSON is YAML too, but errors in it are explained better by its own parser.
    let parsed =
        if is_json { Payload::parse(&text).map(|payload| payload.value().clone()) } else { definition::yaml(&text) };
    let definition = parsed.map_err(|failure| wrong(failure, file))?;
    let plan = definition::resolve(&definition, skills).map_err(|failure| wrong(failure, file))?;
    Ok((definition, plan))
}

fn wrong(failure: Failure, file: &Path) -> CommandError {
    CommandError::new(Exit::Usage, failure).about(file)
}

/// Checks an input against the plan's schema.
///
/// # Errors
/// Every mistake.
pub fn check_input(plan: &Plan, input: &Payload) -> Result<(), CommandError> {
    Ok(PlanInput::new(&JsonSchemas::new(), plan)?.check(input)?)
}
