//! Skills for tests: flaky, slow, keeping a ledger, storing, and `http_call` over documents instead of a network.

mod basic;
mod web;

use std::collections::BTreeMap;
use std::sync::Arc;

use aos_core::Failure;
use aos_core::skill::{Skill, SkillSource, SkillVersion};
use aos_core::time::Clock;

pub use basic::{Booking, Ledger, Shelf, flaky, slow};
pub use web::{Page, Web};

/// A set of skills by exact version: the simplest [`SkillSource`].
#[derive(Clone, Default)]
pub struct Skills(BTreeMap<SkillVersion, Arc<dyn Skill>>);

impl Skills {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a skill; it replaces one of the same version.
    #[must_use]
    pub fn with(self, skill: impl Skill + 'static) -> Self {
        self.with_shared(Arc::new(skill))
    }

    /// Adds a skill that others have too.
    #[must_use]
    pub fn with_shared(mut self, skill: Arc<dyn Skill>) -> Self {
        self.0.insert(skill.contract().version.clone(), skill);
        self
    }

    /// All of them, by version.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Skill>> {
        self.0.values()
    }
}

impl SkillSource for Skills {
    fn skill(&self, version: &SkillVersion) -> Option<Arc<dyn Skill>> {
        self.0.get(version).cloned()
    }
}

/// The test skills with the state that a test looks at afterwards.
#[derive(Clone)]
pub struct TestSkills {
    /// What `ledger@1.0.0` booked.
    pub ledger: Ledger,
    /// What `store@1.0.0` keeps.
    pub shelf: Shelf,
    /// What `http_call@1.0.0` serves.
    pub web: Web,
    /// `flaky`, `ledger`, `slow`, `store` and `http_call`, all at 1.0.0.
    pub skills: Skills,
}

impl TestSkills {
    /// The test skills over `clock` and the pages of `web`.
    ///
    /// # Errors
    /// None in practice: the contracts are constants.
    pub fn new(clock: Arc<dyn Clock>, web: Web) -> Result<Self, Failure> {
        let (ledger, shelf) = (Ledger::default(), Shelf::default());
        let skills = Skills::new()
            .with(flaky()?)
            .with(slow(clock)?)
            .with(ledger.skill()?)
            .with(shelf.skill()?)
            .with(web.skill()?);
        Ok(Self { ledger, shelf, web, skills })
    }
}
