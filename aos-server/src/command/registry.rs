//! `registry …`

mod past;

use std::path::Path;

use aos_core::registry::diff::{ContractDiff, compare};
use aos_core::registry::{Registry, RegistrySnapshot};
use aos_core::time::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::client::Client;
use super::input::{read_text, write_file};
use super::ui::{self, CommandError, CommandResult, Exit, Ui, styled};
use crate::cli::{Kind, RegistryCommand, Target, Version};
use crate::config::Sources;

pub async fn run(ui: &Ui, sources: Sources, target: &Target, command: RegistryCommand) -> CommandResult {
    if let RegistryCommand::Diff { old, new: Some(new) } = &command {
        return diff(ui, &read_snapshot(old)?, &read_snapshot(new)?);
    }
    let client = Client::to(sources, target).await?;
    match command {
        RegistryCommand::Export { to } => export(ui, &client, to.as_deref()).await,
        RegistryCommand::Import { file, dry_run } => import(ui, &client, &file, dry_run).await,
        RegistryCommand::List => list(ui, &client).await,
        RegistryCommand::Diff { old, .. } => diff(ui, &read_snapshot(&old)?, &fetch(&client).await?),
        RegistryCommand::Snapshot => past::snapshot(ui, &client).await,
        RegistryCommand::Snapshots => past::snapshots(ui, &client).await,
        RegistryCommand::Rollback { hash } => past::rollback(ui, &client, &hash).await,
        RegistryCommand::Audit { limit } => past::audit(ui, &client, limit).await,
        RegistryCommand::Disable { version, reason } => turn(ui, &client, &version, Some(reason)).await,
        RegistryCommand::Enable(version) => turn(ui, &client, &version, None).await,
    }
}

async fn import(ui: &Ui, client: &Client, file: &Path, dry_run: bool) -> CommandResult {
    let snapshot = read_snapshot(file)?;
    let body: Value = serde_json::from_str(&snapshot.to_string()).unwrap_or_default();
    let query = [("dry_run", dry_run.to_string())];
    let query = if dry_run { &query[..] } else { &[] };
    let report = client.post_with(&["registry", "import"], query, &body).await?.json()?;
    ui.result(&report, |out| {
        for what in ["added", "unchanged", "kept", "conflicts"] {
            let versions = report[what].as_array().map(Vec::as_slice).unwrap_or_default();
            if what != "conflicts" || !versions.is_empty() {
                writeln!(out, "{what}: {}", versions.len())?;
            }
        }
        Ok(())
    })?;
    let conflicts = report["conflicts"].as_array().is_some_and(|conflicts| !conflicts.is_empty());
    Ok(if conflicts { Exit::No } else { Exit::Yes })
}

/// Takes a version out of use for a reason, or puts it back.
async fn turn(ui: &Ui, client: &Client, version: &Version, reason: Option<String>) -> CommandResult {
    let kind = match version.kind {
        Kind::Skill => "skills",
        Kind::Workflow => "workflows",
    };
    let done = match &reason {
        Some(reason) => client.post(&[kind, &version.version, "disable"], &json!({ "reason": reason })).await?,
        None => client.post_nothing(&[kind, &version.version, "enable"]).await?,
    }
    .json()?;
    let what = if reason.is_some() { "out of use" } else { "in use" };
    ui.result(&done, |out| writeln!(out, "{} is {what}", version.version))?;
    Ok(Exit::Yes)
}

async fn fetch(client: &Client) -> Result<RegistrySnapshot, CommandError> {
    Ok(RegistrySnapshot::parse(&client.get(&["registry", "export"], &[]).await?.text())?)
}

fn read_snapshot(path: &Path) -> Result<RegistrySnapshot, CommandError> {
    RegistrySnapshot::parse(&read_text(path)?)
        .map_err(|failure| CommandError::from(failure).about(path).hint("make one with `aos-server registry export`"))
}

async fn export(ui: &Ui, client: &Client, to: Option<&Path>) -> CommandResult {
    let snapshot = fetch(client).await?;
    match to {
        None => ui.raw(&format!("{snapshot}\n"))?,
        Some(path) => {
            write_file(path, &format!("{snapshot}\n"))?;
            let (skills, workflows) = (snapshot.skills().len(), snapshot.workflows().len());
            let document = json!({"file": path, "hash": snapshot.hash(), "skills": skills, "workflows": workflows});
            ui.result(&document, |out| {
                writeln!(out, "{}: {skills} skills, {workflows} workflows\nHash: {}", path.display(), snapshot.hash())
            })?;
        }
    }
    Ok(Exit::Yes)
}

