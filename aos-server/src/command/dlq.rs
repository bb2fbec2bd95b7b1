//! `dlq list|get|retry|discard`

use serde_json::json;

use super::bulk;
use super::client::Client;
use super::runs::{pages, show};
use super::ui::{self, CommandResult, Exit, Ui, styled};
use crate::cli::{DeadWhich, DlqCommand};

pub async fn run(ui: &Ui, client: &Client, command: DlqCommand) -> CommandResult {
    match command {
        DlqCommand::List { workflow, limit } => list(ui, client, workflow, limit).await,
        DlqCommand::Get(run) => {
            let run = client.get(&["runs", run.id.as_str()], &[]).await?.json()?;
            ui.result(&run, |out| show(out, &run))?;
            Ok(if run["state"] == "dead" { Exit::Yes } else { Exit::No })
        }
        DlqCommand::Retry(which) => decide(ui, client, bulk::RETRY, which, None).await,
        DlqCommand::Discard { which, reason } => decide(ui, client, bulk::DISCARD, which, Some(reason)).await,
    }
}

async fn list(ui: &Ui, client: &Client, workflow: Option<String>, limit: u32) -> CommandResult {
    let filter: Vec<_> = workflow.map(|workflow| ("workflow", workflow)).into_iter().collect();
    let letters = pages(client, &["dead-letters"], "dead_letters", &filter, limit).await?;
    ui.result(&letters, |out| {
        if letters.is_empty() {
            return writeln!(out, "no dead runs");
        }
        letters.iter().try_for_each(|letter| {
            let text = |field: &str| letter[field].as_str().unwrap_or_default();
            writeln!(out, "{}  {}  {}", text("run"), text("since"), text("workflow"))?;
            let (code, message) = (&letter["reason"]["code"], &letter["reason"]["message"]);
            let code = styled(ui::BAD, code.as_str().unwrap_or_default());
            writeln!(out, "  {code}: {}", message.as_str().unwrap_or_default())
        })
    })?;
    Ok(Exit::Yes)
}

async fn decide(
    ui: &Ui,
    client: &Client,
    action: bulk::Action,
    which: DeadWhich,
    reason: Option<String>,
) -> CommandResult {
    let DeadWhich { id, workflow, older_than, dry_run, .. } = which;
    let Some(id) = id else {
        let parts = [("states", json!(["dead"])), ("workflow", json!(workflow)), ("older_than", json!(older_than))];
        return bulk::run(ui, client, action, bulk::filter(&parts), dry_run, reason.as_deref()).await;
    };
    let path = ["dead-letters", id.as_str(), action.name];
    let run = match reason {
        Some(reason) => client.post(&path, &json!({ "reason": reason })).await?.json()?,
        None => client.post_nothing(&path).await?.json()?,
    };
    ui.result(&run, |out| writeln!(out, "{} {id}", action.done))?;
    Ok(Exit::Yes)
}
