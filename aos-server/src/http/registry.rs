//! The registry as a whole: export, import, snapshots, rollback, audit.

use aos_core::Failure;
use aos_core::canonical::Hash;
use aos_core::registry::{AuditEntry, Change, ImportReport, Record, Registry, RegistrySnapshot, SnapshotInfo, Subject};
use aos_core::time::Timestamp;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::body::{Doc, Format, Text};
use crate::http::params::{Params, PathOf, clip};
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::state::{AppState, durable};

/// The registry in numbers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RegistryView {
    /// Rises with every change.
    pub revision: u64,
    /// Skill versions.
    pub skills: usize,
    /// Workflow versions.
    pub workflows: usize,
    /// SHA-256 of the content: equal registries have equal hashes.
    pub hash: String,
}

/// What an import did, or would do.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ImportView {
    /// Whether nothing was changed because only a preview was wanted.
    pub dry_run: bool,
    /// Versions that the registry did not have.
    pub added: Vec<String>,
    /// Versions that it has, exactly so.
    pub unchanged: Vec<String>,
    /// Versions that it has with another status or other pins, which stay as they are here.
    pub kept: Vec<String>,
    /// Why the import would be refused.
    #[schema(value_type = Vec<Object>)]
    pub conflicts: Vec<Value>,
}

/// A kept snapshot.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SnapshotView {
    /// SHA-256 of the content; names the snapshot.
    pub hash: String,
    /// When it was first kept, RFC 3339.
    pub taken_at: String,
    /// Skill versions in it.
    pub skills: u64,
    /// Workflow versions in it.
    pub workflows: u64,
}

/// The kept snapshots.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SnapshotList {
    /// Newest first.
    pub snapshots: Vec<SnapshotView>,
}

/// What to go back to.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackBody {
    /// Hash of a kept snapshot.
    pub snapshot: String,
}

/// What a rollback changed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RollbackView {
    /// Versions whose record was changed.
    pub changed: Vec<String>,
    /// The registry's revision after it.
    pub revision: u64,
}

/// One change of the registry.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditView {
    /// What was done.
    #[schema(example = "disable")]
    pub action: &'static str,
    /// When, RFC 3339.
    pub at: String,
    /// To what: `skill id@version` or `workflow id@version`.
    pub subject: String,
    /// Whether it may be used from then on.
    pub enabled: bool,
    /// Why not.
    pub disabled_reason: Option<String>,
}

/// The latest changes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditList {
    /// Newest first.
    pub entries: Vec<AuditView>,
}

/// How to import.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ImportQuery {
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// How much of the audit log to give.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// At most this many, 1 to 1000; 100 when it is left out.
    pub limit: Option<usize>,
}

/// Gives the registry in numbers.
#[utoipa::path(
    get, path = "/v1/registry", tag = "registry", operation_id = "getRegistry",
    responses((status = 200, body = RegistryView, description = "The registry in numbers"))
)]
pub async fn get_registry(State(state): State<AppState>) -> ApiResult<Json<RegistryView>> {
    let snapshot = state.registry.snapshot()?;
    Ok(Json(RegistryView {
        revision: state.registry.revision(),
        skills: snapshot.skills().len(),
        workflows: snapshot.workflows().len(),
        hash: snapshot.hash().to_string(),
    }))
}

/// Exports the registry: canonical JSON, the same bytes for the same content.
#[utoipa::path(
    get, path = "/v1/registry/export", tag = "registry", operation_id = "exportRegistry",
    responses((status = 200, body = Value, description = "The snapshot"))
)]
pub async fn export_registry(State(state): State<AppState>) -> ApiResult<Response> {
    Ok(json_text(state.registry.snapshot()?.to_string()))
}

/// Imports an exported registry: adds what is not here, all of it or nothing.
#[utoipa::path(
    post, path = "/v1/registry/import", tag = "registry", operation_id = "importRegistry",
    params(ImportQuery), request_body = Value,
    responses(
        (status = 200, body = ImportView, description = "What was done, or would be"),
        (status = 409, body = Problem, description = "A version is here with another contract or definition"),
        (status = 413, body = Problem, description = "The body is too large"),
        (status = 415, body = Problem, description = "The body is not JSON"),
    )
)]
pub async fn import_registry(
    State(state): State<AppState>,
    Params(query): Params<ImportQuery>,
    text: Text,
) -> ApiResult<Json<ImportView>> {
    if text.format != Format::Json {
        return Err(ApiError::invalid("a registry snapshot is JSON").status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let snapshot = RegistrySnapshot::parse(&text.text)?;
    let report = if query.dry_run {
        state.registry.preview_import(&snapshot, state.now())?
    } else {
        commit(&state, "import", move |registry, now| registry.import(&snapshot, now)).await?
    };
    Ok(Json(import_view(report, query.dry_run)))
}

/// Lists the kept snapshots.
#[utoipa::path(
    get, path = "/v1/registry/snapshots", tag = "registry", operation_id = "listSnapshots",
    responses((status = 200, body = SnapshotList, description = "Newest first"))
)]
pub async fn list_snapshots(State(state): State<AppState>) -> ApiResult<Json<SnapshotList>> {
    let snapshots = state.registry_store.snapshots(&state.tenant).await?;
    Ok(Json(SnapshotList { snapshots: snapshots.into_iter().map(Into::into).collect() }))
}

