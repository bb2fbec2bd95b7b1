//! Definitions as files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aos_core::registry::Registry;
use aos_core::skill::schema::{JsonSchemas, PlanInput};
use aos_core::workflow::{Definition, Plan};
use aos_core::{Failure, Payload};

use super::input::read_text;
use super::ui::{CommandError, Exit};
use crate::clock;

/// The plan of the definition in `file`, with the workflows in `children` at hand.
///
/// # Errors
/// A file that can't be read, or a definition with mistakes: all of them.
pub fn plan(skills: &Registry, file: &Path, children: &[PathBuf]) -> Result<Arc<Plan>, CommandError> {
    for child in children {
        let (definition, plan) = read(skills, child)?;
        let source = definition.source().clone();
        skills.register_plan(source, plan, clock::now()).map_err(|failure| wrong(failure, child))?;
    }
    Ok(read(skills, file)?.1)
}

fn read(skills: &Registry, file: &Path) -> Result<(Definition, Arc<Plan>), CommandError> {
    let text = read_text(file)?;
    let is_json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    // JSON is YAML too, but its own parser explains its mistakes better.
    let definition = if is_json { Definition::from_json(&text) } else { Definition::from_yaml(&text) };
    let definition = definition.map_err(|failure| wrong(failure, file))?;
    let plan = definition.plan(skills).map_err(|failure| wrong(failure, file))?;
    Ok((definition, Arc::new(plan)))
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
