//! Workflows: register, list, look at, switch off and on.

use aos_core::Failure;
use aos_core::canonical::Hash;
use aos_core::codes;
use aos_core::payload::Payload;
use aos_core::registry::{Record, Subject, WorkflowRecord};
use aos_core::workflow::{Body, WorkflowVersion};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

use crate::definition;
use crate::http::body::{MaybeDoc, Text};
use crate::http::params::{PathOf, clip};
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::http::registry::commit;
use crate::http::skills::{DisableBody, StatusView};
use crate::http::view::WorkflowChoice;
use crate::plans::{PlanKey, ReadyPlan};
use crate::state::AppState;

/// One workflow version, as lists show it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WorkflowSummary {
    /// `id@version`.
    #[schema(example = "workflow_data_extraction@1.0.0")]
    pub workflow: String,
    /// Its name.
    pub id: String,
    /// Its exact version.
    pub version: String,
    /// One sentence for people.
    pub description: String,
    /// `definition` or `code`.
    pub kind: &'static str,
    /// Whether new runs may use it.
    #[serde(flatten)]
    pub status: StatusView,
    /// When it was first registered, RFC 3339.
    pub registered_at: String,
}

/// All registered workflows.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WorkflowList {
    /// By name and version.
    pub workflows: Vec<WorkflowSummary>,
}

/// One workflow version with all that is known about it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WorkflowView {
    /// What lists show.
    #[serde(flatten)]
    pub summary: WorkflowSummary,
    /// SHA-256 of the plan that its runs execute.
    pub plan_hash: String,
    /// The definition; `null` for Rust code.
    pub definition: Value,
    /// JSON Schema of the input; `null` when everything is allowed.
    pub input_schema: Value,
    /// The pinned skills, `id@version`.
    pub skills: Vec<String>,
    /// The pinned child workflows, `id@version`.
    pub children: Vec<String>,
    /// The budget of a run that doesn't bring its own, in US dollars.
    pub budget_usd: Option<String>,
}

/// All versions of one workflow.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WorkflowVersions {
    /// Its name.
    pub id: String,
    /// Lowest version first.
    pub versions: Vec<WorkflowSummary>,
    /// The version that a run gets which asks for no particular one; with all details.
    pub latest: Option<WorkflowView>,
}

/// Registers a workflow from its definition, JSON or YAML.
///
/// Its requirements are resolved now: the version means the same plan from here on. Registering the same definition
/// again changes nothing; another definition needs another version.
#[utoipa::path(
    post, path = "/v1/workflows", tag = "workflows", operation_id = "registerWorkflow",
    request_body(content((Value = "application/json"), (String = "application/yaml")), description = "The definition"),
    responses(
        (status = 201, body = WorkflowView, description = "Registered"),
        (status = 200, body = WorkflowView, description = "It was registered already, exactly so"),
        (status = 409, body = Problem, description = "The version is registered with another definition"),
        (status = 413, body = Problem, description = "The body is too large"),
        (status = 415, body = Problem, description = "The body is neither JSON nor YAML"),
        (status = 422, body = Problem, description = "The definition has mistakes: all of them are listed"),
    )
)]
pub async fn register_workflow(State(state): State<AppState>, text: Text) -> ApiResult<Response> {
    let definition = text.value()?;
    let changes = commit(&state, "register", move |registry, now| {
        let plan = definition::resolve(&definition, registry)?;
        let version = plan.workflow.clone();
        let changes = registry.register_plan(definition.clone(), plan, now)?;
        Ok(Registration { version, changes })
    })
    .await?;
    let status = if changes.changes.is_empty() { StatusCode::OK } else { StatusCode::CREATED };
    let record = exact(&state, &changes.version)?;
    let location = HeaderValue::from_str(&format!("/v1/workflows/{}", changes.version));
    let mut response = (status, Json(WorkflowView::try_from(&*record)?)).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

struct Registration {
    version: WorkflowVersion,
    changes: Vec<aos_core::registry::Change>,
}

impl AsRef<[aos_core::registry::Change]> for Registration {
    fn as_ref(&self) -> &[aos_core::registry::Change] {
        &self.changes
    }
}

/// Lists all registered workflow versions.
#[utoipa::path(
    get, path = "/v1/workflows", tag = "workflows", operation_id = "listWorkflows",
    responses((status = 200, body = WorkflowList, description = "By name and version"))
)]
pub async fn list_workflows(State(state): State<AppState>) -> Json<WorkflowList> {
    Json(WorkflowList { workflows: records(&state).map(|record| WorkflowSummary::from(&*record)).collect() })
}

