//! `switch list|on|off`

use std::io::{self, Write};

use serde_json::{Value, json};

use super::client::Client;
use super::ui::{self, CommandResult, Exit, Ui, styled};
use crate::cli::{SwitchCommand, Turn};

pub async fn run(ui: &Ui, client: &Client, command: SwitchCommand, user: Option<String>) -> CommandResult {
    let (turn, on, lasts) = match command {
        SwitchCommand::List { history } => {
            let list = client.get(&["switches"], &[("history", history.to_string())]).await?.json()?;
            ui.result(&list, |out| show(out, &list))?;
            return Ok(Exit::Yes);
        }
        SwitchCommand::On { turn, lasts } => (turn, true, lasts),
        SwitchCommand::Off(turn) => (turn, false, None),
    };
    let Turn { switch, reason, by } = turn;
    let by = by.or(user).unwrap_or_else(|| "somebody at a command line".to_owned());
    let mut body = json!({"on": on, "by": by, "reason": reason});
    if let Some(lasts) = lasts {
        body["for"] = lasts.into();
    }
    let turned = client.put(&["switches", switch.as_str()], &body).await?.json()?;
    ui.result(&turned, |out| line(out, &turned))?;
    Ok(Exit::Yes)
}

fn show(out: &mut dyn Write, list: &Value) -> io::Result<()> {
    let array = |field: &str| list[field].as_array().map(Vec::as_slice).unwrap_or_default();
    array("switches").iter().try_for_each(|switch| line(out, switch))?;
    if !array("history").is_empty() {
        writeln!(out, "history")?;
    }
    array("history").iter().try_for_each(|change| {
        write!(out, "  ")?;
        line(out, change)
    })
}

fn line(out: &mut dyn Write, switch: &Value) -> io::Result<()> {
    let text = |field: &str| switch[field].as_str().unwrap_or_default();
    let (style, state) = if switch["on"] == true { (ui::WARN, "on") } else { (ui::DIM, "off") };
    write!(out, "{}  {:<21}", styled(style, format_args!("{state:<3}")), text("switch"))?;
    if !text("at").is_empty() {
        write!(out, "  {}  {}: {}", text("at"), text("by"), text("reason"))?;
    }
    if !text("until").is_empty() {
        write!(out, "  until {}", text("until"))?;
    }
    if switch["on"] == false && switch["in_effect"] == true {
        write!(out, "  (in effect here by a setting)")?;
    }
    writeln!(out)
}
