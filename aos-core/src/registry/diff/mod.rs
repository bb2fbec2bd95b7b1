//! What differs between two contracts of a skill, what that means for those who use it, and which version it needs.
//!
//! An input schema may widen and an output schema may narrow without harm; the other way round breaks callers. What
//! can't be decided is called breaking. Two conventions keep this useful for real contracts:
//!
//! - a caller sends, and a consumer reads, the properties that the schema names; so an optional input property or
//!   another output property is compatible although an open schema allowed anything under that name before, and a
//!   property that disappears is breaking although an open schema still allows it;
//! - keywords that only describe (`title`, `examples`, `x-…`) are cosmetic.

mod bump;
mod keyword;
mod schema;

use std::collections::BTreeSet;
use std::fmt;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use bump::{is_sufficient, next_version};

use super::record::WorkflowRecord;
use crate::error::{Failure, codes};
use crate::skill::{CrashClass, Determinism, SkillContract};

/// What a change means for those who use a skill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing: it only reads differently. Needs a patch version.
    Cosmetic,
    /// What worked goes on working. Needs a minor version.
    Compatible,
    /// Something that worked may stop working, or nobody can tell. Needs a major version.
    Breaking,
}

impl Level {
    /// The version part that a change of this level raises: `patch`, `minor` or `major`.
    pub const fn bump(self) -> &'static str {
        match self {
            Self::Cosmetic => "patch",
            Self::Compatible => "minor",
            Self::Breaking => "major",
        }
    }
}

/// One difference between two contracts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContractChange {
    /// JSON pointer into the contract: `/input_schema/properties/url/type`.
    pub path: String,
    /// What it means for those who use the skill.
    pub level: Level,
    /// What was there; `null` for nothing.
    pub old: Value,
    /// What is there now; `null` for nothing.
    pub new: Value,
    /// Why it has this level, for a person.
    pub why: String,
}

impl fmt::Display for ContractChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Cosmetic => "cosmetic",
            Level::Compatible => "compatible",
            Level::Breaking => "breaking",
        };
        write!(f, "{level} at {}: {}", self.path, self.why)
    }
}

/// How one contract of a skill differs from another, and what that asks of its version number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContractDiff {
    /// The version that is compared with.
    pub from: Version,
    /// The version that the new contract has.
    pub to: Version,
    /// What differs, in the order of the contract's fields; the version itself is not listed.
    pub changes: Vec<ContractChange>,
    /// The gravest change; `None` when there is none.
    pub level: Option<Level>,
    /// The lowest version that may carry these changes.
    pub needed: Version,
    /// Whether `to` says what the changes are.
    pub sufficient: bool,
}

impl fmt::Display for ContractDiff {
    /// One line for the verdict and one for each change.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.sufficient { "is sufficient" } else { "is too low" };
        match self.level {
            None => write!(f, "{} to {}: no change", self.from, self.to)?,
            Some(level) => {
                let (bump, needed) = (level.bump(), &self.needed);
                write!(f, "{} to {} {verdict}: {bump} change, needs {needed} or higher", self.from, self.to)?;
            }
        }
        self.changes.iter().try_for_each(|change| write!(f, "\n  {change}"))
    }
}

/// Compares two contracts of one skill.
pub fn compare(old: &SkillContract, new: &SkillContract) -> ContractDiff {
    let mut changes = Changes::default();
    schema::compare("/input_schema", &old.input_schema, &new.input_schema, schema::Side::Input, &mut changes);
    schema::compare("/output_schema", &old.output_schema, &new.output_schema, schema::Side::Output, &mut changes);
    compare_promises(old, new, &mut changes);

    let changes = changes.0;
    let level = changes.iter().map(|change| change.level).max();
    let (from, to) = (old.version.version.clone(), new.version.version.clone());
    let needed = level.map_or_else(|| from.clone(), |level| next_version(&from, level));
    let sufficient = level.is_none_or(|level| is_sufficient(&from, &to, level));
    ContractDiff { from, to, changes, level, needed, sufficient }
}

