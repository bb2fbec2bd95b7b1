//! What turning a definition into a plan needs of a registry.

use std::sync::Arc;

use crate::error::Failure;
use crate::skill::SkillContract;
use crate::workflow::Plan;

/// Finds the exact versions behind requirements such as `http_call@^2`, `http_call@2.1.0` or `http_call`.
pub trait Resolver {
    /// The contract of the highest enabled skill version that fits.
    ///
    /// # Errors
    /// [`SKILL_NOT_FOUND`](crate::codes::SKILL_NOT_FOUND) with the nearest name,
    /// [`SKILL_DISABLED`](crate::codes::SKILL_DISABLED), or
    /// [`INVALID_REQUEST`](crate::codes::INVALID_REQUEST) for a malformed requirement.
    fn skill(&self, requirement: &str) -> Result<SkillContract, Failure>;

    /// The plan of the highest workflow version that fits.
    ///
    /// # Errors
    /// As [`Resolver::skill`], with [`WORKFLOW_NOT_FOUND`](crate::codes::WORKFLOW_NOT_FOUND).
    fn workflow(&self, requirement: &str) -> Result<Arc<Plan>, Failure>;
}
