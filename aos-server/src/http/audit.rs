//! The audit log: who changed what.

use aos_core::audit::{AuditFilter, Checkpoint, Page, Stage};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::params::{Params, clip, time};
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::state::AppState;

/// The most that one answer holds.
const MAX_PAGE: usize = 1_000;

/// Which part of the log.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct AuditParams {
    /// Only records of this actor: the name of an API key, for example.
    pub actor: Option<String>,
    /// Only records of this operation, such as `turnSwitch`.
    pub action: Option<String>,
    /// Only records at this stage: `asked`, `done` or `failed`.
    pub stage: Option<String>,
    /// Only records of this request.
    pub request_id: Option<String>,
    /// Only records with this in their subject or detail, letter by letter.
    pub text: Option<String>,
    /// Only records of this time or later: a day (UTC) or a time (RFC 3339).
    pub since: Option<String>,
    /// Only records before this time.
    pub until: Option<String>,
    /// Only what comes after the record of this number.
    pub after: Option<u64>,
    /// Only what comes before the record of this number.
    pub before: Option<u64>,
    /// `newest` (first), or `oldest`.
    #[param(example = "newest")]
    pub order: Option<String>,
    /// At most this many, 1 to 1000; 100 when it is left out.
    pub limit: Option<usize>,
}

/// Which checkpoints.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct CheckpointParams {
    /// Only those of records after this one.
    pub after: Option<u64>,
    /// Only those of records before this one.
    pub before: Option<u64>,
    /// `newest` (first), or `oldest`.
    pub order: Option<String>,
    /// At most this many, 1 to 1000; 100 when it is left out.
    pub limit: Option<usize>,
}

/// Records of the audit log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditRecords {
    /// In the order asked for. Each is what its `hash` is of: SHA-256 of the canonical JSON (RFC 8785) of all else in it.
    #[schema(value_type = Vec<Object>)]
    pub records: Vec<Value>,
}

/// What the hash of a record was, signed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Checkpoint")]
pub struct CheckpointView {
    /// Whose log.
    pub tenant: String,
    /// The number of the record.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
    /// The public key (Ed25519, hex) of whoever signed.
    pub key: String,
    /// The signature (Ed25519, hex).
    pub signature: String,
}

/// Signed checkpoints of the audit log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Checkpoints {
    /// In the order asked for.
    pub checkpoints: Vec<CheckpointView>,
}

/// Searches the audit log.
#[utoipa::path(
    get, path = "/v1/audit", tag = "audit", operation_id = "searchAudit",
    params(AuditParams),
    responses(
        (status = 200, body = AuditRecords, description = "The records"),
        (status = 400, body = Problem, description = "A stage, time, order or limit that is none"),
    )
)]
pub async fn search_audit(
    State(state): State<AppState>,
    Params(params): Params<AuditParams>,
) -> ApiResult<Json<AuditRecords>> {
    let page = page(params.after, params.before, params.order.as_deref(), params.limit)?;
    let stage = params.stage.as_deref().map(|text| {
        Stage::from_text(text).ok_or_else(|| {
            let known = Stage::ALL.map(Stage::as_str).join(", ");
            ApiError::invalid(format!("stage is {:?}: expected one of {known}", clip(text)))
        })
    });
    let filter = AuditFilter {
        stage: stage.transpose()?,
        actor: params.actor,
        action: params.action,
        request_id: params.request_id,
        text: params.text,
        since: time("since", params.since.as_deref())?,
        until: time("until", params.until.as_deref())?,
    };
    let records = state.control.audit.read(&state.tenant, &filter, page).await?;
    Ok(Json(AuditRecords { records: records.iter().map(aos_core::audit::AuditRecord::to_json).collect() }))
}

/// Lists signed checkpoints of the audit log.
#[utoipa::path(
    get, path = "/v1/audit/checkpoints", tag = "audit", operation_id = "listCheckpoints",
    params(CheckpointParams),
    responses(
        (status = 200, body = Checkpoints, description = "None when the server has no key to sign with"),
        (status = 400, body = Problem, description = "An order or limit that is none"),
    )
)]
pub async fn list_checkpoints(
    State(state): State<AppState>,
    Params(params): Params<CheckpointParams>,
) -> ApiResult<Json<Checkpoints>> {
    let page = page(params.after, params.before, params.order.as_deref(), params.limit)?;
    let checkpoints = state.control.audit.checkpoints(&state.tenant, page).await?;
    Ok(Json(Checkpoints { checkpoints: checkpoints.into_iter().map(view).collect() }))
}

fn page(after: Option<u64>, before: Option<u64>, order: Option<&str>, limit: Option<usize>) -> ApiResult<Page> {
    let newest_first = match order.unwrap_or("newest") {
        "newest" => true,
        "oldest" => false,
        other => return Err(ApiError::invalid(format!("order is {:?}: expected newest or oldest", clip(other)))),
    };
    let limit = limit.unwrap_or(100);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(ApiError::invalid(format!("limit is {limit}: expected 1 to {MAX_PAGE}")));
    }
    Ok(Page { after: after.unwrap_or(0), before: before.unwrap_or(u64::MAX), newest_first, limit })
}

fn view(checkpoint: Checkpoint) -> CheckpointView {
    let Checkpoint { tenant, seq, hash, key, signature } = checkpoint;
    CheckpointView { tenant: tenant.to_string(), seq, hash: hash.to_string(), key, signature }
}
