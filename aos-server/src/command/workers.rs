//! `workers list`

use super::client::Client;
use super::ui::{self, CommandResult, Exit, Ui, styled};
use crate::cli::WorkersCommand;

pub async fn run(ui: &Ui, client: &Client, command: WorkersCommand) -> CommandResult {
    let WorkersCommand::List = command;
    let list = client.get(&["workers"], &[]).await?.json()?;
    let workers = list["workers"].as_array().map(Vec::as_slice).unwrap_or_default();
    ui.result(workers, |out| {
        if workers.is_empty() {
            return writeln!(out, "no workers");
        }
        workers.iter().try_for_each(|worker| {
            let text = |field: &str| worker[field].as_str().unwrap_or_default();
            let (style, state) = match (worker["alive"] == true, worker["draining"] == true) {
                (false, _) => (ui::BAD, "dead"),
                (true, true) => (ui::WARN, "draining"),
                (true, false) => (ui::GOOD, "alive"),
            };
            writeln!(
                out,
                "{}  {:<6}  {}:{}  {}  {} of {} runs  heard of {:.0} s ago  {}",
                styled(style, format_args!("{state:<8}")),
                text("role"),
                text("host"),
                worker["pid"],
                text("version"),
                worker["in_hand"],
                worker["concurrency"],
                worker["seen_s"].as_f64().unwrap_or(0.0),
                text("worker"),
            )
        })
    })?;
    Ok(Exit::Yes)
}
