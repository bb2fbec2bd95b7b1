//! `echo@1.0.0`: gives back what it was given.

use serde_json::json;

use super::contract;
use crate::BoxFuture;
use crate::skill::{CrashClass, Determinism, Skill, SkillCall, SkillContract, SkillResult};

/// The skill `echo@1.0.0`: its output is its input, any JSON. For first steps and for tests.
#[derive(Clone, Debug)]
pub struct Echo(SkillContract);

impl Echo {
    /// The skill.
    pub fn new() -> Self {
        let contract = contract("echo", Determinism::Deterministic, CrashClass::Pure);
        Self(contract.description("Gives back its input.").schemas(json!(true), json!(true)))
    }
}

impl Default for Echo {
    fn default() -> Self {
        Self::new()
    }
}

impl Skill for Echo {
    fn contract(&self) -> &SkillContract {
        &self.0
    }

    fn call(&self, call: SkillCall) -> BoxFuture<'_, SkillResult> {
        Box::pin(std::future::ready(Ok(call.input.into())))
    }
}
