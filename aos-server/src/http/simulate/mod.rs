//! What a run would need and cost at most, found by looking at its plan: no effect is executed.

mod bounds;

use std::collections::BTreeSet;
use std::str::FromStr;

use aos_core::money::Money;
use aos_core::payload::Payload;
use aos_core::registry::{Record, Subject};
use aos_core::workflow::Plan;
use aos_core::{Failure, codes};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::body::Doc;
use crate::http::params::clip;
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::http::runs::create::payload_at;
use crate::http::simulate::bounds::{Bounds, of_plan, steps};
use crate::http::view::{FailureView, WorkflowChoice};
use crate::http::workflows::ready;
use crate::plans::ReadyPlan;
use crate::state::AppState;

/// What to simulate.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulateBody {
    /// A registered workflow (`id`, `id@1.2.3`, `id@^1`), or a whole definition.
    pub workflow: WorkflowChoice,
    /// The input; with it, the schema is checked and loops over parts of it are counted.
    #[serde(default)]
    pub input: Option<Value>,
    /// What the run may spend, in US dollars as a decimal string; the workflow's own budget when it is left out.
    #[serde(default)]
    #[schema(example = "0.50")]
    pub budget: Option<String>,
}

/// What a run would need and cost at most.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Simulation {
    /// Whether nothing is known that would keep the run from succeeding.
    pub feasible: bool,
    /// `id@version`; `null` when the definition can't be resolved.
    pub workflow: Option<String>,
    /// SHA-256 of the plan.
    pub plan_hash: Option<String>,
    /// Everything that stands in the way.
    pub problems: Vec<FailureView>,
    /// Skills that are not registered, switched off, or without code here.
    pub missing_skills: Vec<String>,
    /// How many effects the run would ask for.
    pub effects: Option<CountBounds>,
    /// What it would cost by the skills' declared upper bounds.
    pub cost_usd: Option<CostBounds>,
    /// The budget that the run would have.
    pub budget_usd: Option<String>,
    /// Whether even the highest cost is within the budget; `null` without a budget or a highest cost.
    pub within_budget: Option<bool>,
    /// The steps of a declarative workflow, in definition order.
    pub steps: Vec<StepBounds>,
}

/// A number of effects.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct CountBounds {
    /// At least this many: conditions don't hold, loops are empty.
    pub min: u64,
    /// At most this many; `null` when it depends on what the run learns.
    pub max: Option<u64>,
}

/// An amount of US dollars, as decimal strings.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CostBounds {
    /// Every effect that is certain, done once, at its declared bound.
    #[schema(example = "0.01")]
    pub min: String,
    /// Every effect that is possible, with every retry; `null` when their number is not known.
    #[schema(example = "0.09")]
    pub max: Option<String>,
}

/// One step.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StepBounds {
    /// Its id.
    pub step: String,
    /// What it does: `skill`, `workflow`, `signal`, `sleep`, `agent` or `set`.
    pub kind: &'static str,
    /// The pinned skill or workflow, `id@version`; of an agent, the skill that asks its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<String>,
    /// Effects of the step, those of a child run included.
    pub effects: CountBounds,
    /// Attempts of each effect, the first included.
    pub max_attempts: u32,
    /// Cost of the step.
    pub cost_usd: CostBounds,
}

/// Says what a run would need and cost at most, without running it.
#[utoipa::path(
    post, path = "/v1/simulate", tag = "simulate", operation_id = "simulate",
    request_body = SimulateBody,
    responses(
        (status = 200, body = Simulation, description = "What is known; `feasible` is false when something stands in the way"),
        (status = 413, body = Problem, description = "The body is too large"),
        (status = 415, body = Problem, description = "The body is neither JSON nor YAML"),
    )
)]
pub async fn simulate(State(state): State<AppState>, Doc(body): Doc<SimulateBody>) -> ApiResult<Json<Simulation>> {
    let input = body.input.map(|input| payload_at(input, "/input")).transpose()?;
    let budget = body.budget.as_deref().map(budget).transpose()?;
    match ready(&state, body.workflow).await {
        Ok(ready) => Ok(Json(judge(&state, &ready, input.as_ref(), budget)?)),
        // What the caller could correct is an answer here, and not an error.
        Err(error) if error.http_status() == StatusCode::INTERNAL_SERVER_ERROR => Err(error),
        Err(error) if error.failure().retryable => Err(error),
        Err(error) => Ok(Json(unresolved(error.failure().clone()))),
    }
}

