//! Lower and upper bounds of a plan's effects and cost, from the plan alone.

use aos_core::agent::AgentSpec;
use aos_core::money::Money;
use aos_core::retry::RetryPolicy;
use aos_core::skill::CrashClass;
use aos_core::workflow::{Body, Plan, SkillPin, Step, StepAction};
use serde_json::Value;

use crate::http::simulate::StepBounds;

/// Bounds of effects and cost; no maximum means that it depends on what a run learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub effects_min: u64,
    pub effects_max: Option<u64>,
    pub cost_min: Money,
    pub cost_max: Option<Money>,
}

impl Bounds {
    const NONE: Self =
        Self { effects_min: 0, effects_max: Some(0), cost_min: Money::ZERO, cost_max: Some(Money::ZERO) };

    fn plus(self, other: Self) -> Self {
        Self {
            effects_min: self.effects_min.saturating_add(other.effects_min),
            effects_max: self.effects_max.zip(other.effects_max).map(|(a, b)| a.saturating_add(b)),
            cost_min: self.cost_min.saturating_add(other.cost_min),
            cost_max: self.cost_max.zip(other.cost_max).map(|(a, b)| a.saturating_add(b)),
        }
    }

    /// `min` to `max` times the same.
    fn times(self, (min, max): (u64, Option<u64>)) -> Self {
        let free = self.cost_max == Some(Money::ZERO);
        Self {
            effects_min: self.effects_min.saturating_mul(min),
            effects_max: self.effects_max.zip(max).map(|(effects, max)| effects.saturating_mul(max)),
            cost_min: self.cost_min.saturating_mul(min),
            cost_max: if free {
                Some(Money::ZERO)
            } else {
                self.cost_max.zip(max).map(|(cost, n)| cost.saturating_mul(n))
            },
        }
    }
}

/// The bounds of a plan; `input` lets loops over parts of it be counted.
pub(super) fn of_plan(plan: &Plan, input: Option<&Value>) -> Bounds {
    match &plan.body {
        Body::Steps { steps, .. } => {
            steps.iter().map(|step| of_step(plan, step, input)).fold(Bounds::NONE, Bounds::plus)
        }
        // Code decides while it runs; its skills tell at least whether it can cost anything.
        Body::Code => {
            let free = plan.skills.values().all(|pin| pin.estimate.is_zero())
                && plan.children.values().all(|child| of_plan(child, None).cost_max == Some(Money::ZERO));
            Bounds { effects_min: 0, effects_max: None, cost_min: Money::ZERO, cost_max: free.then_some(Money::ZERO) }
        }
    }
}

/// The bounds of each step.
pub(super) fn steps(plan: &Plan, input: Option<&Value>) -> Vec<StepBounds> {
    let Body::Steps { steps, .. } = &plan.body else { return Vec::new() };
    let view = |step: &Step| {
        let bounds = of_step(plan, step, input);
        let (kind, calls) = match &step.action {
            StepAction::Skill { skill } => ("skill", Some(skill.to_string())),
            StepAction::Workflow { workflow } => ("workflow", Some(workflow.to_string())),
            StepAction::Signal { .. } => ("signal", None),
            StepAction::Sleep { .. } => ("sleep", None),
            StepAction::Agent(agent) => ("agent", Some(agent.model_skill.to_string())),
            StepAction::Set => ("set", None),
        };
        StepBounds {
            step: step.id.clone(),
            kind,
            calls,
            effects: bounds.effects(),
            max_attempts: attempts(plan, step),
            cost_usd: bounds.cost(),
        }
    };
    steps.iter().map(view).collect()
}

fn of_step(plan: &Plan, step: &Step, input: Option<&Value>) -> Bounds {
    let once = match &step.action {
        StepAction::Skill { skill } => of_call(plan.skills.get(&skill.to_string()), attempts(plan, step)),
        StepAction::Workflow { workflow } => {
            let child = plan.children.get(&workflow.to_string()).map_or(Bounds::NONE, |child| of_plan(child, None));
            child.plus(single())
        }
        StepAction::Signal { .. } | StepAction::Sleep { .. } => single(),
        StepAction::Agent(agent) => of_agent(plan, step, agent),
        StepAction::Set => return Bounds::NONE,
    };
    let (min, max) = times(step, input);
    once.times(if step.condition.is_some() { (0, max) } else { (min, max) })
}

/// The bounds of an agent: one turn at least, and at most all turns and tool calls, each with every retry. Its budget bounds
/// what is begun and not what retries cost, so it is no upper bound here.
fn of_agent(plan: &Plan, step: &Step, agent: &AgentSpec) -> Bounds {
    let turn = of_call(plan.skills.get(&agent.model_skill.to_string()), attempts(plan, step));
    let calls = agent.tools.iter().map(|tool| {
        let pin = plan.skills.get(&tool.skill.to_string());
        let call = of_call(pin, pin_attempts(pin, None));
        if tool.approve { call.plus(single()) } else { call }
    });
    // Which tools are called is the model's choice: the dearest one, and the one with most effects.
    let dearest = calls.fold(Bounds::NONE, |a, b| Bounds {
        effects_max: a.effects_max.max(b.effects_max),
        cost_max: a.cost_max.max(b.cost_max),
        ..Bounds::NONE
    });
    turn.times((1, Some(agent.max_turns.into()))).plus(dearest.times((0, Some(agent.max_tool_calls.into()))))
}

