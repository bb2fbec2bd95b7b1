//! `schedules list|get|put|remove|pause|resume|trigger`

use std::io::{self, Write};

use serde_json::{Value, json};

use super::client::Client;
use super::input::read_value;
use super::ui::{self, CommandResult, Exit, Ui, styled};
use crate::cli::{PutArgs, SchedulesCommand};

pub async fn run(ui: &Ui, client: &Client, command: SchedulesCommand) -> CommandResult {
    match command {
        SchedulesCommand::List => list(ui, client).await?,
        SchedulesCommand::Get(schedule) => {
            let schedule = client.get(&["schedules", schedule.id.as_str()], &[]).await?.json()?;
            ui.result(&schedule, |out| show(out, &schedule))?;
        }
        SchedulesCommand::Put(args) => put(ui, client, *args).await?,
        SchedulesCommand::Remove(schedule) => {
            client.delete(&["schedules", schedule.id.as_str()]).await?;
            ui.result(&json!({ "removed": schedule.id }), |out| writeln!(out, "removed {}", schedule.id))?;
        }
        SchedulesCommand::Pause(schedule) => act(ui, client, schedule.id.as_str(), "pause").await?,
        SchedulesCommand::Resume(schedule) => act(ui, client, schedule.id.as_str(), "resume").await?,
        SchedulesCommand::Trigger(schedule) => {
            let path = ["schedules", schedule.id.as_str(), "trigger"];
            let run = client.post(&path, &Value::Null).await?.json()?;
            ui.result(&run, |out| writeln!(out, "{}", text(&run["id"])))?;
        }
    }
    Ok(Exit::Yes)
}

async fn list(ui: &Ui, client: &Client) -> Result<(), ui::CommandError> {
    let answer = client.get(&["schedules"], &[]).await?.json()?;
    let schedules = answer["schedules"].as_array().map(Vec::as_slice).unwrap_or_default();
    ui.result(schedules, |out| {
        if schedules.is_empty() {
            return writeln!(out, "no schedules");
        }
        let width = |field: &str| schedules.iter().map(|schedule| text(&schedule[field]).len()).max().unwrap_or(0);
        let (ids, crons) = (width("id"), width("cron"));
        schedules.iter().try_for_each(|schedule| {
            let (id, cron) = (text(&schedule["id"]), text(&schedule["cron"]));
            writeln!(out, "{id:<ids$}  {}  {cron:<crons$}  {}", next(schedule), text(&schedule["workflow"]))
        })
    })
}

async fn put(ui: &Ui, client: &Client, args: PutArgs) -> Result<(), ui::CommandError> {
    let mut body = json!({
        "workflow": args.workflow,
        "cron": args.cron,
        "time_zone": args.time_zone,
        "priority": args.priority,
        "overlap": args.overlap,
    });
    if let Some(given) = args.input {
        body["input"] = read_value("--input", &given)?.value().clone();
    }
    if args.paused {
        body["paused"] = true.into();
    }
    let schedule = client.put(&["schedules", args.schedule.id.as_str()], &body).await?.json()?;
    ui.result(&schedule, |out| show(out, &schedule))
}

async fn act(ui: &Ui, client: &Client, id: &str, action: &str) -> Result<(), ui::CommandError> {
    let schedule = client.post(&["schedules", id, action], &Value::Null).await?.json()?;
    ui.result(&schedule, |out| show(out, &schedule))
}

/// A schedule for people.
fn show(out: &mut dyn Write, schedule: &Value) -> io::Result<()> {
    writeln!(out, "{}  {}  {}", text(&schedule["id"]), next(schedule), text(&schedule["workflow"]))?;
    writeln!(out, "when      {} in {}", text(&schedule["cron"]), text(&schedule["time_zone"]))?;
    writeln!(out, "input     {}", schedule["input"])?;
    let last = &schedule["last"];
    if let Some(due) = last["due"].as_str() {
        writeln!(out, "last      {due}  {}", text(&last["run"]))?;
    }
    if let Some(code) = last["error"]["code"].as_str() {
        writeln!(out, "error     {}: {}", styled(ui::BAD, code), text(&last["error"]["message"]))?;
    }
    Ok(())
}

/// When it is due next, as wide as a time.
fn next(schedule: &Value) -> String {
    match (schedule["paused"].as_bool(), schedule["next_at"].as_str()) {
        (Some(true), _) => styled(ui::WARN, format_args!("{:<24}", "paused")),
        (_, Some(at)) => at.to_owned(),
        (_, None) => styled(ui::BAD, format_args!("{:<24}", "never")),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
