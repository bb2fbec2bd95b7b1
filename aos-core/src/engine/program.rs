//! What the engine runs: the plan interpreter or a Rust workflow, behind one small trait.

use crate::error::Failure;
use crate::event::Request;
use crate::id::EffectId;
use crate::money::Money;
use crate::payload::Payload;

/// How an effect ended for good, as the program sees it.
pub(crate) type EffectResult = Result<Payload, Failure>;

/// A program: it asks for effects, learns their results one at a time, and ends.
///
/// # Contract
/// - What it asks for is a function of how it was made and of the results so far, in their order.
/// - It chooses each effect id once; the engine answers each request with exactly one `resolve`.
/// - It has ended when `outcome` gives `Some`; after that it asks for nothing.
/// - It never panics: what the plan gets wrong is a failed outcome or [`Command::Fail`](crate::event::Command::Fail).
pub(crate) trait Program: Send {
    /// Begins; pushes the first requests.
    fn start(&mut self, requests: &mut Vec<Request>);
    /// Learns how an effect ended, and what all its attempts cost; pushes what that unlocks.
    fn resolve(&mut self, effect: &EffectId, result: &EffectResult, cost: Money, requests: &mut Vec<Request>);
    /// The journal has been replayed: from here on everything is new.
    fn go_live(&mut self) {}
    /// The end, once reached.
    fn outcome(&mut self) -> Option<EffectResult>;
}
