//! The content of a registry as a plain value: what is registered, and which version a requirement selects.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use semver::Version;

use super::record::{Change, Record, SkillRecord, Status, Subject, WorkflowRecord};
use crate::error::{Code, Failure, codes};
use crate::id::{SkillId, WorkflowId};
use crate::requirement::Requirement;
use crate::skill::schema::{CheckedSkill, ContractSchemas};
use crate::skill::{Skill, SkillContract, SkillVersion};
use crate::text::nearest;
use crate::workflow::{Plan, Resolver, WorkflowVersion};

/// Versions by name, then by version.
pub(super) type Versions<I, T> = BTreeMap<I, BTreeMap<Version, T>>;

/// A skill version and what this process has for it.
#[derive(Clone)]
pub(super) struct SkillEntry {
    pub record: Arc<SkillRecord>,
    pub schemas: ContractSchemas,
    /// The code, with its inputs and outputs checked; `None` for a skill that only other hosts can execute.
    pub code: Option<Arc<dyn Skill>>,
}

/// Everything that is registered.
#[derive(Clone, Default)]
pub(super) struct State {
    /// The store's revision that this is, with the changes made since.
    pub revision: u64,
    /// What was changed without a store, the last change of each version: saved with the next commit.
    pub pending: BTreeMap<Subject, Change>,
    pub skills: Versions<SkillId, SkillEntry>,
    /// The code that this process has, also for versions whose record is gone: an operator may bring it back.
    pub code: BTreeMap<SkillVersion, Arc<dyn Skill>>,
    pub workflows: Versions<WorkflowId, Arc<WorkflowRecord>>,
}

impl State {
    pub fn skill_entry(&self, version: &SkillVersion) -> Option<&SkillEntry> {
        self.skills.get(&version.id)?.get(&version.version)
    }

    pub fn workflow_entry(&self, version: &WorkflowVersion) -> Option<&Arc<WorkflowRecord>> {
        self.workflows.get(&version.id)?.get(&version.version)
    }

    pub fn skill_entries(&self) -> impl Iterator<Item = &SkillEntry> {
        self.skills.values().flat_map(BTreeMap::values)
    }

    pub fn workflow_entries(&self) -> impl Iterator<Item = &Arc<WorkflowRecord>> {
        self.workflows.values().flat_map(BTreeMap::values)
    }

    pub fn record(&self, subject: &Subject) -> Option<Record> {
        match subject {
            Subject::Skill(version) => self.skill_entry(version).map(|entry| Record::Skill(entry.record.clone())),
            Subject::Workflow(version) => self.workflow_entry(version).cloned().map(Record::Workflow),
        }
    }

    /// Every record: skills, then workflows, each by name and version.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let skills = self.skill_entries().map(|entry| Record::Skill(entry.record.clone()));
        skills.chain(self.workflow_entries().cloned().map(Record::Workflow))
    }

    /// Sets a skill's record. Code that is there stays.
    pub fn put_skill(&mut self, record: Arc<SkillRecord>, schemas: ContractSchemas) {
        let version = record.contract.version.clone();
        match self.skills.entry(version.id).or_default().entry(version.version) {
            Entry::Occupied(mut entry) => {
                let entry = entry.get_mut();
                (entry.record, entry.schemas) = (record, schemas);
            }
            Entry::Vacant(entry) => {
                entry.insert(SkillEntry { record, schemas, code: None });
            }
        }
    }

    /// Gives a registered skill version its code.
    pub fn put_code(&mut self, version: &SkillVersion, code: Arc<dyn Skill>) {
        if let Some(entry) = self.skills.get_mut(&version.id).and_then(|v| v.get_mut(&version.version)) {
            let checked: Arc<dyn Skill> = Arc::new(CheckedSkill::new(code, entry.schemas.clone()));
            entry.code = Some(checked.clone());
            self.code.insert(version.clone(), checked);
        }
    }

    /// Gives a registered skill version its code, taken from another state of the same registry.
    pub fn put_checked(&mut self, version: &SkillVersion, checked: Arc<dyn Skill>) {
        if let Some(entry) = self.skills.get_mut(&version.id).and_then(|v| v.get_mut(&version.version)) {
            entry.code = Some(checked);
        }
    }

    pub fn put_workflow(&mut self, record: Arc<WorkflowRecord>) {
        let version = record.version().clone();
        self.workflows.entry(version.id).or_default().insert(version.version, record);
    }

    /// The skill version that a requirement selects.
    pub fn select_skill(&self, requirement: &str) -> Result<&SkillEntry, Failure> {
        select(&self.skills, requirement, |entry| &entry.record.status, &SKILLS)
    }

    /// The workflow version that a requirement selects.
    pub fn select_workflow(&self, requirement: &str) -> Result<&Arc<WorkflowRecord>, Failure> {
        select(&self.workflows, requirement, |record| &record.status, &WORKFLOWS)
    }

    pub fn unknown(&self, subject: &Subject) -> Failure {
        let requirement = match subject {
            Subject::Skill(version) => version.to_string(),
            Subject::Workflow(version) => version.to_string(),
        };
        let failure = match subject {
            Subject::Skill(_) => self.select_skill(&requirement).err(),
            Subject::Workflow(_) => self.select_workflow(&requirement).err(),
        };
        failure.unwrap_or_else(|| Failure::new(codes::NOT_FOUND, format!("there is no {subject}")))
    }
}

