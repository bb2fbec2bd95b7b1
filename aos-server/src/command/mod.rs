//! What the commands do: one file each.

mod client;
mod completions;
mod input;
mod settings;
mod ui;

use std::future::Future;
use std::process::ExitCode;

use aos_core::{Failure, codes};
use clap::Parser as _;

use crate::cli::{Cli, Command, ServeArgs};
use ui::{CommandError, CommandResult, Exit, Ui};

/// Reads the command line, does what it says, and gives the exit code.
pub fn main() -> ExitCode {
    // Wrong usage ends here with exit code 2, help and version with 0.
    let cli = Cli::parse();
    let ui = Ui::new(cli.format);
    match dispatch(&ui, cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            ui.error(&error);
            error.exit.into()
        }
    }
}

fn dispatch(ui: &Ui, cli: Cli) -> CommandResult {
    let sources = settings::sources(&cli.set);
    match cli.command.unwrap_or_else(|| Command::Serve(ServeArgs::default())) {
        Command::Completions { shell } => completions::run(ui, shell),
        _ => Ok(Exit::No),
    }
}

/// Runs a command that waits for things.
fn block_on(command: impl Future<Output = CommandResult>) -> CommandResult {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| {
        CommandError::new(Exit::Unreachable, Failure::new(codes::INTERNAL, format!("no threads can be started: {e}")))
    })?;
    runtime.block_on(command)
}
