//! `completions SHELL`.

use super::ui::{CommandResult, Exit, Ui};

pub fn run(ui: &Ui, shell: clap_complete::Shell) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::cli::command(), "aos-server", &mut script);
    ui.raw(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Yes)
}
