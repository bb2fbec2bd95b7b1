//! Definitions of workflows, as the server takes them.

use std::sync::Arc;

use aos_core::Failure;
use aos_core::workflow::{Definition, Plan, Resolver, definition_schema};
use serde_json::Value;

/// The plan of a definition.
///
/// # Errors
/// Every mistake in the definition.
pub fn resolve(definition: &Value, resolver: &dyn Resolver) -> Result<Arc<Plan>, Failure> {
    Ok(Arc::new(Definition::resolve(definition.clone(), resolver)?))
}

/// Parses YAML into a JSON value.
///
/// # Errors
/// [`INVALID_YAML`](aos_core::codes::INVALID_YAML) with line and column.
pub fn yaml(text: &str) -> Result<Value, Failure> {
    aos_core::workflow::yaml_value(text)
}

/// The JSON Schema of definitions.
pub fn schema() -> Value {
    definition_schema()
}
