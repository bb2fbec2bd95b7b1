//! `serve`

use super::settings;
use super::ui::{CommandError, CommandResult, Ui};
use crate::cli::ServeArgs;
use crate::config::Sources;

pub fn run(_ui: &Ui, sources: Sources, args: &ServeArgs) -> CommandResult {
    let _config = settings::for_server(sources, args).map_err(settings::wrong)?;
    Err(CommandError::usage("serving is not there yet"))
}
