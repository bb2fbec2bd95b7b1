//! Checking payloads against JSON Schemas, behind a seam: the core's default tree has no JSON Schema engine.
//!
//! A host picks a [`SchemaCompiler`] and hands it to the registry: `JsonSchemas` with the feature
//! `jsonschema`, an engine of its own, or [`Unchecked`]. Schemas are compiled once, when a contract is registered,
//! so that a bad schema is an error there and a check costs no parsing later.

#[cfg(feature = "jsonschema")]
mod bounds;
#[cfg(feature = "jsonschema")]
mod json;
#[cfg(test)]
#[cfg(feature = "jsonschema")]
mod tests;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[cfg(feature = "jsonschema")]
pub use json::JsonSchemas;

use crate::BoxFuture;
use crate::error::{Code, Failure, codes};
use crate::payload::Payload;
use crate::skill::{Skill, SkillCall, SkillContract, SkillResult};
use crate::workflow::Plan;

/// The most mistakes that one check reports.
pub const MAX_MISTAKES: usize = 64;

/// One place where a value does not fit its schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mistake {
    /// JSON pointer into the value, empty for the value itself.
    pub path: String,
    /// What is there, shortened.
    pub found: String,
    /// What the schema asks for there.
    pub expected: String,
    /// JSON pointer into the schema.
    pub schema_path: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "the value" } else { &self.path };
        write!(f, "{path}: expected {}, found {}", self.expected, self.found)
    }
}

/// A schema that is ready to check values.
pub trait CompiledSchema: Send + Sync {
    /// Where `value` does not fit, in a stable order, at most [`MAX_MISTAKES`]; empty when it fits.
    fn check(&self, value: &Value) -> Vec<Mistake>;
}

/// Makes schemas ready to check values.
///
/// # Contract
/// - `compile` reads nothing from outside: a `$ref` to another document is an error.
/// - Compiling and checking end in bounded time and memory, whatever the schema's patterns are.
pub trait SchemaCompiler: Send + Sync {
    /// Prepares a JSON Schema (2020-12).
    ///
    /// # Errors
    /// [`codes::INVALID_DEFINITION`] naming the place in the schema and what is wrong there.
    fn compile(&self, schema: &Value) -> Result<Arc<dyn CompiledSchema>, Failure>;
}

/// Accepts every schema and every value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unchecked;

impl CompiledSchema for Unchecked {
    fn check(&self, _value: &Value) -> Vec<Mistake> {
        Vec::new()
    }
}

impl SchemaCompiler for Unchecked {
    fn compile(&self, _schema: &Value) -> Result<Arc<dyn CompiledSchema>, Failure> {
        Ok(Arc::new(Self))
    }
}

/// Checks `payload`; all its mistakes become one failure with `code` and `details.errors`.
///
/// `what` names the payload in the message: `"input of http_call@1.0.0"`.
///
/// # Errors
/// A failure with `code`.
pub fn check(
    schema: &dyn CompiledSchema,
    payload: &Payload,
    code: Code,
    what: &dyn fmt::Display,
) -> Result<(), Failure> {
    let mistakes = schema.check(payload.value());
    let Some(first) = mistakes.first() else { return Ok(()) };
    let more = match mistakes.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    Err(Failure::new(code, format!("the {what} does not fit its schema: {first}{more}"))
        .details(json!({ "errors": mistakes })))
}

/// The compiled schemas of one contract.
#[derive(Clone)]
pub struct ContractSchemas {
    name: Arc<str>,
    input: Arc<dyn CompiledSchema>,
    output: Arc<dyn CompiledSchema>,
}

impl ContractSchemas {
    /// Compiles both schemas of `contract`.
    ///
    /// # Errors
    /// [`codes::INVALID_DEFINITION`] saying which schema is bad, where and why.
    pub fn new(compiler: &dyn SchemaCompiler, contract: &SkillContract) -> Result<Self, Failure> {
        let compile = |which: &str, schema: &Value| {
            compiler.compile(schema).map_err(|failure| Failure {
                message: format!("the {which} schema of {}: {}", contract.version, failure.message),
                ..failure
            })
        };
        Ok(Self {
            name: contract.version.to_string().into(),
            input: compile("input", &contract.input_schema)?,
            output: compile("output", &contract.output_schema)?,
        })
    }

    /// Checks an input.
    ///
    /// # Errors
    /// [`codes::INVALID_INPUT`] with every mistake in `details.errors`.
    pub fn check_input(&self, input: &Payload) -> Result<(), Failure> {
        check(&*self.input, input, codes::INVALID_INPUT, &format_args!("input of {}", self.name))
    }

    /// Checks an output.
    ///
    /// # Errors
    /// [`codes::INVALID_OUTPUT`] with every mistake in `details.errors`.
    pub fn check_output(&self, output: &Payload) -> Result<(), Failure> {
        check(&*self.output, output, codes::INVALID_OUTPUT, &format_args!("output of {}", self.name))
    }
}

/// The compiled input schema of one plan.
#[derive(Clone)]
pub struct PlanInput {
    name: Arc<str>,
    schema: Option<Arc<dyn CompiledSchema>>,
}

impl PlanInput {
    /// Compiles the input schema of `plan`; without one, every input fits.
    ///
    /// # Errors
    /// [`codes::INVALID_DEFINITION`] saying where the schema is bad and why.
    pub fn new(compiler: &dyn SchemaCompiler, plan: &Plan) -> Result<Self, Failure> {
        let name: Arc<str> = plan.workflow.to_string().into();
        let schema = plan.input_schema.as_ref().map(|schema| compiler.compile(schema)).transpose();
        let schema = schema.map_err(|failure| Failure {
            message: format!("the input schema of {name}: {}", failure.message),
            ..failure
        })?;
        Ok(Self { name, schema })
    }

    /// Checks the input of a run.
    ///
    /// # Errors
    /// [`codes::INVALID_INPUT`] with every mistake in `details.errors`.
    pub fn check(&self, input: &Payload) -> Result<(), Failure> {
        let Some(schema) = &self.schema else { return Ok(()) };
        check(&**schema, input, codes::INVALID_INPUT, &format_args!("input of {}", self.name))
    }
}

/// A skill whose inputs and outputs are checked against its contract.
pub struct CheckedSkill {
    inner: Arc<dyn Skill>,
    schemas: ContractSchemas,
}

impl CheckedSkill {
    /// Checks what goes into and comes out of `inner`.
    pub fn new(inner: Arc<dyn Skill>, schemas: ContractSchemas) -> Self {
        Self { inner, schemas }
    }
}

impl Skill for CheckedSkill {
    fn contract(&self) -> &SkillContract {
        self.inner.contract()
    }

    fn call(&self, call: SkillCall) -> BoxFuture<'_, SkillResult> {
        if let Err(failure) = self.schemas.check_input(&call.input) {
            return Box::pin(std::future::ready(Err(failure)));
        }
        let running = self.inner.call(call);
        Box::pin(async move {
            let output = running.await?;
            // The call was made and paid for, even when what it gave can't be used.
            self.schemas.check_output(&output.output).map_err(|failure| failure.cost(output.cost))?;
            Ok(output)
        })
    }
}
