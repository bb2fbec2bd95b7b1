//! The contract of a store that bounds how many attempts of a skill are under way at the same time, in all processes.

use std::time::Duration;

use crate::BoxFuture;
use crate::id::{SkillId, TenantId, WorkerId};
use crate::runs::StoreError;

/// How many attempts of a skill, whatever its version, may be under way at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkillLimit {
    /// Whose attempts.
    pub skill: SkillId,
    /// At most this many; 0 holds them all back.
    pub max: u32,
}

/// The right to make one attempt of a limited skill, until a deadline of the store's clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// On whose behalf.
    pub tenant: TenantId,
    /// Which skill.
    pub skill: SkillId,
    /// Tells it from every other slot that there ever was.
    pub ticket: u64,
}

/// The answer to who wants a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The skill has no limit: there is nothing to hold.
    Unlimited,
    /// Go ahead, and release this.
    Granted(Slot),
    /// As many as may are under way: ask again later.
    Full,
}

/// Hands out slots for skills that have a limit.
///
/// # Contract
/// - Of a skill with a limit no more slots are live at the same time than it says, however many ask. A slot is live from
///   its grant until it is released, or until its deadline has passed without a `renew`.
/// - Deadlines come from the store's clock only: `lease` after the grant, or after the last `renew`.
/// - `renew` gives back the slots that are not live any more; a slot past its deadline does not come back to life.
/// - Releasing a slot that is not live changes nothing and is `Ok`.
/// - A limit that is lowered, or lifted and set again, takes nothing away; it grants nothing new until enough slots have
///   ended. What went ahead while there was none holds no slot and does not count.
/// - Nothing of one tenant is visible to, or changed by, a call for another.
pub trait SlotStore: Send + Sync {
    /// Sets the limit of a skill; `None` lifts it.
    fn limit<'a>(
        &'a self,
        tenant: &'a TenantId,
        skill: &'a SkillId,
        max: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The limits that are set, by skill.
    fn limits<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Vec<SkillLimit>, StoreError>>;

    /// Asks for a slot, for `lease`; `holder` is for operators.
    fn acquire<'a>(
        &'a self,
        tenant: &'a TenantId,
        skill: &'a SkillId,
        holder: &'a WorkerId,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Admission, StoreError>>;

    /// Prolongs slots; gives back those that are no longer live.
    fn renew<'a>(&'a self, slots: &'a [Slot], lease: Duration) -> BoxFuture<'a, Result<Vec<Slot>, StoreError>>;

    /// Gives a slot back.
    fn release<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Result<(), StoreError>>;
}