impl Resolver for State {
    fn skill(&self, requirement: &str) -> Result<SkillContract, Failure> {
        Ok(self.select_skill(requirement)?.record.contract.clone())
    }

    fn workflow(&self, requirement: &str) -> Result<Arc<Plan>, Failure> {
        Ok(self.select_workflow(requirement)?.plan.clone())
    }
}

struct Kind {
    name: &'static str,
    not_found: Code,
    disabled: Code,
}

const SKILLS: Kind = Kind { name: "skill", not_found: codes::SKILL_NOT_FOUND, disabled: codes::SKILL_DISABLED };
const WORKFLOWS: Kind =
    Kind { name: "workflow", not_found: codes::WORKFLOW_NOT_FOUND, disabled: codes::WORKFLOW_DISABLED };

/// The highest enabled version that fits.
fn select<'a, I: Ord + AsRef<str> + std::borrow::Borrow<str>, T>(
    all: &'a Versions<I, T>,
    text: &str,
    status: impl Fn(&T) -> &Status,
    kind: &Kind,
) -> Result<&'a T, Failure> {
    let requirement: Requirement = text.parse()?;
    let name = kind.name;
    let Some(versions) = all.get(requirement.id()) else {
        let shown: String = requirement.id().chars().take(80).collect();
        let hint = match nearest(&shown, all.keys().map(AsRef::as_ref)) {
            Some(meant) => format!("; did you mean {meant:?}?"),
            None if all.is_empty() => format!("; no {name} is registered"),
            None => format!("; registered are {}", some_of(all.keys().map(AsRef::as_ref))),
        };
        return Err(Failure::new(kind.not_found.clone(), format!("there is no {name} {shown:?}{hint}")));
    };
    let mut disabled = None;
    for (version, entry) in versions.iter().rev().filter(|(version, _)| requirement.accepts(version)) {
        match status(entry) {
            Status::Enabled => return Ok(entry),
            Status::Disabled(reason) if disabled.is_none() => disabled = Some((version, reason)),
            Status::Disabled(_) => {}
        }
    }
    if let Some((version, reason)) = disabled {
        let message = format!("{name} {}@{version} is disabled: {reason}", requirement.id());
        return Err(Failure::new(kind.disabled.clone(), message));
    }
    let available: Vec<_> = versions.keys().rev().map(Version::to_string).collect();
    let message = format!(
        "no version of {name} {:?} fits {text:?}; registered are {}",
        requirement.id(),
        some_of(available.iter().map(String::as_str))
    );
    Err(Failure::new(kind.not_found.clone(), message))
}

/// The first few names, and how many there are besides.
fn some_of<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let more = names.len().saturating_sub(SHOWN);
    let mut text = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
