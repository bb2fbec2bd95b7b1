//! Faults around skills and adapters.

// A method with a default body would pass the fault by if a wrapper forgot it.
#![deny(clippy::missing_trait_methods)]

use std::sync::Arc;

use aos_core::llm::{LlmAdapter, LlmAnswer, LlmCall, LlmFailure};
use aos_core::skill::{Skill, SkillCall, SkillContract, SkillResult, SkillSource, SkillVersion};
use aos_core::{BoxFuture, Failure, codes};

use super::{Faulty, InjectedError};

impl<T: Skill + ?Sized> Skill for Faulty<T> {
    fn contract(&self) -> &SkillContract {
        self.inner.contract()
    }

    fn call(&self, call: SkillCall) -> BoxFuture<'_, SkillResult> {
        let failed = |error: InjectedError| Failure::new(codes::SKILL_FAILED, error.to_string()).retryable(true);
        Box::pin(self.faults.around("skill.call", || self.inner.call(call), failed))
    }
}

impl<T: LlmAdapter + ?Sized> LlmAdapter for Faulty<T> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn is_live(&self) -> bool {
        self.inner.is_live()
    }

    fn invoke(&self, call: LlmCall) -> BoxFuture<'_, Result<LlmAnswer, LlmFailure>> {
        let failed = |error: InjectedError| Failure::new(codes::LLM_OVERLOADED, error.to_string()).into();
        Box::pin(self.faults.around("llm.invoke", || self.inner.invoke(call), failed))
    }
}

/// Every skill of the source gets the faults.
impl<T: SkillSource + ?Sized> SkillSource for Faulty<T> {
    fn skill(&self, version: &SkillVersion) -> Option<Arc<dyn Skill>> {
        let inner = self.inner.skill(version)?;
        Some(Arc::new(Faulty { inner, faults: Arc::clone(&self.faults) }))
    }
}
