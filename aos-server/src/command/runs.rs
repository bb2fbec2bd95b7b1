//! `runs list|get|journal|cancel|signal|fork|wait`

use std::io::{self, Write};
use std::time::{Duration, Instant};

use aos_core::runs::RunState;
use serde_json::{Value, json};

use super::client::Client;
use super::input::read_value;
use super::ui::{self, CommandResult, Exit, Ui, styled};
use crate::cli::RunsCommand;

/// Runs on one page.
const PAGE: u32 = 200;

/// How long one request waits for a run.
const WAIT_S: u64 = 30;

pub async fn run(ui: &Ui, client: &Client, command: RunsCommand) -> CommandResult {
    match command {
        RunsCommand::List { states, workflow, limit } => list(ui, client, &states, workflow, limit).await,
        RunsCommand::Get(run) => {
            let run = client.get(&["runs", run.id.as_str()], &[]).await?.json()?;
            ui.result(&run, |out| show(out, &run))?;
            Ok(Exit::Yes)
        }
        RunsCommand::Journal(run) => {
            ui.raw(&client.get(&["runs", run.id.as_str(), "journal"], &[]).await?.text())?;
            Ok(Exit::Yes)
        }
        RunsCommand::Cancel { run, reason } => {
            let answer =
                client.post(&["runs", run.id.as_str(), "cancel"], &json!({ "reason": reason })).await?.json()?;
            ui.result(&answer, |out| writeln!(out, "asked {} to stop; `runs wait {0}` waits for its end", run.id))?;
            Ok(Exit::Yes)
        }
        RunsCommand::Signal { run, name, payload } => {
            let payload = payload.map(|given| read_value("--payload", &given)).transpose()?.unwrap_or_default();
            let answer = client.post(&["runs", run.id.as_str(), "signals", &name], payload.value()).await?.json()?;
            ui.result(&answer, |out| writeln!(out, "sent {name} to {}", run.id))?;
            Ok(Exit::Yes)
        }
        RunsCommand::Fork { run, effect, edited } => {
            let mut body = json!({ "effect": effect });
            if let Some(given) = edited {
                body["output"] = read_value("--with-output", &given)?.value().clone();
            }
            let fork = client.post(&["runs", run.id.as_str(), "fork"], &body).await?.json()?;
            ui.result(&fork, |out| writeln!(out, "{}", text(&fork["id"])))?;
            Ok(Exit::Yes)
        }
        RunsCommand::Wait { run, timeout } => wait(ui, client, run.id.as_str(), timeout).await,
    }
}

async fn list(ui: &Ui, client: &Client, states: &[RunState], workflow: Option<String>, limit: u32) -> CommandResult {
    let mut runs: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let left = limit - u32::try_from(runs.len()).unwrap_or(limit);
        let mut query = vec![("limit", left.min(PAGE).to_string())];
        if !states.is_empty() {
            query.push(("state", states.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(",")));
        }
        query.extend(workflow.clone().map(|workflow| ("workflow", workflow)));
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page = client.get(&["runs"], &query).await?.json()?;
        runs.extend(page["runs"].as_array().into_iter().flatten().cloned());
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() || runs.len() >= limit as usize {
            break;
        }
    }
    runs.truncate(limit as usize);
    ui.result(&runs, |out| {
        if runs.is_empty() {
            return writeln!(out, "no runs");
        }
        let width = runs.iter().map(|run| text(&run["workflow"]).len()).max().unwrap_or(0);
        runs.iter().try_for_each(|run| {
            let state = text(&run["state"]);
            let padded = format!("{state:<9}");
            writeln!(
                out,
                "{}  {}  {:<width$}  {}",
                text(&run["id"]),
                styled(style(state), padded),
                text(&run["workflow"]),
                text(&run["created_at"])
            )
        })
    })?;
    Ok(Exit::Yes)
}

async fn wait(ui: &Ui, client: &Client, id: &str, timeout: Option<u64>) -> CommandResult {
    let began = Instant::now();
    loop {
        let left = timeout.map(|seconds| Duration::from_secs(seconds).saturating_sub(began.elapsed()));
        let patience = left.map_or(WAIT_S, |left| left.as_secs().min(WAIT_S));
        let query = [("wait", format!("{patience}s"))];
        let run = client.get(&["runs", id], &query).await?.json()?;
        let state = RunState::from_text(text(&run["state"]));
        let ended = state.is_some_and(RunState::is_terminal);
        if !ended && left.is_none_or(|left| !left.is_zero()) {
            continue;
        }
        ui.result(&run, |out| show(out, &run))?;
        if !ended {
            ui.note(format_args!("{id} has not ended yet"));
        }
        return Ok(if state == Some(RunState::Succeeded) { Exit::Yes } else { Exit::No });
    }
}

/// A run for people.
fn show(out: &mut dyn Write, run: &Value) -> io::Result<()> {
    let state = text(&run["state"]);
    writeln!(out, "{}  {}  {}", text(&run["id"]), styled(style(state), state), text(&run["workflow"]))?;
    for (name, field) in
        [("created", "created_at"), ("finished", "finished_at"), ("cost", "cost_usd"), ("Hash:", "content_hash")]
    {
        if let Some(value) = run[field].as_str() {
            writeln!(out, "{name:<9} {value}")?;
        }
    }
    writeln!(out, "input     {}", run["input"])?;
    if !run["output"].is_null() {
        writeln!(out, "output    {:#}", run["output"])?;
    }
    if let Some(code) = run["error"]["code"].as_str() {
        writeln!(out, "error     {}: {}", styled(ui::BAD, code), text(&run["error"]["message"]))?;
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn style(state: &str) -> anstyle::Style {
    match state {
        "succeeded" => ui::GOOD,
        "failed" | "dead" => ui::BAD,
        "cancelled" | "parked" => ui::WARN,
        _ => anstyle::Style::new(),
    }
}
