//! A skill that answers as written down.

use std::sync::Arc;

use aos_core::payload::Payload;
use aos_core::skill::{Skill, SkillCall, SkillContract, SkillOutput, SkillResult};
use aos_core::time::Clock;
use aos_core::{BoxFuture, Failure};
use serde_json::Value;

use super::{Caller, Script, ScriptError, Turn};

/// A skill that gives scripted answers. Clones share the script, so that a test can keep one for
/// [`finish`](ScriptedSkill::finish).
///
/// ```
/// use std::sync::Arc;
/// use aos_core::skill::SkillContract;
/// use aos_core::codes;
/// use aos_core::memory::VirtualClock;
/// use aos_testkit::script::{ScriptedSkill, Turn};
///
/// let clock = Arc::new(VirtualClock::default());
/// let weather = ScriptedSkill::new(SkillContract::idempotent("weather", "1.0.0")?, clock)
///     .turn(Turn::fail(codes::TIMEOUT, "the station is slow"))
///     .turn(Turn::json(serde_json::json!({"celsius": 21}))?);
/// // … run a workflow with `weather.clone()` …
/// assert!(weather.finish().is_err(), "nobody called it");
/// # Ok::<(), aos_core::Failure>(())
/// ```
#[derive(Clone)]
pub struct ScriptedSkill {
    contract: Arc<SkillContract>,
    script: Arc<Script<Payload>>,
}

impl Turn<Payload> {
    /// Answers with this JSON.
    ///
    /// # Errors
    /// A number that canonical JSON can't carry.
    pub fn json(value: Value) -> Result<Self, Failure> {
        Ok(Self::give(Payload::new(value)?))
    }
}

impl ScriptedSkill {
    /// A skill with this contract and an empty script; delays are of `clock`'s time.
    pub fn new(contract: SkillContract, clock: Arc<dyn Clock>) -> Self {
        let script = Script::new(&contract.version.to_string(), clock);
        Self { contract: Arc::new(contract), script: Arc::new(script) }
    }

    /// Adds an answer for whoever calls next.
    #[must_use]
    pub fn turn(self, turn: Turn<Payload>) -> Self {
        self.script.push(None, turn);
        self
    }

    /// Adds an answer for the calls of one effect; these come before the answers for everybody.
    #[must_use]
    pub fn for_effect(self, effect: &str, turn: Turn<Payload>) -> Self {
        self.script.push(Some(effect), turn);
        self
    }

    /// The calls so far: effect and input.
    pub fn calls(&self) -> Vec<(String, Payload)> {
        self.script.calls()
    }

    /// Ends the test of the script.
    ///
    /// # Errors
    /// [`ScriptError`] listing unexpected calls and answers that nobody asked for.
    pub fn finish(&self) -> Result<(), ScriptError> {
        self.script.finish()
    }
}

impl Skill for ScriptedSkill {
    fn contract(&self) -> &SkillContract {
        &self.contract
    }

    fn call(&self, call: SkillCall) -> BoxFuture<'_, SkillResult> {
        Box::pin(async move {
            let caller =
                Caller { effect: Some(&call.effect), idempotency_key: &call.idempotency_key, attempt: call.attempt };
            let (output, cost) = self.script.play(caller, &call.input).await?;
            Ok(SkillOutput { output, cost })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aos_core::codes;
    use aos_core::id::{EffectId, RunId, TenantId};
    use aos_core::random::Seed;
    use serde_json::json;

    use super::*;
    use crate::script::ERR_SCRIPT;
    use aos_core::memory::VirtualClock;

    fn call(skill: &ScriptedSkill, clock: &VirtualClock, effect: &str, input: Value) -> SkillResult {
        let call = SkillCall {
            run: RunId::new("r").unwrap(),
            tenant: TenantId::default(),
            workflow: None,
            api_key: None,
            trace: None,
            effect: EffectId::new(effect).unwrap(),
            attempt: 1,
            idempotency_key: String::new(),
            input: Payload::new(input).unwrap(),
            seed: Seed::default(),
            deadline: None,
        };
        let clock = clock.clone();
        let (result, ()) = pollster::block_on(futures_util::future::join(skill.call(call), async move {
            while clock.advance_to_next().is_some() {}
        }));
        result
    }

    fn skill(clock: &VirtualClock) -> ScriptedSkill {
        ScriptedSkill::new(SkillContract::pure("s", "1.0.0").unwrap(), Arc::new(clock.clone()))
    }

    fn give(value: Value) -> Turn<Payload> {
        Turn::json(value).unwrap()
    }

    #[test]
    fn answers_in_order_by_effect_and_in_time() {
        let clock = VirtualClock::default();
        let start = clock.now();
        let skill = skill(&clock)
            .turn(give(json!(1)).after(Duration::from_secs(3)))
            .turn(Turn::fail(codes::TIMEOUT, "late"))
            .for_effect("b", give(json!("for b")));
        assert_eq!(call(&skill, &clock, "b", json!({})).unwrap().output.value(), "for b");
        assert_eq!(call(&skill, &clock, "a", json!({})).unwrap().output.value(), 1);
        assert_eq!(clock.now().since(start), Duration::from_secs(3));
        assert_eq!(call(&skill, &clock, "b", json!({})).unwrap_err().code, codes::TIMEOUT);
        skill.finish().unwrap();
        assert_eq!(skill.calls().len(), 3);
    }

    #[test]
    fn an_attempt_that_is_repeated_gets_its_answer_again() {
        let clock = VirtualClock::default();
        let skill = skill(&clock).turn(give(json!(1))).turn(give(json!(2)));
        let ask = |key: &str, attempt| {
            let input = Payload::null();
            let caller = Caller { effect: None, idempotency_key: key, attempt };
            pollster::block_on(skill.script.play(caller, &input)).unwrap().0.value().clone()
        };
        assert_eq!([ask("a", 1), ask("b", 1), ask("a", 1), ask("b", 1)], [json!(1), json!(2), json!(1), json!(2)]);
        skill.finish().unwrap();
    }

    #[test]
    fn complains_about_order_input_surprise_and_leftovers() {
        let clock = VirtualClock::default();
        let skill = skill(&clock)
            .turn(give(json!(1)).from_effect("first"))
            .turn(give(json!(2)).expecting_text("needle"))
            .for_effect("never", give(json!(3)));
        for (effect, input) in [("second", json!({})), ("x", json!("hay")), ("y", json!(null))] {
            let failure = call(&skill, &clock, effect, input).unwrap_err();
            assert_eq!(failure.code.as_str(), ERR_SCRIPT);
            assert!(!failure.retryable);
        }
        let message = skill.finish().unwrap_err().to_string();
        for part in [
            "call 1, by effect second: effect first was expected to call",
            "call 2, by effect x: its input does not contain \"needle\" (input \"hay\")",
            "call 3, by effect y: the script has no answer left for it",
            "effect never did not ask for the answer 3",
        ] {
            assert!(message.contains(part), "{part:?} is not in {message}");
        }
    }
}
