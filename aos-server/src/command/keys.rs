//! `keys list|create|revoke`

use std::io::{self, Write};

use aos_core::keys::KeyText;
use serde_json::{Value, json};

use super::client::Client;
use super::ui::{self, CommandResult, Exit, Ui, styled};
use crate::cli::KeysCommand;

pub async fn run(ui: &Ui, client: &Client, command: KeysCommand, user: Option<String>) -> CommandResult {
    match command {
        KeysCommand::List => {
            let list = client.get(&["keys"], &[]).await?.json()?;
            let keys = list["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
            ui.result(keys, |out| {
                if keys.is_empty() {
                    return writeln!(out, "no keys");
                }
                keys.iter().try_for_each(|key| line(out, key))
            })?;
        }
        KeysCommand::Create { label, scope, expires_in, by } => {
            let lasts = expires_in.map(|lasts| lasts.as_secs());
            let body = json!({"label": label, "scope": scope.as_str(), "expires_in_s": lasts, "by": by.or(user)});
            let made = client.post(&["keys"], &body).await?.json()?;
            ui.result(&made, |out| writeln!(out, "{}", made["key"].as_str().unwrap_or_default()))?;
            ui.note("keep it: it is not shown again");
        }
        KeysCommand::Revoke { id } => {
            // A whole key, by mistake: its text is nothing for a URL.
            let id = KeyText::parse(&id).map_or(id, |text| text.id().to_string());
            let revoked = client.delete(&["keys", &id]).await?.json()?;
            ui.result(&revoked, |out| line(out, &revoked))?;
        }
    }
    Ok(Exit::Yes)
}

fn line(out: &mut dyn Write, key: &Value) -> io::Result<()> {
    let text = |field: &str| key[field].as_str().unwrap_or_default();
    let (style, state) = match text("state") {
        "active" => (ui::GOOD, "active"),
        "expired" => (ui::WARN, "expired"),
        _ => (ui::DIM, "revoked"),
    };
    write!(out, "{}  {}  {:<5}", styled(style, format_args!("{state:<7}")), text("id"), text("scope"))?;
    write!(out, "  made {} by {}", text("created_at"), text("created_by"))?;
    for (field, word) in [("expires_at", "expires"), ("used_at", "used"), ("revoked_at", "revoked")] {
        if !text(field).is_empty() {
            write!(out, "  {word} {}", text(field))?;
        }
    }
    writeln!(out, "  {}", text("label"))
}
