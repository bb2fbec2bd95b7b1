//! Budgets: how much model calls may cost.

use aos_core::ledger::{BudgetUse, Period, Scope};
use aos_core::money::Money;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::body::Doc;
use crate::http::params::{PathOf, clip};
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::state::{AppState, durable};

/// A budget, and how much of it is used in the present period.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Budget")]
pub struct BudgetView {
    /// Whose calls it is for: `tenant` (all of them), `workflow:<id>` or `key:<id of an API key>`.
    #[schema(example = "workflow:nightly_report")]
    pub scope: String,
    /// `day` (UTC), or `total` for all time.
    #[schema(example = "day")]
    pub period: &'static str,
    /// The most that the calls may cost, in US dollars as an exact decimal string.
    #[schema(example = "25")]
    pub limit_usd: String,
    /// What those that have ended cost at most.
    pub spent_usd: String,
    /// What those that are under way may cost.
    pub reserved_usd: String,
    /// What is left for new calls.
    pub left_usd: String,
    /// When it begins anew, RFC 3339; `null` when it does not.
    pub resets_at: Option<String>,
}

/// All budgets.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BudgetList {
    /// By scope and period.
    pub budgets: Vec<BudgetView>,
}

/// How much a budget is.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetBody {
    /// The most that the calls may cost, in US dollars as a decimal string.
    #[schema(value_type = String, example = "25")]
    pub limit_usd: Money,
}

/// Shows the budgets, and how much of each is used.
#[utoipa::path(
    get, path = "/v1/budgets", tag = "money", operation_id = "listBudgets",
    responses((status = 200, body = BudgetList, description = "All budgets"))
)]
pub async fn list_budgets(State(state): State<AppState>) -> ApiResult<Json<BudgetList>> {
    let budgets = state.control.ledger.budgets(&state.tenant).await?;
    Ok(Json(BudgetList { budgets: budgets.into_iter().map(Into::into).collect() }))
}

/// Sets or changes a budget. Calls that were made before, in the same period, count as well.
#[utoipa::path(
    put, path = "/v1/budgets/{scope}/{period}", tag = "money", operation_id = "setBudget",
    params(
        ("scope" = String, Path, description = "`tenant`, `workflow:<id>` or `key:<id of an API key>`"),
        ("period" = String, Path, description = "`day` or `total`"),
    ),
    request_body = BudgetBody,
    responses(
        (status = 200, body = BudgetView, description = "The budget as it stands"),
        (status = 400, body = Problem, description = "The scope, the period or the limit is none"),
    )
)]
pub async fn set_budget(
    State(state): State<AppState>,
    PathOf((scope, period)): PathOf<(String, String)>,
    Doc(body): Doc<BudgetBody>,
) -> ApiResult<Json<BudgetView>> {
    let (scope, period) = names(&scope, &period)?;
    durable(async move {
        let ledger = &state.control.ledger;
        ledger.set_budget(&state.tenant, &scope, period, Some(body.limit_usd)).await?;
        tracing::warn!(%scope, period = period.as_str(), limit_usd = %body.limit_usd, "set a budget");
        let budgets = ledger.budgets(&state.tenant).await?;
        let mut mine = budgets.into_iter().filter(|budget| budget.scope == scope && budget.period == period);
        let gone = || ApiError::not_found("budget", format!("{scope} {}: it was lifted meanwhile", period.as_str()));
        Ok(Json(mine.next().ok_or_else(gone)?.into()))
    })
    .await
}

/// Lifts a budget.
#[utoipa::path(
    delete, path = "/v1/budgets/{scope}/{period}", tag = "money", operation_id = "removeBudget",
    params(
        ("scope" = String, Path, description = "`tenant`, `workflow:<id>` or `key:<id of an API key>`"),
        ("period" = String, Path, description = "`day` or `total`"),
    ),
    responses(
        (status = 204, description = "It is lifted"),
        (status = 404, body = Problem, description = "There is no such budget"),
    )
)]
pub async fn remove_budget(
    State(state): State<AppState>,
    PathOf((scope, period)): PathOf<(String, String)>,
) -> ApiResult<StatusCode> {
    let (scope, period) = names(&scope, &period)?;
    durable(async move {
        if !state.control.ledger.set_budget(&state.tenant, &scope, period, None).await? {
            return Err(ApiError::not_found("budget", format!("{scope} {}", period.as_str())));
        }
        tracing::warn!(%scope, period = period.as_str(), "lifted a budget");
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

fn names(scope: &str, period: &str) -> ApiResult<(Scope, Period)> {
    let of_scope = scope.parse().map_err(|e: aos_core::ledger::ScopeError| ApiError::invalid(e.to_string()))?;
    let of_period = Period::from_text(period)
        .ok_or_else(|| ApiError::invalid(format!("{:?} is not a period: expected day or total", clip(period))))?;
    Ok((of_scope, of_period))
}

impl From<BudgetUse> for BudgetView {
    fn from(budget: BudgetUse) -> Self {
        Self {
            left_usd: budget.left().to_string(),
            scope: budget.scope.to_string(),
            period: budget.period.as_str(),
            limit_usd: budget.limit.to_string(),
            spent_usd: budget.spent.to_string(),
            reserved_usd: budget.reserved.to_string(),
            resets_at: budget.resets_at.map(|at| at.to_string()),
        }
    }
}
