//! The skills that come with the core: `echo`, `llm_invoke` and, with the feature `jsonpath`, `json_transform`.

mod echo;
#[cfg(feature = "jsonpath")]
mod json_transform;
mod llm_invoke;

use std::sync::Arc;

pub use echo::Echo;
#[cfg(feature = "jsonpath")]
pub use json_transform::JsonTransform;
pub use llm_invoke::LlmInvoke;

use serde_json::Value;

use crate::llm::Adapters;
use crate::skill::{CostModel, CrashClass, Determinism, Skill, SkillContract};

/// All skills of this module, sorted by name; `llm_invoke` reaches models through `adapters`.
///
/// ```
/// use std::sync::Arc;
/// use aos_core::llm::{Adapters, StubAdapter};
/// use aos_core::skill::builtin;
///
/// let adapters = Adapters::new(Arc::default()).with(Arc::new(StubAdapter));
/// let names: Vec<_> = builtin::all(Arc::new(adapters)).iter().map(|skill| skill.contract().version.to_string()).collect();
/// assert!(names.contains(&"llm_invoke@1.0.0".to_owned()));
/// ```
pub fn all(adapters: Arc<Adapters>) -> Vec<Arc<dyn Skill>> {
    vec![
        Arc::new(Echo::new()),
        #[cfg(feature = "jsonpath")]
        Arc::new(JsonTransform::new()),
        Arc::new(LlmInvoke::new(adapters)),
    ]
}

/// The contract of a skill of this module, at version 1.0.0.
fn contract(id: &str, determinism: Determinism, crash: CrashClass) -> SkillContract {
    let version = format!("{id}@1.0.0").parse();
    #[allow(clippy::expect_used, reason = "the ids are constants of this module, and tests make every skill")]
    let version = version.expect("a valid skill version");
    SkillContract {
        version,
        description: String::new(),
        input_schema: Value::Bool(true),
        output_schema: Value::Bool(true),
        determinism,
        crash,
        cost: CostModel::default(),
        volatile: Vec::new(),
        timeout_ms: None,
        retry: None,
    }
}