/// Gives the JSON Schema of workflow definitions.
#[utoipa::path(
    get, path = "/v1/workflows/schema", tag = "workflows", operation_id = "getDefinitionSchema",
    responses((status = 200, body = Value, content_type = "application/schema+json", description = "The schema"))
)]
pub async fn definition_schema() -> Response {
    ([(header::CONTENT_TYPE, "application/schema+json")], definition::schema().to_string()).into_response()
}

/// Gives all versions of a workflow (`id`), or one version with all details (`id@1.2.3`, `id@^1`).
#[utoipa::path(
    get, path = "/v1/workflows/{workflow}", tag = "workflows", operation_id = "getWorkflow",
    params(("workflow" = String, Path, description = "`id`, `id@1.2.3` or `id@^1`")),
    responses(
        (status = 200, body = WorkflowVersions, description = "For `id`: all versions. For `id@…`: a `WorkflowView`"),
        (status = 404, body = Problem, description = "There is no such workflow"),
    )
)]
pub async fn get_workflow(State(state): State<AppState>, PathOf(name): PathOf<String>) -> ApiResult<Response> {
    if name.contains('@') {
        let record = select(&state, &name)?;
        return Ok(Json(WorkflowView::try_from(&*record)?).into_response());
    }
    let versions: Vec<_> = records(&state)
        .filter(|record| record.version().id.as_str() == name)
        .map(|record| WorkflowSummary::from(&*record))
        .collect();
    if versions.is_empty() {
        return Err(select(&state, &name).err().unwrap_or_else(|| ApiError::not_found("workflow", clip(&name))));
    }
    // None, when every version is switched off.
    let latest = state.registry.describe_workflow(&name).ok();
    let latest = latest.map(|record| WorkflowView::try_from(&*record)).transpose()?;
    Ok(Json(WorkflowVersions { id: name, versions, latest }).into_response())
}

/// Gives the JSON Schema of a workflow's input.
#[utoipa::path(
    get, path = "/v1/workflows/{workflow}/schema", tag = "workflows", operation_id = "getInputSchema",
    params(("workflow" = String, Path, description = "`id`, `id@1.2.3` or `id@^1`")),
    responses(
        (status = 200, body = Value, content_type = "application/schema+json", description = "The schema; `true` allows everything"),
        (status = 404, body = Problem, description = "There is no such workflow"),
    )
)]
pub async fn input_schema(State(state): State<AppState>, PathOf(name): PathOf<String>) -> ApiResult<Response> {
    let record = select(&state, &name)?;
    let schema = record.plan.input_schema.clone().unwrap_or(Value::Bool(true));
    Ok(([(header::CONTENT_TYPE, "application/schema+json")], schema.to_string()).into_response())
}

/// Takes a workflow version out of use for new runs.
#[utoipa::path(
    post, path = "/v1/workflows/{workflow}/disable", tag = "workflows", operation_id = "disableWorkflow",
    params(("workflow" = String, Path, description = "`id@1.2.3`")),
    request_body = Option<DisableBody>,
    responses(
        (status = 200, body = WorkflowSummary, description = "It is out of use"),
        (status = 404, body = Problem, description = "There is no such version"),
    )
)]
pub async fn disable_workflow(
    State(state): State<AppState>,
    PathOf(name): PathOf<String>,
    MaybeDoc(body): MaybeDoc<DisableBody>,
) -> ApiResult<Json<WorkflowSummary>> {
    let version = exact_version(&name)?;
    exact(&state, &version)?;
    let subject = Subject::Workflow(version.clone());
    commit(&state, "disable", move |registry, now| registry.disable(&subject, body.reason(), now)).await?;
    Ok(Json(WorkflowSummary::from(&*exact(&state, &version)?)))
}

/// Puts a workflow version back into use.
#[utoipa::path(
    post, path = "/v1/workflows/{workflow}/enable", tag = "workflows", operation_id = "enableWorkflow",
    params(("workflow" = String, Path, description = "`id@1.2.3`")),
    responses(
        (status = 200, body = WorkflowSummary, description = "It is in use"),
        (status = 404, body = Problem, description = "There is no such version"),
    )
)]
pub async fn enable_workflow(
    State(state): State<AppState>,
    PathOf(name): PathOf<String>,
) -> ApiResult<Json<WorkflowSummary>> {
    let version = exact_version(&name)?;
    exact(&state, &version)?;
    let subject = Subject::Workflow(version.clone());
    commit(&state, "enable", move |registry, now| registry.enable(&subject, now)).await?;
    Ok(Json(WorkflowSummary::from(&*exact(&state, &version)?)))
}

