//! The versioned set of skills and workflows of a tenant: what is there, which version a requirement selects, what a
//! new version breaks, and how the set is kept, copied and brought back.
//!
//! A [`Registry`] lives in memory and is asked by everything that resolves a workflow or executes a skill.

pub mod diff;
mod record;
mod shared;
mod state;
#[cfg(test)]
mod tests;

pub use record::{Action, AuditEntry, Change, Record, SkillRecord, Status, Subject, WorkflowRecord};
pub use shared::{Registered, Registry};