/// Keeps a snapshot of the registry as it is now, to come back to.
#[utoipa::path(
    post, path = "/v1/registry/snapshots", tag = "registry", operation_id = "takeSnapshot",
    responses((status = 201, body = SnapshotView, description = "The snapshot is kept"))
)]
pub async fn take_snapshot(State(state): State<AppState>) -> ApiResult<(StatusCode, Json<SnapshotView>)> {
    durable(async move {
        let (snapshot, now) = (state.registry.snapshot()?, state.now());
        state.registry_store.put_snapshot(&state.tenant, &snapshot, now).await?;
        let view = SnapshotView {
            hash: snapshot.hash().to_string(),
            taken_at: now.to_string(),
            skills: snapshot.skills().len() as u64,
            workflows: snapshot.workflows().len() as u64,
        };
        Ok((StatusCode::CREATED, Json(view)))
    })
    .await
}

/// Gives a kept snapshot.
#[utoipa::path(
    get, path = "/v1/registry/snapshots/{hash}", tag = "registry", operation_id = "getSnapshot",
    params(("hash" = String, Path, description = "The snapshot's hash, 64 hex digits")),
    responses(
        (status = 200, body = Value, description = "The snapshot, as an export has it"),
        (status = 404, body = Problem, description = "There is no such snapshot"),
    )
)]
pub async fn get_snapshot(State(state): State<AppState>, PathOf(hash): PathOf<String>) -> ApiResult<Response> {
    Ok(json_text(kept(&state, &hash).await?.to_string()))
}

/// Brings the registry back to a kept snapshot.
///
/// Requirements select the same versions again. Versions registered since are switched off and not removed, because
/// runs may have used them.
#[utoipa::path(
    post, path = "/v1/registry/rollback", tag = "registry", operation_id = "rollbackRegistry",
    request_body = RollbackBody,
    responses(
        (status = 200, body = RollbackView, description = "What was changed"),
        (status = 404, body = Problem, description = "There is no such snapshot"),
        (status = 409, body = Problem, description = "A version is here with another contract or definition"),
    )
)]
pub async fn rollback_registry(
    State(state): State<AppState>,
    Doc(body): Doc<RollbackBody>,
) -> ApiResult<Json<RollbackView>> {
    let snapshot = kept(&state, &body.snapshot).await?;
    let changes = commit(&state, "rollback", move |registry, now| registry.rollback(&snapshot, now)).await?;
    let changed = changes.iter().map(|change| change.record.subject().to_string()).collect();
    Ok(Json(RollbackView { changed, revision: state.registry.revision() }))
}

/// Lists the latest changes of the registry.
#[utoipa::path(
    get, path = "/v1/registry/audit", tag = "registry", operation_id = "auditRegistry",
    params(AuditQuery),
    responses((status = 200, body = AuditList, description = "Newest first"))
)]
pub async fn audit_registry(
    State(state): State<AppState>,
    Params(query): Params<AuditQuery>,
) -> ApiResult<Json<AuditList>> {
    let limit = query.limit.unwrap_or(100);
    if !(1..=1_000).contains(&limit) {
        return Err(ApiError::invalid(format!("limit is {limit}: expected 1 to 1000")));
    }
    let entries = state.registry_store.audit(&state.tenant, limit).await?;
    Ok(Json(AuditList { entries: entries.into_iter().map(Into::into).collect() }))
}

/// Makes a change durable, counts it, and has plans resolved anew.
pub(super) async fn commit<T: AsRef<[Change]> + Send + 'static>(
    state: &AppState,
    operation: &'static str,
    change: impl Fn(&Registry, Timestamp) -> Result<T, Failure> + Send + Sync + 'static,
) -> ApiResult<T> {
    let owned = state.clone();
    let done = durable(async move {
        let now = owned.now();
        owned.registry.commit(&*owned.registry_store, |registry| change(registry, now)).await
    })
    .await;
    state.metrics.registry_operation(operation, done.is_ok());
    if let Ok(done) = &done {
        for change in done.as_ref() {
            tracing::info!(operation, subject = %change.record.subject(), "the registry was changed");
        }
    }
    Ok(done?)
}

async fn kept(state: &AppState, hash: &str) -> ApiResult<RegistrySnapshot> {
    let absent = || ApiError::not_found("snapshot", format!("{:?}", clip(hash)));
    let hash: Hash = hash.parse().map_err(|_| absent())?;
    state.registry_store.snapshot(&state.tenant, &hash).await?.ok_or_else(absent)
}

fn json_text(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn import_view(report: ImportReport, dry_run: bool) -> ImportView {
    let names = |subjects: Vec<Subject>| subjects.iter().map(ToString::to_string).collect();
    ImportView {
        dry_run,
        added: names(report.added),
        unchanged: names(report.unchanged),
        kept: names(report.kept),
        conflicts: report.conflicts.iter().filter_map(|conflict| serde_json::to_value(conflict).ok()).collect(),
    }
}

impl From<SnapshotInfo> for SnapshotView {
    fn from(info: SnapshotInfo) -> Self {
        Self {
            hash: info.hash.to_string(),
            taken_at: info.taken_at.to_string(),
            skills: info.skills,
            workflows: info.workflows,
        }
    }
}

impl From<AuditEntry> for AuditView {
    fn from(entry: AuditEntry) -> Self {
        Self {
            action: entry.action.as_str(),
            at: entry.at.to_string(),
            subject: entry.subject.to_string(),
            enabled: entry.status.is_enabled(),
            disabled_reason: entry.status.reason().map(Into::into),
        }
    }
}

/// How many skill and workflow versions there are.
pub(super) fn sizes(registry: &Registry) -> (usize, usize) {
    let records = registry.list();
    let skills = records.iter().filter(|record| matches!(record, Record::Skill(_))).count();
    (skills, records.len() - skills)
}
