//! One thing for many runs: step by step, until there are no more.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::client::Client;
use super::ui::{self, CommandResult, Exit, Ui, styled};

/// What is done, as the API and as people name it.
#[derive(Clone, Copy)]
pub struct Action {
    pub name: &'static str,
    /// What was done to a run.
    pub done: &'static str,
}

pub const CANCEL: Action = Action { name: "cancel", done: "asked to stop" };
pub const PAUSE: Action = Action { name: "pause", done: "paused, or about to" };
pub const RESUME: Action = Action { name: "resume", done: "resumed" };
pub const RETRY: Action = Action { name: "retry", done: "retried" };
pub const DISCARD: Action = Action { name: "discard", done: "discarded" };
pub const PURGE: Action = Action { name: "purge", done: "deleted" };

/// How many errors are shown.
const SHOWN: usize = 10;

/// A filter of the API: the parts that are there, or everything.
pub fn filter(parts: &[(&str, Value)]) -> Value {
    let there = parts.iter().filter(|(_, value)| !value.is_null() && *value != json!([]));
    let filter: serde_json::Map<_, _> = there.map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    if filter.is_empty() { json!({"all": true}) } else { filter.into() }
}

/// Does it, or says what would be done.
pub async fn run(
    ui: &Ui,
    client: &Client,
    action: Action,
    filter: Value,
    dry_run: bool,
    reason: Option<&str>,
) -> CommandResult {
    let mut body = json!({"action": action.name, "filter": filter, "dry_run": dry_run});
    if let Some(reason) = reason {
        body["reason"] = reason.into();
    }
    let mut total = client.post(&["runs", "bulk"], &body).await?.json()?;
    if dry_run {
        ui.result(&total, |out| preview(out, action, &total))?;
        return Ok(Exit::Yes);
    }
    while total["more"] == true {
        ui.note(format_args!("{} so far", tally(&total, action)));
        body["cursor"] = total["next"].clone();
        let step = client.post(&["runs", "bulk"], &body).await?.json()?;
        add(&mut total, &step);
    }
    ui.result(&total, |out| result(out, action, &total))?;
    Ok(if number(&total, "failed") > 0 { Exit::No } else { Exit::Yes })
}

fn add(total: &mut Value, step: &Value) {
    for field in ["matched", "done", "skipped", "failed"] {
        total[field] = (number(total, field) + number(step, field)).into();
    }
    if let Some(errors) = total["errors"].as_array_mut() {
        errors.extend(step["errors"].as_array().into_iter().flatten().cloned());
        errors.truncate(SHOWN);
    }
    total["more"] = step["more"].clone();
    total["next"] = step["next"].clone();
}

fn preview(out: &mut dyn Write, action: Action, view: &Value) -> io::Result<()> {
    let or_more = if view["more"] == true { " or more" } else { "" };
    writeln!(out, "{}{or_more} would be {}", runs(number(view, "matched")), action.done)?;
    let sample = view["sample"].as_array().map(Vec::as_slice).unwrap_or_default();
    sample.iter().try_for_each(|run| {
        let text = |field: &str| run[field].as_str().unwrap_or_default();
        writeln!(out, "  {}  {:<9}  {}  {}", text("id"), text("state"), text("created_at"), text("workflow"))
    })
}

fn result(out: &mut dyn Write, action: Action, total: &Value) -> io::Result<()> {
    writeln!(out, "{}", tally(total, action))?;
    let errors = total["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    errors.iter().try_for_each(|error| {
        let text = |field: &str| error[field].as_str().unwrap_or_default();
        let style = if text("outcome") == "failed" { ui::BAD } else { ui::WARN };
        writeln!(out, "  {} {}: {}", styled(style, text("outcome")), text("run"), text("message"))
    })
}

fn tally(total: &Value, action: Action) -> String {
    let mut text = format!("{} {}", runs(number(total, "done")), action.done);
    for outcome in ["skipped", "failed"] {
        let count = number(total, outcome);
        if count > 0 {
            text.push_str(&format!(", {count} {outcome}"));
        }
    }
    text
}

fn runs(count: u64) -> String {
    if count == 1 { "1 run".into() } else { format!("{count} runs") }
}

fn number(view: &Value, field: &str) -> u64 {
    view[field].as_u64().unwrap_or(0)
}