fn of_call(pin: Option<&SkillPin>, attempts: u32) -> Bounds {
    let estimate = pin.map(|pin| pin.estimate).unwrap_or_default();
    Bounds { cost_min: estimate, cost_max: Some(estimate.saturating_mul(u64::from(attempts))), ..single() }
}

const fn single() -> Bounds {
    Bounds { effects_min: 1, effects_max: Some(1), ..Bounds::NONE }
}

/// Attempts of each effect of the step (of an agent: of each turn), the first included.
fn attempts(plan: &Plan, step: &Step) -> u32 {
    let skill = match &step.action {
        StepAction::Skill { skill } => skill,
        StepAction::Agent(agent) => &agent.model_skill,
        _ => return 1,
    };
    pin_attempts(plan.skills.get(&skill.to_string()), step.retry.as_ref())
}

/// Attempts of a call of the pinned skill, whose retry policy the step may override.
fn pin_attempts(pin: Option<&SkillPin>, retry: Option<&RetryPolicy>) -> u32 {
    let declared = retry.or_else(|| pin?.retry.as_ref());
    let once = pin.is_some_and(|pin| pin.crash == CrashClass::Once);
    declared
        .map_or_else(|| if once { 1 } else { RetryPolicy::default().max_attempts }, |retry| retry.max_attempts.max(1))
}

/// How often the step is done.
fn times(step: &Step, input: Option<&Value>) -> (u64, Option<u64>) {
    if let Some(repeat) = &step.repeat {
        return (1, Some(u64::from(repeat.max)));
    }
    match &step.for_each {
        None => (1, Some(1)),
        Some(expression) => match input.and_then(|input| length(expression, input)) {
            Some(items) => (items, Some(items)),
            None => (0, None),
        },
    }
}

/// The length of the array that `input.a.b` names; other expressions are not evaluated.
fn length(expression: &str, input: &Value) -> Option<u64> {
    let text = expression.trim();
    let text = text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}")).unwrap_or(text).trim();
    let mut names = text.split('.');
    (names.next() == Some("input")).then_some(())?;
    let items = names.try_fold(input, |value, name| value.get(name))?.as_array()?;
    u64::try_from(items.len()).ok()
}

#[cfg(test)]
mod tests {
    use aos_core::skill::SkillContract;
    use serde_json::json;

    use super::*;

    fn plan(steps: Value) -> Plan {
        let contract = SkillContract::idempotent("ask", "1.0.0").unwrap().estimate(Money::from_cents(2));
        let skills = json!({"ask@1.0.0": SkillPin::new(&contract).unwrap()});
        let body = json!({"steps": {"steps": steps, "output": null}});
        serde_json::from_value(json!({"workflow": "w@1.0.0", "body": body, "skills": skills})).unwrap()
    }

    #[test]
    fn bounds_follow_conditions_loops_and_retries() {
        let ask = json!({"skill": {"skill": "ask@1.0.0"}});
        let cents = Money::from_cents;
        let agent = |approve| {
            let tool = json!({"skill": "ask@1.0.0", "name": "ask", "approve": approve});
            let bounds = json!({"max_turns": 5, "max_tool_calls": 7, "parallel": true});
            let mut agent = json!({"model_skill": "ask@1.0.0", "tools": [tool]});
            agent.as_object_mut().unwrap().extend(bounds.as_object().unwrap().clone());
            json!({"agent": agent})
        };
        for (step, effects, cost) in [
            (json!({"id": "a", "action": ask}), (1, Some(1)), (2, Some(6))),
            (json!({"id": "a", "action": ask, "if": "input.x"}), (0, Some(1)), (0, Some(6))),
            (json!({"id": "a", "action": ask, "for_each": "{{ input.items }}"}), (3, Some(3)), (6, Some(18))),
            (json!({"id": "a", "action": ask, "for_each": "steps.b.output"}), (0, None), (0, None)),
            (json!({"id": "a", "action": ask, "repeat": {"until": "true", "max": 4}}), (1, Some(4)), (2, Some(24))),
            (json!({"id": "a", "action": {"sleep": {"sleep_ms": 5}}, "for_each": "x"}), (0, None), (0, Some(0))),
            (json!({"id": "a", "action": "set"}), (0, Some(0)), (0, Some(0))),
            (json!({"id": "a", "action": agent(false)}), (1, Some(5 + 7)), (2, Some(3 * 2 * (5 + 7)))),
            (json!({"id": "a", "action": agent(true)}), (1, Some(5 + 2 * 7)), (2, Some(3 * 2 * (5 + 7)))),
        ] {
            let bounds = of_plan(&plan(json!([step])), Some(&json!({"items": [1, 2, 3]})));
            assert_eq!((bounds.effects_min, bounds.effects_max), effects, "{step}");
            assert_eq!((bounds.cost_min, bounds.cost_max), (cents(cost.0), cost.1.map(cents)), "{step}");
        }
    }
}
