//! `queue show|limit`

use std::io::{self, Write};

use serde_json::{Value, json};

use super::client::Client;
use super::ui::{self, CommandResult, Exit, Ui, styled};
use crate::cli::{Limit, QueueCommand};

pub async fn run(ui: &Ui, client: &Client, command: QueueCommand) -> CommandResult {
    match command {
        QueueCommand::Show => {
            let queue = client.get(&["queue"], &[]).await?.json()?;
            ui.result(&queue, |out| show(out, &queue))?;
        }
        QueueCommand::Limit { id, max: Limit(max), skill } => {
            let (what, limits) = if skill { ("skill", "skill-limits") } else { ("workflow", "limits") };
            let path = ["queue", limits, &id];
            let limit = match max {
                Some(max) => client.put(&path, &json!({ "max": max })).await?.json()?,
                None => {
                    client.delete(&path).await?;
                    json!({what: id, "max": null})
                }
            };
            ui.result(&limit, |out| line(out, &limit, id.len()))?;
        }
    }
    Ok(Exit::Yes)
}

fn show(out: &mut dyn Write, queue: &Value) -> io::Result<()> {
    for state in ["queued", "running", "parked", "paused", "dead"] {
        let runs = queue["depth"][state].as_u64().unwrap_or(0);
        let bound = queue["max_queued"].as_u64().filter(|_| state == "queued");
        let bound = bound.map(|max| format!(" of at most {max}")).unwrap_or_default();
        let style = if state == "dead" && runs > 0 { ui::BAD } else { anstyle::Style::new() };
        writeln!(out, "{state:<8}  {}{bound}", styled(style, runs))?;
    }
    if let Some(since) = queue["oldest_claimable_at"].as_str() {
        let seconds = queue["oldest_claimable_s"].as_f64().unwrap_or(0.0);
        writeln!(out, "the oldest run that could be claimed has waited {seconds:.1} s, since {since}")?;
    }
    let limits = queue["limits"].as_array().map(Vec::as_slice).unwrap_or_default();
    let skills = queue["skill_limits"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (title, limits) in [("limits of workflows", limits), ("limits of skills", skills)] {
        if limits.is_empty() {
            continue;
        }
        writeln!(out, "{title}")?;
        let width = limits.iter().map(|limit| name(limit).len()).max().unwrap_or(0);
        for limit in limits {
            write!(out, "  ")?;
            line(out, limit, width)?;
        }
    }
    Ok(())
}

fn line(out: &mut dyn Write, limit: &Value, width: usize) -> io::Result<()> {
    let name = name(limit);
    match (limit["max"].as_u64(), limit["held"].as_u64()) {
        (None, _) => writeln!(out, "{name:<width$}  no limit"),
        (Some(max), None) => writeln!(out, "{name:<width$}  at most {max} at a time"),
        (Some(max), Some(held)) => writeln!(out, "{name:<width$}  {held} of {max} held, {} queued", limit["queued"]),
    }
}

fn name(limit: &Value) -> &str {
    limit["workflow"].as_str().or(limit["skill"].as_str()).unwrap_or_default()
}
