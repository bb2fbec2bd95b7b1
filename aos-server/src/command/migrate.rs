//! `migrate`: brings the tables of a database up to date, or says what that would be.

use aos_core::Failure;
use serde_json::json;

use super::settings;
use super::ui::{self, CommandError, CommandResult, Exit, Ui, styled};
use crate::backend::{self, Backend};
use crate::cli::MigrateArgs;
use crate::config::Sources;

pub async fn run(ui: &Ui, sources: Sources, args: &MigrateArgs) -> CommandResult {
    let config = settings::without_listening(sources, args.db.as_deref())?;
    let failed = |error| CommandError::from(Failure::from(error));
    let (pending, latest) =
        (backend::pending(&config.database).await.map_err(failed)?, backend::latest(&config.database));
    let from = latest - i64::try_from(pending.len()).unwrap_or(latest);
    if !args.dry_run && !pending.is_empty() {
        Backend::open(&config.database).await.map_err(failed)?.close().await;
    }
    let changes: Vec<_> = pending
        .iter()
        .map(|change| json!({"version": change.version, "description": change.description, "sql": change.sql}))
        .collect();
    let place = config.database.place();
    let document = json!({"database": place, "dry_run": args.dry_run, "release_version": latest, "changes": changes});
    ui.result(&document, |out| {
        if pending.is_empty() {
            return writeln!(out, "{place}: the tables are those of this release (version {latest})");
        }
        let what = if args.dry_run { "lacks" } else { "has now" };
        writeln!(
            out,
            "{place} {what} {} change(s), of {latest} that this release knows; it had {from}",
            pending.len()
        )?;
        for change in &pending {
            writeln!(out, "{} {}", styled(ui::GOOD, format!("{:04}", change.version)), change.description)?;
            if args.dry_run {
                writeln!(out, "{}", change.sql.trim_end())?;
            }
        }
        Ok(())
    })?;
    Ok(Exit::Yes)
}
