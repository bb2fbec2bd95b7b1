//! Workflows: definitions as people write them, and plans as runs execute them.

mod plan;
mod resolve;

pub use plan::{Body, OnError, Plan, PlanBuilder, Repeat, SkillPin, Step, StepAction, WorkflowVersion};
pub use resolve::Resolver;
