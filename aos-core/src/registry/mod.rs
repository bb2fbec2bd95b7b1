//! The versioned set of skills and workflows of a tenant: what is there, which version a requirement selects, what a
//! new version breaks, and how the set is kept, copied and brought back.
//!
//! A [`Registry`] lives in memory and is asked by everything that resolves a workflow or executes a skill. A
//! [`RegistryStore`] keeps it; a [`RegistrySnapshot`] carries it elsewhere.

pub mod diff;
mod record;
mod shared;
mod snapshot;
mod state;
mod store;
mod sync;
#[cfg(test)]
mod tests;
mod transfer;

#[cfg(test)]
#[cfg(feature = "jsonschema")]
pub(crate) use tests::call as test_call;

pub use record::{Action, AuditEntry, Change, Record, SkillRecord, Status, Subject, WorkflowRecord};
pub use shared::{Registered, Registry};
pub use snapshot::{RegistrySnapshot, SNAPSHOT_VERSION, SnapshotSkill, SnapshotWorkflow};
pub use store::{Loaded, RegistryStore, SnapshotInfo};
pub use transfer::{ImportConflict, ImportReport};