/// The failure for a version that is registered with another contract.
pub(super) fn conflict(known: &SkillContract, new: &SkillContract) -> Failure {
    let diff = compare(known, new);
    let what = match diff.changes.as_slice() {
        [] => "it has the same meaning but another text".into(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    };
    // Contracts whose difference the comparison can't see still need a version of their own.
    let needed = if diff.level.is_some() { diff.needed.clone() } else { next_version(&diff.from, Level::Cosmetic) };
    let bump = diff.level.unwrap_or(Level::Cosmetic).bump();
    let message = format!(
        "skill {} is registered with another contract: {what}; register this one as {needed} or higher ({bump} version)",
        known.version
    );
    Failure::new(codes::CONFLICT, message).details(json!({ "subject": known.version, "diff": diff, "needed": needed }))
}

/// The failure for a workflow version that is registered with another definition.
pub(super) fn workflow_conflict(known: &WorkflowRecord, new: &WorkflowRecord) -> Failure {
    let value = |record: &WorkflowRecord| match &record.definition {
        Value::Null => json!({ "plan": &record.plan }),
        definition => definition.clone(),
    };
    let changes = crate::diff::diff(&value(known), &value(new));
    let places: BTreeSet<&str> = changes.iter().map(|change| change.path.as_str()).collect();
    let places = places.into_iter().take(8).map(|place| if place.is_empty() { "everywhere" } else { place });
    let message = format!(
        "workflow {} is registered with another definition; they differ at {}: register this one under a higher version",
        known.version(),
        places.collect::<Vec<_>>().join(", ")
    );
    let details: Vec<_> = changes
        .iter()
        .map(|change| json!({ "path": change.path, "old": change.expected, "new": change.actual }))
        .collect();
    Failure::new(codes::CONFLICT, message).details(json!({ "subject": known.version(), "changes": details }))
}

/// The changes found so far.
#[derive(Default)]
struct Changes(Vec<ContractChange>);

impl Changes {
    fn push(&mut self, path: String, level: Level, old: Value, new: Value, why: impl Into<String>) {
        self.0.push(ContractChange { path, level, old, new, why: why.into() });
    }

    fn field(&mut self, name: &str, level: Level, old: impl Serialize, new: impl Serialize, why: &str) {
        let value = |result: serde_json::Result<Value>| result.unwrap_or(Value::Null);
        let (old, new) = (value(serde_json::to_value(old)), value(serde_json::to_value(new)));
        self.push(format!("/{name}"), level, old, new, why);
    }
}

/// Everything in a contract besides its schemas.
fn compare_promises(old: &SkillContract, new: &SkillContract, changes: &mut Changes) {
    use Level::{Breaking, Compatible, Cosmetic};
    if old.determinism != new.determinism {
        let (level, why) = match new.determinism {
            Determinism::Recorded => (Breaking, "the output is no longer a function of the input"),
            Determinism::Deterministic => (Compatible, "the output has become a function of the input"),
        };
        changes.field("determinism", level, old.determinism, new.determinism, why);
    }
    if old.crash != new.crash {
        let (level, why) = match (old.crash, new.crash) {
            (_, CrashClass::Pure) => (Compatible, "it no longer touches anything outside"),
            (CrashClass::Pure, _) => (Breaking, "it now touches something outside"),
            (_, CrashClass::Idempotent) => (Breaking, "after a crash it may run again, which it never did"),
            (_, CrashClass::Once) => (Breaking, "a crash may now leave its outcome unknown"),
        };
        changes.field("crash", level, old.crash, new.crash, why);
    }
    if old.cost.estimate != new.cost.estimate {
        let (level, why) = if new.cost.estimate > old.cost.estimate {
            (Breaking, "budgets that covered an attempt may no longer do so")
        } else {
            (Compatible, "an attempt reserves less of the budget")
        };
        changes.field("cost/estimate", level, old.cost.estimate, new.cost.estimate, why);
    }
    let (old_volatile, new_volatile) = (set(&old.volatile), set(&new.volatile));
    if let Some(added) = new_volatile.difference(&old_volatile).next() {
        let why = format!("{added:?} no longer counts for the content hash");
        changes.field("volatile", Breaking, &old.volatile, &new.volatile, &why);
    } else if let Some(removed) = old_volatile.difference(&new_volatile).next() {
        let why = format!("{removed:?} now counts for the content hash");
        changes.field("volatile", Compatible, &old.volatile, &new.volatile, &why);
    } else if old.volatile != new.volatile {
        changes.field("volatile", Cosmetic, &old.volatile, &new.volatile, "the same fields in another order");
    }
    if old.timeout_ms != new.timeout_ms {
        let limit = |timeout: Option<u64>| timeout.unwrap_or(u64::MAX);
        let (level, why) = if limit(new.timeout_ms) < limit(old.timeout_ms) {
            (Breaking, "attempts that ended in time may no longer do so")
        } else {
            (Compatible, "an attempt may take longer")
        };
        changes.field("timeout_ms", level, old.timeout_ms, new.timeout_ms, why);
    }
    if old.retry != new.retry {
        let why = "failures are retried in another way; a workflow may set its own";
        changes.field("retry", Compatible, &old.retry, &new.retry, why);
    }
    if old.description != new.description {
        changes.field("description", Cosmetic, &old.description, &new.description, "it describes, and decides nothing");
    }
}

fn set(pointers: &[String]) -> BTreeSet<&str> {
    pointers.iter().map(String::as_str).collect()
}