fn budget(text: &str) -> ApiResult<Money> {
    Money::from_str(text)
        .map_err(|e| ApiError::invalid(format!("\"budget\" is {:?}: {e}; for example \"0.50\"", clip(text))))
}

fn unresolved(failure: Failure) -> Simulation {
    let missing_skills = unresolved_skills(&failure.details);
    Simulation {
        feasible: false,
        workflow: None,
        plan_hash: None,
        problems: vec![failure.into()],
        missing_skills,
        effects: None,
        cost_usd: None,
        budget_usd: None,
        within_budget: None,
        steps: Vec::new(),
    }
}

/// The requirements that no skill fits, from a definition's list of mistakes.
fn unresolved_skills(details: &Value) -> Vec<String> {
    let mistakes = details["mistakes"].as_array().into_iter().flatten();
    // An agent's tool may be a requirement without `skill`; the skill that asks its model stands nowhere.
    let is_skill = |path: &str| {
        let (parent, field) = path.rsplit_once('/').unwrap_or_default();
        matches!(field, "skill" | "agent") || parent.ends_with("/agent/tools")
    };
    let about_skills = mistakes.filter(|mistake| mistake["path"].as_str().is_some_and(is_skill));
    about_skills.filter_map(|mistake| serde_json::from_str(mistake["found"].as_str()?).ok()).collect()
}

fn judge(
    state: &AppState,
    ready: &ReadyPlan,
    input: Option<&Payload>,
    budget: Option<Money>,
) -> Result<Simulation, Failure> {
    let plan = &ready.plan;
    let mut problems: Vec<Failure> = input.and_then(|input| ready.check(input).err()).into_iter().collect();
    let missing = missing_skills(state, plan);
    if !missing.is_empty() {
        let message = format!("this server can't call {}", missing.iter().cloned().collect::<Vec<_>>().join(", "));
        problems.push(Failure::new(codes::SKILL_NOT_FOUND, message));
    }
    let bounds = of_plan(plan, input.map(Payload::value));
    let budget = budget.or(plan.budget);
    if let Some(budget) = budget.filter(|budget| bounds.cost_min > *budget) {
        let message =
            format!("the run costs up to ${} even if all goes well, and its budget is ${budget}", bounds.cost_min);
        problems.push(Failure::new(codes::BUDGET_EXCEEDED, message));
    }
    Ok(Simulation {
        feasible: problems.is_empty(),
        workflow: Some(plan.workflow.to_string()),
        plan_hash: Some(ready.hash.to_string()),
        problems: problems.into_iter().map(Into::into).collect(),
        missing_skills: missing.into_iter().collect(),
        effects: Some(bounds.effects()),
        cost_usd: Some(bounds.cost()),
        budget_usd: budget.map(|budget| budget.to_string()),
        within_budget: budget.zip(bounds.cost_max).map(|(budget, cost)| cost <= budget),
        steps: steps(plan, input.map(Payload::value)),
    })
}

/// Pinned skills, of child workflows too, that can't be called here.
fn missing_skills(state: &AppState, plan: &Plan) -> BTreeSet<String> {
    let callable = |pin: &&aos_core::workflow::SkillPin| {
        let enabled = match state.registry.get(&Subject::Skill(pin.skill.clone())) {
            Some(Record::Skill(record)) => record.status.is_enabled(),
            _ => false,
        };
        enabled && state.registry.has_code(&pin.skill)
    };
    let own = plan.skills.values().filter(|pin| !callable(pin)).map(|pin| pin.skill.to_string());
    own.chain(plan.children.values().flat_map(|child| missing_skills(state, child))).collect()
}

impl Bounds {
    fn effects(&self) -> CountBounds {
        CountBounds { min: self.effects_min, max: self.effects_max }
    }

    fn cost(&self) -> CostBounds {
        CostBounds { min: self.cost_min.to_string(), max: self.cost_max.map(|cost| cost.to_string()) }
    }
}
