//! `registry snapshot|snapshots|rollback|audit`

use aos_core::{Failure, codes};
use serde_json::{Value, json};

use crate::command::client::Client;
use crate::command::ui::{CommandError, CommandResult, Exit, Ui};

/// The fewest digits by which a snapshot may be named.
const DIGITS: usize = 8;

pub async fn snapshot(ui: &Ui, client: &Client) -> CommandResult {
    let kept = client.post_nothing(&["registry", "snapshots"]).await?.json()?;
    ui.result(&kept, |out| writeln!(out, "{}", text(&kept["hash"])))?;
    Ok(Exit::Yes)
}

pub async fn snapshots(ui: &Ui, client: &Client) -> CommandResult {
    let kept = list(client).await?;
    ui.result(&kept, |out| {
        if kept.is_empty() {
            return writeln!(out, "no snapshots");
        }
        kept.iter().try_for_each(|one| {
            let (hash, at) = (text(&one["hash"]), text(&one["taken_at"]));
            writeln!(out, "{hash}  {at}  {} skills, {} workflows", one["skills"], one["workflows"])
        })
    })?;
    Ok(Exit::Yes)
}

pub async fn rollback(ui: &Ui, client: &Client, hash: &str) -> CommandResult {
    let hash = whole(client, hash).await?;
    let done = client.post(&["registry", "rollback"], &json!({ "snapshot": hash })).await?.json()?;
    ui.result(&done, |out| {
        let changed = done["changed"].as_array().map(Vec::as_slice).unwrap_or_default();
        writeln!(out, "{} version(s) changed; the registry is at revision {}", changed.len(), done["revision"])?;
        changed.iter().try_for_each(|version| writeln!(out, "  {}", text(version)))
    })?;
    Ok(Exit::Yes)
}

pub async fn audit(ui: &Ui, client: &Client, limit: u32) -> CommandResult {
    let audit = client.get(&["registry", "audit"], &[("limit", limit.to_string())]).await?.json()?;
    let entries = audit["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    ui.result(entries, |out| {
        if entries.is_empty() {
            return writeln!(out, "no changes");
        }
        entries.iter().try_for_each(|entry| {
            let reason = entry["disabled_reason"].as_str().map(|reason| format!("  ({reason})")).unwrap_or_default();
            let (at, action, subject) = (text(&entry["at"]), text(&entry["action"]), text(&entry["subject"]));
            writeln!(out, "{at}  {action:<8}  {subject}{reason}")
        })
    })?;
    Ok(Exit::Yes)
}

/// The hash that begins so.
async fn whole(client: &Client, start: &str) -> Result<String, CommandError> {
    if start.len() < DIGITS || !start.bytes().all(|b| b.is_ascii_hexdigit()) {
        let message = format!("{start:?} names no snapshot: expected at least {DIGITS} hex digits of its hash");
        return Err(CommandError::usage(message).hint("`registry snapshots` lists them"));
    }
    let start = start.to_ascii_lowercase();
    let kept = list(client).await?;
    let fitting: Vec<_> = kept.iter().map(|one| text(&one["hash"])).filter(|hash| hash.starts_with(&start)).collect();
    match fitting[..] {
        [only] => Ok(only.to_owned()),
        [] => {
            let failure = Failure::new(codes::NOT_FOUND, format!("there is no snapshot {start}"));
            Err(CommandError::from(failure).hint("`registry snapshots` lists them"))
        }
        _ => {
            Err(CommandError::usage(format!("{} snapshots begin with {start}", fitting.len())).hint("give more digits"))
        }
    }
}

async fn list(client: &Client) -> Result<Vec<Value>, CommandError> {
    let mut list = client.get(&["registry", "snapshots"], &[]).await?.json()?;
    Ok(list["snapshots"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