async fn list(ui: &Ui, client: &Client) -> CommandResult {
    let snapshot = fetch(client).await?;
    let row = |kind: &str, name: String, enabled: bool, about: &str| json!({"kind": kind, "version": name, "enabled": enabled, "description": about});
    let skills = snapshot.skills().iter().map(|skill| {
        row("skill", skill.contract.version.to_string(), skill.status.is_enabled(), &skill.contract.description)
    });
    let workflows = snapshot.workflows().iter().map(|workflow| {
        let about = workflow.definition["description"].as_str().unwrap_or_default();
        row("workflow", workflow.plan.workflow.to_string(), workflow.status.is_enabled(), about)
    });
    let rows: Vec<Value> = skills.chain(workflows).collect();
    ui.result(&rows, |out| {
        let width = rows.iter().filter_map(|row| row["version"].as_str()).map(str::len).max().unwrap_or(0);
        rows.iter().try_for_each(|row| {
            let text = |field: &str| row[field].as_str().unwrap_or_default();
            let disabled = if row["enabled"] == false { styled(ui::WARN, " (disabled)") } else { String::new() };
            writeln!(out, "{:<8}  {:<width$}  {}{disabled}", text("kind"), text("version"), text("description"))
        })
    })?;
    Ok(Exit::Yes)
}

/// How one registry differs from another.
#[derive(Debug, Default, Serialize)]
struct Difference {
    /// Versions that only the newer one has, with what changed since the version before.
    added: Vec<Added>,
    /// Versions that only the older one has.
    removed: Vec<String>,
    /// Versions that both have, with another content.
    changed: Vec<Added>,
}

#[derive(Debug, Serialize)]
struct Added {
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<ContractDiff>,
}

impl Difference {
    fn between(old: &RegistrySnapshot, new: &RegistrySnapshot) -> Result<Self, CommandError> {
        let mut difference = Self::default();
        // A contract is compared with the highest version below it, which may itself be new: register in order.
        let registry = Registry::new();
        registry.import(old, Timestamp::EPOCH)?;
        for skill in new.skills() {
            let version = skill.contract.version.to_string();
            match old.skills().iter().find(|known| known.contract.version == skill.contract.version) {
                Some(known) if known.contract == skill.contract => {}
                Some(known) => {
                    let diff = Some(compare(&known.contract, &skill.contract));
                    difference.changed.push(Added { version, diff });
                }
                None => {
                    let diff = registry.register_remote(skill.contract.clone(), Timestamp::EPOCH)?.diff;
                    difference.added.push(Added { version, diff });
                }
            }
        }
        for workflow in new.workflows() {
            let version = workflow.plan.workflow.to_string();
            match old.workflows().iter().find(|known| known.plan.workflow == workflow.plan.workflow) {
                Some(known) if known.definition == workflow.definition && known.plan == workflow.plan => {}
                Some(_) => difference.changed.push(Added { version, diff: None }),
                None => difference.added.push(Added { version, diff: None }),
            }
        }
        let gone_skills = old
            .skills()
            .iter()
            .filter(|known| !new.skills().iter().any(|skill| skill.contract.version == known.contract.version))
            .map(|known| known.contract.version.to_string());
        let gone_workflows = old
            .workflows()
            .iter()
            .filter(|known| !new.workflows().iter().any(|workflow| workflow.plan.workflow == known.plan.workflow))
            .map(|known| known.plan.workflow.to_string());
        difference.removed = gone_skills.chain(gone_workflows).collect();
        Ok(difference)
    }

    /// Whether something that worked may stop working without its version saying so.
    fn breaks(&self) -> bool {
        !self.removed.is_empty()
            || !self.changed.is_empty()
            || self.added.iter().filter_map(|added| added.diff.as_ref()).any(|diff| !diff.sufficient)
    }
}

fn diff(ui: &Ui, old: &RegistrySnapshot, new: &RegistrySnapshot) -> CommandResult {
    let difference = Difference::between(old, new)?;
    ui.result(&difference, |out| {
        if old.hash() == new.hash() {
            return writeln!(out, "no difference");
        }
        for added in &difference.added {
            writeln!(out, "{} {}", styled(ui::GOOD, "added"), added.version)?;
            if let Some(diff) = &added.diff {
                writeln!(out, "  {}", diff.to_string().replace('\n', "\n  "))?;
            }
        }
        for changed in &difference.changed {
            writeln!(
                out,
                "{} {}: another content under the same version",
                styled(ui::BAD, "changed"),
                changed.version
            )?;
            if let Some(diff) = &changed.diff {
                writeln!(out, "  {}", diff.to_string().replace('\n', "\n  "))?;
            }
        }
        difference.removed.iter().try_for_each(|version| writeln!(out, "{} {version}", styled(ui::BAD, "removed")))
    })?;
    Ok(if difference.breaks() { Exit::No } else { Exit::Yes })
}
