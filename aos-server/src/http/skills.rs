//! Skills: list, look at, switch off and on.

use std::sync::Arc;

use aos_core::registry::{Record, SkillRecord, Status, Subject};
use aos_core::skill::{CrashClass, Determinism, SkillVersion};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::body::MaybeDoc;
use crate::http::params::PathOf;
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::http::registry::commit;
use crate::http::workflows::absent;
use crate::state::AppState;

/// Whether a version may be used.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StatusView {
    /// Whether it may be used.
    pub enabled: bool,
    /// Why it may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<String>,
}

/// Why to take something out of use.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DisableBody {
    /// For people; those whose runs fail of it see it.
    reason: String,
}

/// One skill version, as lists show it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SkillSummary {
    /// `id@version`.
    #[schema(example = "http_call@1.0.0")]
    pub skill: String,
    /// Its name.
    pub id: String,
    /// Its exact version.
    pub version: String,
    /// One sentence for people and models.
    pub description: String,
    /// `deterministic` or `recorded`.
    pub determinism: &'static str,
    /// What may happen to an attempt that a crash has cut off: `pure`, `idempotent` or `once`.
    pub crash: &'static str,
    /// Upper bound of one attempt's cost, in US dollars.
    pub estimate_usd: String,
    /// Whether this server has the skill's code.
    pub executable: bool,
    /// Whether it may be used.
    #[serde(flatten)]
    pub status: StatusView,
    /// When it was first registered, RFC 3339.
    pub registered_at: String,
}

/// All registered skills.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SkillList {
    /// By name and version.
    pub skills: Vec<SkillSummary>,
}

/// One skill version with its contract.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SkillView {
    /// What lists show.
    #[serde(flatten)]
    pub summary: SkillSummary,
    /// Everything the skill promises, its input and output schemas included.
    pub contract: Value,
}

/// Lists all registered skill versions.
#[utoipa::path(
    get, path = "/v1/skills", tag = "skills", operation_id = "listSkills",
    responses((status = 200, body = SkillList, description = "By name and version"))
)]
pub async fn list_skills(State(state): State<AppState>) -> Json<SkillList> {
    Json(SkillList { skills: summaries(&state) })
}

/// Gives a skill version with its contract.
#[utoipa::path(
    get, path = "/v1/skills/{skill}", tag = "skills", operation_id = "getSkill",
    params(("skill" = String, Path, description = "`id`, `id@1.2.3` or `id@^1`")),
    responses(
        (status = 200, body = SkillView, description = "The version that fits best"),
        (status = 404, body = Problem, description = "There is no such skill"),
    )
)]
pub async fn get_skill(State(state): State<AppState>, PathOf(name): PathOf<String>) -> ApiResult<Json<SkillView>> {
    let known = name.parse().ok().and_then(|version: SkillVersion| exact(&state, &version).ok());
    let record = match known {
        Some(record) => record,
        None => state.registry.describe_skill(&name).map_err(absent)?,
    };
    let contract = serde_json::to_value(&record.contract)
        .map_err(|e| ApiError::new(aos_core::codes::INTERNAL, format!("the contract can't be shown: {e}")))?;
    Ok(Json(SkillView { summary: summary(&state, &record), contract }))
}

/// Takes a skill version out of use: no requirement selects it, and calls of it fail with `ERR_SKILL_DISABLED`.
#[utoipa::path(
    post, path = "/v1/skills/{skill}/disable", tag = "skills", operation_id = "disableSkill",
    params(("skill" = String, Path, description = "`id@1.2.3`")),
    request_body = Option<DisableBody>,
    responses(
        (status = 200, body = SkillSummary, description = "It is out of use"),
        (status = 404, body = Problem, description = "There is no such version"),
    )
)]
pub async fn disable_skill(
    State(state): State<AppState>,
    PathOf(name): PathOf<String>,
    MaybeDoc(body): MaybeDoc<DisableBody>,
) -> ApiResult<Json<SkillSummary>> {
    let version: SkillVersion = name.parse()?;
    exact(&state, &version)?;
    let subject = Subject::Skill(version.clone());
    commit(&state, "disable", move |registry, now| registry.disable(&subject, body.reason(), now)).await?;
    Ok(Json(summary(&state, &*exact(&state, &version)?)))
}

/// Puts a skill version back into use.
#[utoipa::path(
    post, path = "/v1/skills/{skill}/enable", tag = "skills", operation_id = "enableSkill",
    params(("skill" = String, Path, description = "`id@1.2.3`")),
    responses(
        (status = 200, body = SkillSummary, description = "It is in use"),
        (status = 404, body = Problem, description = "There is no such version"),
    )
)]
pub async fn enable_skill(
    State(state): State<AppState>,
    PathOf(name): PathOf<String>,
) -> ApiResult<Json<SkillSummary>> {
    let version: SkillVersion = name.parse()?;
    exact(&state, &version)?;
    let subject = Subject::Skill(version.clone());
    commit(&state, "enable", move |registry, now| registry.enable(&subject, now)).await?;
    Ok(Json(summary(&state, &*exact(&state, &version)?)))
}

/// Every skill version, as lists show it.
pub(super) fn summaries(state: &AppState) -> Vec<SkillSummary> {
    let records = state.registry.list();
    let skills = records.iter().filter_map(|record| match record {
        Record::Skill(record) => Some(record),
        Record::Workflow(_) => None,
    });
    skills.map(|record| summary(state, record)).collect()
}

fn exact(state: &AppState, version: &SkillVersion) -> ApiResult<Arc<SkillRecord>> {
    match state.registry.get(&Subject::Skill(version.clone())) {
        Some(Record::Skill(record)) => Ok(record),
        _ => Err(ApiError::not_found("skill", version)),
    }
}

fn summary(state: &AppState, record: &SkillRecord) -> SkillSummary {
    let contract = &record.contract;
    SkillSummary {
        skill: contract.version.to_string(),
        id: contract.version.id.to_string(),
        version: contract.version.version.to_string(),
        description: contract.description.clone(),
        determinism: match contract.determinism {
            Determinism::Deterministic => "deterministic",
            Determinism::Recorded => "recorded",
        },
        crash: match contract.crash {
            CrashClass::Pure => "pure",
            CrashClass::Idempotent => "idempotent",
            CrashClass::Once => "once",
        },
        estimate_usd: contract.cost.estimate.to_string(),
        executable: state.registry.has_code(&contract.version),
        status: StatusView::from(&record.status),
        registered_at: record.registered_at.to_string(),
    }
}

impl DisableBody {
    /// The reason, or a text that says there is none.
    pub fn reason(&self) -> &str {
        if self.reason.is_empty() { "no reason given" } else { &self.reason }
    }
}

impl From<&Status> for StatusView {
    fn from(status: &Status) -> Self {
        Self { enabled: status.is_enabled(), disabled_reason: status.reason().map(Into::into) }
    }
}
