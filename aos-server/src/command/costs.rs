//! `costs` and `budgets list|set|remove`

use std::io::{self, Write};

use serde_json::{Value, json};

use super::client::Client;
use super::ui::{self, CommandResult, Exit, Ui, styled};
use crate::cli::{BudgetsCommand, CostsArgs};

/// `costs`
pub async fn costs(ui: &Ui, client: &Client, args: CostsArgs) -> CommandResult {
    let mut query = vec![("by", args.by.as_str().to_owned()), ("limit", args.limit.to_string())];
    let given = [("since", args.since), ("until", args.until), ("run", args.run), ("workflow", args.workflow)];
    query.extend(given.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let report = client.get(&["costs"], &query).await?.json()?;
    ui.result(&report, |out| show(out, report["lines"].as_array().map(Vec::as_slice).unwrap_or_default()))?;
    Ok(Exit::Yes)
}

fn show(out: &mut dyn Write, lines: &[Value]) -> io::Result<()> {
    if lines.is_empty() {
        return writeln!(out, "no calls");
    }
    let key = |line: &Value| line["key"].as_str().unwrap_or("-").to_owned();
    let width = lines.iter().map(|line| key(line).chars().count()).max().unwrap_or(0);
    lines.iter().try_for_each(|line| {
        let (least, most) = (text(&line["cost_min_usd"]), text(&line["cost_max_usd"]));
        let cost = if least == most { format!("${most}") } else { format!("${least} to ${most}") };
        write!(out, "{:<width$}  {cost}  {} calls", key(line), line["calls"])?;
        if line["unpriced_calls"] != 0 {
            write!(out, "  {}", styled(ui::WARN, format_args!("{} without a price", line["unpriced_calls"])))?;
        }
        writeln!(out)
    })
}

/// `budgets`
pub async fn budgets(ui: &Ui, client: &Client, command: BudgetsCommand) -> CommandResult {
    match command {
        BudgetsCommand::List => {
            let answer = client.get(&["budgets"], &[]).await?.json()?;
            let budgets = answer["budgets"].as_array().map(Vec::as_slice).unwrap_or_default();
            ui.result(budgets, |out| {
                if budgets.is_empty() {
                    return writeln!(out, "no budgets");
                }
                budgets.iter().try_for_each(|budget| line(out, budget))
            })?;
        }
        BudgetsCommand::Set { which, limit } => {
            let path = ["budgets", &which.scope.to_string(), which.period.as_str()];
            let budget = client.put(&path, &json!({ "limit_usd": limit })).await?.json()?;
            ui.result(&budget, |out| line(out, &budget))?;
        }
        BudgetsCommand::Remove(which) => {
            let (scope, period) = (which.scope.to_string(), which.period.as_str());
            client.delete(&["budgets", &scope, period]).await?;
            let removed = json!({"removed": {"scope": scope, "period": period}});
            ui.result(&removed, |out| writeln!(out, "removed the budget of {scope} ({period})"))?;
        }
    }
    Ok(Exit::Yes)
}

fn line(out: &mut dyn Write, budget: &Value) -> io::Result<()> {
    let field = |name: &str| text(&budget[name]);
    let left = format!("${} left", field("left_usd"));
    let left = if field("left_usd") == "0" { styled(ui::BAD, left) } else { left };
    write!(out, "{} ({}): {left} of ${}", field("scope"), field("period"), field("limit_usd"))?;
    write!(out, ", ${} spent, ${} reserved", field("spent_usd"), field("reserved_usd"))?;
    match budget["resets_at"].as_str() {
        Some(at) => writeln!(out, "; anew at {at}"),
        None => writeln!(out),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
