//! Skills that need the outside live here and not in `aos-core`; with the core's own they make up a registry.

pub mod http_call;
pub mod limited;

use std::sync::Arc;

use aos_core::Failure;
use aos_core::id::TenantId;
use aos_core::llm::Adapters;
use aos_core::registry::Registry;
use aos_core::skill::Skill;
use aos_core::skill::builtin;
use aos_core::skill::schema::JsonSchemas;

use crate::clock;
use crate::config::Config;

/// Every skill that comes with the server; those that ask a model do so through `adapters`.
///
/// # Errors
/// TLS that can't be set up on this machine.
pub fn all(config: &Config, adapters: &Adapters) -> Result<Vec<Arc<dyn Skill>>, Failure> {
    let mut skills = builtin::all(Arc::new(adapters.clone()));
    let http_call = http_call::HttpCall::new(config.worker.http_allow.clone())?;
    skills.push(Arc::new(http_call.once()?));
    skills.push(Arc::new(http_call));
    Ok(skills)
}

/// A registry with every skill that comes with the server, kept nowhere.
///
/// # Errors
/// As [`all`].
pub fn registry(config: &Config, adapters: &Adapters) -> Result<Registry, Failure> {
    let registry = Registry::build(TenantId::default(), Arc::new(JsonSchemas::new()));
    let now = clock::now();
    for skill in all(config, adapters)? {
        registry.register(skill, now)?;
    }
    Ok(registry)
}
