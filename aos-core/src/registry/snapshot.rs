//! The content of a registry as a file: named by its hash, the same on every machine.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::record::{SkillRecord, Status, WorkflowRecord};
use super::state::State;
use crate::canonical::Hash;
use crate::error::{Failure, codes};
use crate::payload::Payload;
use crate::skill::SkillContract;
use crate::workflow::Plan;

/// The version of the snapshot format that this release writes.
pub const SNAPSHOT_VERSION: u64 = 1;

/// What is registered, apart from whose it is and since when: two registries with the same content have the same
/// snapshot, byte for byte.
///
/// Its text is canonical JSON, `{"hash":…,"skills":[…],"v":1,"workflows":[…]}`, entries by name and version.
#[derive(Clone, PartialEq)]
pub struct RegistrySnapshot {
    hash: Hash,
    content: Content,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    v: u64,
    skills: Vec<SnapshotSkill>,
    workflows: Vec<SnapshotWorkflow>,
}

/// A skill version in a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotSkill {
    /// Name, version and all the skill promises.
    pub contract: SkillContract,
    /// Whether it may be used.
    #[serde(default)]
    pub status: Status,
}

/// A workflow version in a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotWorkflow {
    /// The definition as JSON; `null` for a workflow that is Rust code.
    #[serde(default)]
    pub definition: Value,
    /// The definition with every version pinned.
    pub plan: Arc<Plan>,
    /// Whether new runs may use it.
    #[serde(default)]
    pub status: Status,
}

impl RegistrySnapshot {
    pub(super) fn of(state: &State) -> Result<Self, Failure> {
        let skill =
            |record: &SkillRecord| SnapshotSkill { contract: record.contract.clone(), status: record.status.clone() };
        let workflow = |record: &WorkflowRecord| SnapshotWorkflow {
            definition: record.definition.clone(),
            plan: record.plan.clone(),
            status: record.status.clone(),
        };
        let content = Content {
            v: SNAPSHOT_VERSION,
            skills: state.skill_entries().map(|entry| skill(&entry.record)).collect(),
            workflows: state.workflow_entries().map(|record| workflow(record)).collect(),
        };
        Ok(Self { hash: Payload::from_serialize(&content)?.hash(), content })
    }

    /// Reads a snapshot's text.
    ///
    /// # Errors
    /// [`codes::INVALID_JSON`], or [`codes::INVALID_REQUEST`] for a text that is no snapshot, has a format version that
    /// this release does not know, holds a version twice, or does not fit its own hash.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let invalid =
            |why: String| Failure::new(codes::INVALID_REQUEST, format!("this is no registry snapshot: {why}"));
        let mut value = Payload::parse(text)?.value().clone();
        let Some(fields) = value.as_object_mut() else {
            return Err(invalid("expected an object with the fields v, hash, skills and workflows".into()));
        };
        match fields.get("v") {
            Some(version) if *version == json!(SNAPSHOT_VERSION) => {}
            Some(version) => {
                return Err(invalid(format!(
                    "it has the format version {version}, and this release reads {SNAPSHOT_VERSION}"
                )));
            }
            None => return Err(invalid("the field v (format version) is missing".into())),
        }
        let hash: Hash = match fields.remove("hash").as_ref().and_then(Value::as_str).map(str::parse) {
            Some(Ok(hash)) => hash,
            Some(Err(why)) => return Err(invalid(format!("{why}"))),
            None => return Err(invalid("the field hash is missing".into())),
        };
        let content = Content::deserialize(&value).map_err(|why| invalid(why.to_string()))?;
        let actual = Payload::new(value)?.hash();
        if actual != hash {
            return Err(invalid(format!(
                "its content has the hash {actual}, and it says {hash}: it was changed by hand"
            )));
        }
        let snapshot = Self { hash, content };
        match snapshot.first_duplicate() {
            Some(version) => Err(invalid(format!("{version} is in it more than once"))),
            None => Ok(snapshot),
        }
    }

    /// SHA-256 of the canonical content.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The skill versions, by name and version.
    pub fn skills(&self) -> &[SnapshotSkill] {
        &self.content.skills
    }

    /// The workflow versions, by name and version.
    pub fn workflows(&self) -> &[SnapshotWorkflow] {
        &self.content.workflows
    }

    fn first_duplicate(&self) -> Option<String> {
        let mut skills: Vec<_> = self.skills().iter().map(|skill| &skill.contract.version).collect();
        let mut workflows: Vec<_> = self.workflows().iter().map(|workflow| &workflow.plan.workflow).collect();
        skills.sort();
        workflows.sort();
        let skill = skills.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| format!("skill {}", pair[0]));
        skill.or_else(|| {
            workflows.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| format!("workflow {}", pair[0]))
        })
    }
}

/// The snapshot's text: canonical JSON, one line.
impl fmt::Display for RegistrySnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = serde_json::to_value(&self.content).map_err(|_| fmt::Error)?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("hash".into(), json!(self.hash));
        }
        f.write_str(&crate::canonical::to_string(value).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for RegistrySnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrySnapshot")
            .field("hash", &self.hash)
            .field("skills", &self.skills().len())
            .field("workflows", &self.workflows().len())
            .finish()
    }
}
