//! `runs …`

use std::io::{self, Write};
use std::time::{Duration, Instant};

use aos_core::runs::RunState;
use serde_json::{Value, json};

use super::bulk;
use super::client::Client;
use super::input::read_value;
use super::ui::{self, CommandError, CommandResult, Exit, Ui, styled};
use crate::cli::{Answer, ListFilter, PurgeArgs, RunsCommand, Which};

/// Runs on one page.
const PAGE: u32 = 200;

/// How long one request waits for a run.
const WAIT_S: u64 = 30;

pub async fn run(ui: &Ui, client: &Client, command: RunsCommand) -> CommandResult {
    match command {
        RunsCommand::List { filter, limit } => list(ui, client, filter, limit).await,
        RunsCommand::Get(run) => {
            let run = client.get(&["runs", run.id.as_str()], &[]).await?.json()?;
            ui.result(&run, |out| show(out, &run))?;
            Ok(Exit::Yes)
        }
        RunsCommand::Journal(run) => {
            ui.raw(&client.get(&["runs", run.id.as_str(), "journal"], &[]).await?.text())?;
            Ok(Exit::Yes)
        }
        RunsCommand::Cancel { which, reason } => act(ui, client, bulk::CANCEL, which, Some(reason)).await,
        RunsCommand::Pause(which) => act(ui, client, bulk::PAUSE, which, None).await,
        RunsCommand::Resume(which) => act(ui, client, bulk::RESUME, which, None).await,
        RunsCommand::Retry(which) => act(ui, client, bulk::RETRY, which, None).await,
        RunsCommand::Approve(given) => answer(ui, client, "approve", given).await,
        RunsCommand::Reject(given) => answer(ui, client, "reject", given).await,
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
        RunsCommand::Purge(PurgeArgs { older_than, states, workflow, dry_run, .. }) => {
            let parts = [("states", json!(states)), ("workflow", json!(workflow)), ("older_than", json!(older_than))];
            bulk::run(ui, client, bulk::PURGE, bulk::filter(&parts), dry_run, None).await
        }
    }
}

/// Does something to one run, or to all that fit.
async fn act(ui: &Ui, client: &Client, action: bulk::Action, which: Which, reason: Option<String>) -> CommandResult {
    let Which { id, states, workflow, parent, older_than, dry_run, .. } = which;
    let Some(id) = id else {
        let parts = [
            ("states", json!(states)),
            ("workflow", json!(workflow)),
            ("parent", json!(parent)),
            ("older_than", json!(older_than)),
        ];
        return bulk::run(ui, client, action, bulk::filter(&parts), dry_run, reason.as_deref()).await;
    };
    let body = reason.map(|reason| json!({ "reason": reason }));
    let path = ["runs", id.as_str(), action.name];
    let answer = match &body {
        Some(body) => client.post(&path, body).await?,
        None => client.post_nothing(&path).await?,
    }
    .json()?;
    ui.result(&answer, |out| match action.name {
        "cancel" => writeln!(out, "asked {id} to stop; `runs wait {id}` waits for its end"),
        "retry" => writeln!(out, "{}", text(&answer["id"])),
        _ if answer["pausing"] == true => writeln!(out, "{id} pauses once what is under way has ended"),
        _ => writeln!(out, "{id} is {}", text(&answer["state"])),
    })?;
    Ok(Exit::Yes)
}

async fn answer(ui: &Ui, client: &Client, action: &str, given: Answer) -> CommandResult {
    let Answer { run, name, by, comment } = given;
    let body = json!({"name": name, "by": by, "comment": comment});
    let sent = client.post(&["runs", run.id.as_str(), action], &body).await?.json()?;
    ui.result(&sent, |out| writeln!(out, "sent {} to {}", text(&sent["signal"]), run.id))?;
    Ok(Exit::Yes)
}

async fn list(ui: &Ui, client: &Client, filter: ListFilter, limit: u32) -> CommandResult {
    let ListFilter { states, workflow, parent, older_than } = filter;
    let mut query = Vec::new();
    if !states.is_empty() {
        query.push(("state", states.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(",")));
    }
    query.extend(workflow.map(|workflow| ("workflow", workflow)));
    query.extend(parent.map(|parent| ("parent", parent.to_string())));
    query.extend(older_than.map(|age| ("older_than", age)));
    let runs = pages(client, &["runs"], "runs", &query, limit).await?;
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

/// The items of a list, page after page, up to `limit`.
pub async fn pages(
    client: &Client,
    path: &[&str],
    items: &str,
    filter: &[(&'static str, String)],
    limit: u32,
) -> Result<Vec<Value>, CommandError> {
    let mut found: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let left = limit - u32::try_from(found.len()).unwrap_or(limit);
        let mut query = vec![("limit", left.min(PAGE).to_string())];
        query.extend(filter.iter().cloned());
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page = client.get(path, &query).await?.json()?;
        found.extend(page[items].as_array().into_iter().flatten().cloned());
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() || found.len() >= limit as usize {
            break;
        }
    }
    found.truncate(limit as usize);
    Ok(found)
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
pub fn show(out: &mut dyn Write, run: &Value) -> io::Result<()> {
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
    for wait in run["waiting_for"].as_array().into_iter().flatten() {
        let what = ["name", "until", "run", "skill"].iter().find_map(|field| wait[*field].as_str()).unwrap_or_default();
        writeln!(
            out,
            "waits     {} ({} {what}), since {}",
            text(&wait["effect"]),
            text(&wait["kind"]),
            text(&wait["since"])
        )?;
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
        "cancelled" | "parked" | "paused" => ui::WARN,
        _ => anstyle::Style::new(),
    }
}
