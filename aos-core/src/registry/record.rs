//! What a registry keeps: one record per version, and what changes them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical::Hash;
use crate::error::Failure;
use crate::id::TenantId;
use crate::payload::Payload;
use crate::skill::{SkillContract, SkillVersion};
use crate::time::Timestamp;
use crate::workflow::{Plan, WorkflowVersion};

/// Whether a version may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It may.
    #[default]
    Enabled,
    /// An operator took it out of use, for this reason: no requirement selects it, and calls of it fail with
    /// [`SKILL_DISABLED`](crate::codes::SKILL_DISABLED).
    Disabled(String),
}

impl Status {
    /// Whether the version may be used.
    pub const fn is_enabled(&self) -> bool {
        matches!(self, Self::Enabled)
    }

    /// Why the version is disabled.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Enabled => None,
            Self::Disabled(reason) => Some(reason),
        }
    }
}

/// One registered skill version: a row of a server's table `skills`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkillRecord {
    /// Whose registry it is in.
    pub tenant: TenantId,
    /// Name, version and all the skill promises.
    pub contract: SkillContract,
    /// Whether it may be used.
    #[serde(default)]
    pub status: Status,
    /// When this version was first registered.
    pub registered_at: Timestamp,
}

/// One registered workflow version: a row of a server's table `workflows`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkflowRecord {
    /// Whose registry it is in.
    pub tenant: TenantId,
    /// The definition as JSON; `null` for a workflow that is Rust code.
    #[serde(default)]
    pub definition: Value,
    /// What a run of this version executes: the definition with every version pinned when it was registered, so that
    /// the same workflow version means the same plan until somebody [repins](super::Registry::repin) it.
    pub plan: Arc<Plan>,
    /// Whether new runs may use it.
    #[serde(default)]
    pub status: Status,
    /// When this version was first registered.
    pub registered_at: Timestamp,
}

impl WorkflowRecord {
    /// Name and exact version.
    pub fn version(&self) -> &WorkflowVersion {
        &self.plan.workflow
    }

    /// What must not change under one version: the definition, or for Rust code the plan.
    pub(super) fn identity(&self) -> Result<Hash, Failure> {
        match &self.definition {
            Value::Null => self.plan.hash(),
            definition => Ok(Payload::new(definition.clone())?.hash()),
        }
    }
}

/// A record of either kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A skill version.
    Skill(Arc<SkillRecord>),
    /// A workflow version.
    Workflow(Arc<WorkflowRecord>),
}

impl Record {
    /// `id@version`.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Skill(record) => Subject::Skill(record.contract.version.clone()),
            Self::Workflow(record) => Subject::Workflow(record.version().clone()),
        }
    }

    /// Whose registry it is in.
    pub fn tenant(&self) -> &TenantId {
        match self {
            Self::Skill(record) => &record.tenant,
            Self::Workflow(record) => &record.tenant,
        }
    }

    /// Whether the version may be used.
    pub fn status(&self) -> &Status {
        match self {
            Self::Skill(record) => &record.status,
            Self::Workflow(record) => &record.status,
        }
    }

    /// When this version was first registered.
    pub fn registered_at(&self) -> Timestamp {
        match self {
            Self::Skill(record) => record.registered_at,
            Self::Workflow(record) => record.registered_at,
        }
    }
}

/// One version of one thing in a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A skill version.
    Skill(SkillVersion),
    /// A workflow version.
    Workflow(WorkflowVersion),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skill(version) => write!(f, "skill {version}"),
            Self::Workflow(version) => write!(f, "workflow {version}"),
        }
    }
}

impl From<SkillVersion> for Subject {
    fn from(version: SkillVersion) -> Self {
        Self::Skill(version)
    }
}

impl From<WorkflowVersion> for Subject {
    fn from(version: WorkflowVersion) -> Self {
        Self::Workflow(version)
    }
}

/// What was done to a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It was registered.
    Register,
    /// It may be used again.
    Enable,
    /// It was taken out of use.
    Disable,
    /// A workflow's requirements were resolved anew.
    Repin,
    /// It came with an import.
    Import,
    /// A rollback brought it to what a snapshot says.
    Rollback,
}

impl Action {
    /// The action as wire text and metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Repin => "repin",
            Self::Import => "import",
            Self::Rollback => "rollback",
        }
    }
}

/// One change of a registry: the record as it is from now on, and what an audit log keeps about it.
///
/// Versions are never removed: what has been registered once keeps its meaning for the runs that used it.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What was done.
    pub action: Action,
    /// When, by the caller's clock.
    pub at: Timestamp,
    /// The whole record after the change.
    pub record: Record,
}

/// A line of an audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEntry {
    /// What was done.
    pub action: Action,
    /// When, in milliseconds since the Unix epoch.
    pub at: Timestamp,
    /// To what.
    pub subject: Subject,
    /// Whether it may be used from now on, and if not, why.
    pub status: Status,
}

impl Change {
    /// What an audit log keeps about this change.
    pub fn audit(&self) -> AuditEntry {
        AuditEntry {
            action: self.action,
            at: self.at,
            subject: self.record.subject(),
            status: self.record.status().clone(),
        }
    }
}