/// Resolves a workflow's requirements anew: new runs of this version execute the versions that fit today.
#[utoipa::path(
    post, path = "/v1/workflows/{workflow}/repin", tag = "workflows", operation_id = "repinWorkflow",
    params(("workflow" = String, Path, description = "`id@1.2.3`")),
    responses(
        (status = 200, body = WorkflowView, description = "The workflow with its new pins"),
        (status = 404, body = Problem, description = "There is no such version"),
        (status = 409, body = Problem, description = "The workflow is Rust code"),
        (status = 422, body = Problem, description = "Its requirements can't be met"),
    )
)]
pub async fn repin_workflow(
    State(state): State<AppState>,
    PathOf(name): PathOf<String>,
) -> ApiResult<Json<WorkflowView>> {
    let version = exact_version(&name)?;
    exact(&state, &version)?;
    let pinned = version.clone();
    commit(&state, "repin", move |registry, now| registry.repin(&pinned, definition::resolve, now)).await?;
    Ok(Json(WorkflowView::try_from(&*exact(&state, &version)?)?))
}

/// The plan of what a request names: a registered workflow, or a definition in the request itself.
pub(super) async fn ready(state: &AppState, choice: WorkflowChoice) -> ApiResult<Arc<ReadyPlan>> {
    match choice {
        WorkflowChoice::Name(name) => Ok(state.ready(&name).await?),
        WorkflowChoice::Definition(definition) => {
            let (registry, definition) = (&state.registry, Value::Object(definition));
            let revision = registry.revision();
            let key = PlanKey::Inline(Payload::new(definition.clone()).map_err(Failure::from)?.hash());
            let resolve = || definition::resolve(&definition, registry);
            Ok(state.plans.get(&state.host, revision, key, resolve).await?)
        }
    }
}

fn records(state: &AppState) -> impl Iterator<Item = Arc<WorkflowRecord>> {
    state.registry.list().into_iter().filter_map(|record| match record {
        Record::Workflow(record) => Some(record),
        Record::Skill(_) => None,
    })
}

/// The version that a requirement selects. What can't be found by its name in a path is 404, not 422.
fn select(state: &AppState, requirement: &str) -> ApiResult<Arc<WorkflowRecord>> {
    if let Some(record) = requirement.parse().ok().and_then(|version| exact(state, &version).ok()) {
        return Ok(record);
    }
    state.registry.describe_workflow(requirement).map_err(absent)
}

fn exact(state: &AppState, version: &WorkflowVersion) -> ApiResult<Arc<WorkflowRecord>> {
    match state.registry.get(&Subject::Workflow(version.clone())) {
        Some(Record::Workflow(record)) => Ok(record),
        _ => Err(ApiError::not_found("workflow", version)),
    }
}

fn exact_version(name: &str) -> ApiResult<WorkflowVersion> {
    name.parse().map_err(|failure: Failure| ApiError::from(failure))
}

/// What is asked for by its name in a path and not there is 404; within a body it is 422.
pub(super) fn absent(failure: Failure) -> ApiError {
    let missing = [codes::SKILL_NOT_FOUND, codes::WORKFLOW_NOT_FOUND].contains(&failure.code);
    let error = ApiError::from(failure);
    if missing { error.status(StatusCode::NOT_FOUND) } else { error }
}

impl From<&WorkflowRecord> for WorkflowSummary {
    fn from(record: &WorkflowRecord) -> Self {
        let version = record.version();
        Self {
            workflow: version.to_string(),
            id: version.id.to_string(),
            version: version.version.to_string(),
            description: record.definition["description"].as_str().unwrap_or_default().into(),
            kind: match record.plan.body {
                Body::Steps { .. } => "definition",
                Body::Code => "code",
            },
            status: StatusView::from(&record.status),
            registered_at: record.registered_at.to_string(),
        }
    }
}

impl TryFrom<&WorkflowRecord> for WorkflowView {
    type Error = Failure;

    fn try_from(record: &WorkflowRecord) -> Result<Self, Failure> {
        let names = |keys: Vec<&String>| keys.into_iter().cloned().collect();
        let hash: Hash = record.plan.hash()?;
        Ok(Self {
            summary: WorkflowSummary::from(record),
            plan_hash: hash.to_string(),
            definition: record.definition.clone(),
            input_schema: record.plan.input_schema.clone().unwrap_or_default(),
            skills: names(keys(&record.plan.skills)),
            children: names(keys(&record.plan.children)),
            budget_usd: record.plan.budget.map(|budget| budget.to_string()),
        })
    }
}

fn keys<T>(map: &BTreeMap<String, T>) -> Vec<&String> {
    map.keys().collect()
}
