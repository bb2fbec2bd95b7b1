//! Workflows: definitions as people write them, and plans as runs execute them.

mod compiled;
mod definition;
mod expression;
mod interpreter;
mod jinja;
mod mistake;
mod parse;
mod path;
mod plan;
mod resolve;
mod schema;
mod scope;
#[cfg(feature = "yaml")]
mod yaml;

pub use definition::Definition;
pub(crate) use interpreter::Interpreter;
pub use mistake::{DefinitionError, Mistake};
pub use plan::{Body, OnError, Plan, PlanBuilder, Repeat, SkillPin, Step, StepAction, WorkflowVersion};
pub use resolve::Resolver;
pub use schema::definition_schema;
#[cfg(feature = "yaml")]
pub use yaml::yaml_value;
