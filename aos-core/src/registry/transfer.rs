//! Copying a registry's content elsewhere, and bringing it back.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::diff::{self, ContractDiff};
use super::record::{Action, Change, Record, SkillRecord, Status, Subject, WorkflowRecord};
use super::shared::Registry;
use super::snapshot::{RegistrySnapshot, SnapshotSkill, SnapshotWorkflow};
use super::state::State;
use crate::error::{Failure, codes};
use crate::time::Timestamp;
use crate::workflow::Plan;

/// What an import does, or would do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportReport {
    /// Versions that the registry did not have.
    pub added: Vec<Subject>,
    /// Versions that it has, exactly so.
    pub unchanged: Vec<Subject>,
    /// Versions that it has with another status or other pins, which stay as they are here.
    pub kept: Vec<Subject>,
    /// Why the import is refused; empty when it is not.
    pub conflicts: Vec<ImportConflict>,
    /// The changes made; for a preview, those that would be made if there were no conflicts.
    pub changes: Vec<Change>,
}

/// One reason to refuse a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportConflict {
    /// What can't be brought in.
    pub subject: Subject,
    /// Why not.
    pub why: String,
    /// How the snapshot's contract differs from the registered one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<ContractDiff>,
}

impl AsRef<[Change]> for ImportReport {
    fn as_ref(&self) -> &[Change] {
        &self.changes
    }
}

impl Registry {
    /// What is registered now: for an export, and to come back to.
    ///
    /// # Errors
    /// A number in a contract or definition that canonical JSON can't carry.
    pub fn snapshot(&self) -> Result<RegistrySnapshot, Failure> {
        RegistrySnapshot::of(&self.state())
    }

    /// What [`Registry::import`] would do, conflicts included.
    ///
    /// # Errors
    /// A number in a contract or definition that canonical JSON can't carry.
    pub fn preview_import(&self, snapshot: &RegistrySnapshot, now: Timestamp) -> Result<ImportReport, Failure> {
        let mut state = State::clone(&self.state());
        self.merge(&mut state, snapshot, Mode::Import, now)
    }

    /// Adds what the registry doesn't have, all of it or nothing. What it has stays as it is, enabled or not.
    ///
    /// # Errors
    /// [`codes::CONFLICT`] with every [`ImportConflict`] in `details.conflicts`: a version that is here with another
    /// contract or definition, a bad schema, or a workflow that pins a skill which is neither here nor in the snapshot.
    pub fn import(&self, snapshot: &RegistrySnapshot, now: Timestamp) -> Result<ImportReport, Failure> {
        self.change(|state| {
            let report = self.merge(state, snapshot, Mode::Import, now)?;
            refuse_conflicts(&report, "import")?;
            Ok(report)
        })
    }

    /// Brings the registry to what a snapshot says: requirements select the same versions again.
    ///
    /// Versions registered since are disabled, not removed, because runs may have used them; workflows get back the
    /// pins they had.
    ///
    /// # Errors
    /// As [`Registry::import`].
    pub fn rollback(&self, snapshot: &RegistrySnapshot, now: Timestamp) -> Result<Vec<Change>, Failure> {
        self.change(|state| {
            let report = self.merge(state, snapshot, Mode::Rollback, now)?;
            refuse_conflicts(&report, "rollback")?;
            let mut changes = report.changes;
            let in_snapshot: BTreeSet<Subject> = subjects(snapshot).collect();
            let later: Vec<Subject> = state
                .records()
                .filter(|record| record.status().is_enabled())
                .map(|record| record.subject())
                .filter(|subject| !in_snapshot.contains(subject))
                .collect();
            let hash = snapshot.hash().to_hex();
            let reason = format!("rolled back to snapshot {}, which does not have it", &hash.as_str()[..12]);
            for subject in later {
                let status = Status::Disabled(reason.clone());
                changes.extend(self.set_status(state, &subject, status, Action::Rollback, now)?);
            }
            Ok(changes)
        })
    }

    fn merge(
        &self,
        state: &mut State,
        snapshot: &RegistrySnapshot,
        mode: Mode,
        now: Timestamp,
    ) -> Result<ImportReport, Failure> {
        let mut report = ImportReport::default();
        for skill in snapshot.skills() {
            self.merge_skill(state, skill, mode, now, &mut report)?;
        }
        for workflow in snapshot.workflows() {
            self.merge_workflow(state, workflow, mode, now, &mut report)?;
        }
        Ok(report)
    }

    fn merge_skill(
        &self,
        state: &mut State,
        skill: &SnapshotSkill,
        mode: Mode,
        now: Timestamp,
        report: &mut ImportReport,
    ) -> Result<(), Failure> {
        let contract = &skill.contract;
        let subject = Subject::Skill(contract.version.clone());
        let Some(entry) = state.skill_entry(&contract.version) else {
            let schemas = match self.compile(contract) {
                Ok(schemas) => schemas,
                Err(failure) => {
                    report.conflicts.push(ImportConflict { subject, why: failure.message, diff: None });
                    return Ok(());
                }
            };
            let record = Arc::new(SkillRecord {
                tenant: self.tenant().clone(),
                contract: contract.clone(),
                status: skill.status.clone(),
                registered_at: now,
            });
            state.put_skill(record.clone(), schemas);
            report.add(subject, Change { action: mode.action(), at: now, record: Record::Skill(record) });
            return Ok(());
        };
        if entry.record.contract.hash()? != contract.hash()? {
            let diff = diff::compare(&entry.record.contract, contract);
            let why = "it is registered here with another contract".into();
            report.conflicts.push(ImportConflict { subject, why, diff: Some(diff) });
        } else if entry.record.status == skill.status {
            report.unchanged.push(subject);
        } else if mode == Mode::Import {
            report.kept.push(subject);
        } else {
            let changes = self.set_status(state, &subject, skill.status.clone(), mode.action(), now)?;
            report.changes.extend(changes);
        }
        Ok(())
    }

    fn merge_workflow(
        &self,
        state: &mut State,
        workflow: &SnapshotWorkflow,
        mode: Mode,
        now: Timestamp,
        report: &mut ImportReport,
    ) -> Result<(), Failure> {
        let SnapshotWorkflow { definition, plan, status } = workflow;
        let subject = Subject::Workflow(plan.workflow.clone());
        let mut record = WorkflowRecord {
            tenant: self.tenant().clone(),
            definition: definition.clone(),
            plan: plan.clone(),
            status: status.clone(),
            registered_at: now,
        };
        let known = state.workflow_entry(&plan.workflow);
        if let Some(known) = known {
            if known.identity()? != record.identity()? {
                let why = "it is registered here with another definition".into();
                report.conflicts.push(ImportConflict { subject, why, diff: None });
                return Ok(());
            }
            record.registered_at = known.registered_at;
            if known.status == record.status && known.plan == record.plan {
                report.unchanged.push(subject);
                return Ok(());
            }
            if mode == Mode::Import {
                report.kept.push(subject);
                return Ok(());
            }
        }
        let is_new = known.is_none();
        if let Some(why) = missing_pin(state, plan)? {
            report.conflicts.push(ImportConflict { subject, why, diff: None });
            return Ok(());
        }
        if let Err(failure) = self.compile_input(plan) {
            report.conflicts.push(ImportConflict { subject, why: failure.message, diff: None });
            return Ok(());
        }
        let record = Arc::new(record);
        state.put_workflow(record.clone());
        let change = Change { action: mode.action(), at: now, record: Record::Workflow(record) };
        if is_new {
            report.add(subject, change);
        } else {
            report.changes.push(change);
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Import,
    Rollback,
}

impl Mode {
    fn action(self) -> Action {
        match self {
            Self::Import => Action::Import,
            Self::Rollback => Action::Rollback,
        }
    }
}

impl ImportReport {
    fn add(&mut self, subject: Subject, change: Change) {
        self.added.push(subject);
        self.changes.push(change);
    }
}

fn refuse_conflicts(report: &ImportReport, what: &str) -> Result<(), Failure> {
    let Some(first) = report.conflicts.first() else { return Ok(()) };
    let more = match report.conflicts.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    let message = format!("the {what} changes nothing because of {}: {}{more}", first.subject, first.why);
    Err(Failure::new(codes::CONFLICT, message).details(json!({ "conflicts": report.conflicts })))
}

fn subjects(snapshot: &RegistrySnapshot) -> impl Iterator<Item = Subject> + '_ {
    let skills = snapshot.skills().iter().map(|skill| Subject::Skill(skill.contract.version.clone()));
    skills.chain(snapshot.workflows().iter().map(|workflow| Subject::Workflow(workflow.plan.workflow.clone())))
}

/// What a plan, or one of its children, pins that the registry doesn't have just so.
fn missing_pin(state: &State, plan: &Plan) -> Result<Option<String>, Failure> {
    for pin in plan.skills.values() {
        match state.skill_entry(&pin.skill) {
            None => {
                return Ok(Some(format!("it pins skill {}, which is neither here nor in the snapshot", pin.skill)));
            }
            Some(entry) if entry.record.contract.hash()? != pin.contract => {
                return Ok(Some(format!("it pins skill {} with another contract than the one here", pin.skill)));
            }
            Some(_) => {}
        }
    }
    for child in plan.children.values() {
        if let Some(why) = missing_pin(state, child)? {
            return Ok(Some(why));
        }
    }
    Ok(None)
}
