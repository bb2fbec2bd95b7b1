//! Schedules: runs that begin by the calendar.

use aos_core::Failure;
use aos_core::id::ScheduleId;
use aos_core::payload::Payload;
use aos_core::queue::Priority;
use aos_core::schedules::{Firing, Overlap, Schedule};
use aos_core::time::Timestamp;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::body::Doc;
use crate::http::params::{PathOf, clip};
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::http::runs::create::{empty_object, payload_at};
use crate::http::view::{FailureView, RunView};
use crate::schedule;
use crate::schedule::cron::Calendar;
use crate::state::{AppState, durable};

/// What a schedule is made of.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleBody {
    /// A registered workflow (`id`, `id@1.2.3`, `id@^1`), resolved each time.
    #[schema(example = "workflow_data_extraction@^1")]
    pub workflow: String,
    /// The input of every run; `{}` when it is left out.
    #[serde(default = "empty_object")]
    #[schema(value_type = Value)]
    pub input: Value,
    /// How urgent the runs are, from 0 to 9. 5 when it is left out.
    #[serde(default)]
    #[schema(value_type = u8, minimum = 0, maximum = 9)]
    pub priority: Priority,
    /// When: minute, hour, day of the month, month and day of the week, with seconds before them if they matter; or
    /// `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    #[schema(example = "0 9 * * MON-FRI")]
    pub cron: String,
    /// In which time zone, an IANA name. `UTC` when it is left out.
    #[serde(default = "utc")]
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
    /// What to do when a time comes while the run of an earlier one has not ended. `skip` when it is left out.
    #[serde(default)]
    #[schema(value_type = OverlapName)]
    pub overlap: Overlap,
    /// Whether it begins nothing at present; stays as it is when it is left out.
    #[serde(default)]
    pub paused: Option<bool>,
}

/// What to do when a time comes too early.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(title = "Overlap", rename_all = "snake_case")]
pub enum OverlapName {
    /// Leave the time out.
    Skip,
    /// Begin another run beside the earlier one.
    Allow,
}

/// A schedule.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Schedule")]
pub struct ScheduleView {
    /// Its name.
    #[schema(example = "nightly-report")]
    pub id: String,
    /// The workflow that it begins.
    pub workflow: String,
    /// The input of every run.
    #[schema(value_type = Value)]
    pub input: Payload,
    /// How urgent the runs are, from 0 to 9.
    pub priority: u8,
    /// When.
    pub cron: String,
    /// In which time zone.
    pub time_zone: String,
    /// What to do when a time comes too early.
    #[schema(value_type = OverlapName)]
    pub overlap: Overlap,
    /// Whether it begins nothing at present.
    pub paused: bool,
    /// When it is due next, RFC 3339; `null` while it is paused.
    #[schema(example = "2026-11-24T08:00:00.000Z")]
    pub next_at: Option<String>,
    /// What became of the last time it was due; `null` until there was one.
    pub last: Option<FiringView>,
}

/// What became of a time at which a schedule was due.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Firing")]
pub struct FiringView {
    /// The time, RFC 3339.
    pub due: String,
    /// The run that it began; of a time that was left out, the earlier run that had not ended.
    pub run: Option<String>,
    /// Why it began none.
    pub error: Option<FailureView>,
}

/// All schedules.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ScheduleList {
    /// By name.
    pub schedules: Vec<ScheduleView>,
}

/// Lists all schedules.
#[utoipa::path(
    get, path = "/v1/schedules", tag = "schedules", operation_id = "listSchedules",
    responses((status = 200, body = ScheduleList, description = "By name"))
)]
pub async fn list_schedules(State(state): State<AppState>) -> ApiResult<Json<ScheduleList>> {
    let schedules = state.control.schedules.list(&state.tenant).await?;
    Ok(Json(ScheduleList { schedules: schedules.into_iter().map(Into::into).collect() }))
}

/// Makes a schedule, or replaces the one of its name.
///
/// The workflow has to be there and to take the input. A schedule whose times stay the same stays due when it was.
#[utoipa::path(
    put, path = "/v1/schedules/{id}", tag = "schedules", operation_id = "putSchedule",
    params(("id" = String, Path, description = "The schedule's name")),
    request_body = ScheduleBody,
    responses(
        (status = 201, body = ScheduleView, description = "It was made"),
        (status = 200, body = ScheduleView, description = "It was replaced"),
        (status = 400, body = Problem, description = "The expression, the time zone or something else is malformed"),
        (status = 422, body = Problem, description = "There is no such workflow, or the input does not fit it"),
    )
)]
pub async fn put_schedule(
    State(state): State<AppState>,
    PathOf(id): PathOf<String>,
    Doc(body): Doc<ScheduleBody>,
) -> ApiResult<Response> {
    let id = ScheduleId::new(&id).map_err(|error| ApiError::invalid(error.to_string()))?;
    Calendar::new(&body.cron, &body.time_zone)?;
    let input = payload_at(body.input, "/input")?;
    state.ready(&body.workflow).await?.check(&input)?;
    let schedule = Schedule {
        tenant: state.tenant.clone(),
        id,
        workflow: body.workflow,
        input,
        priority: body.priority,
        cron: body.cron,
        time_zone: body.time_zone,
        overlap: body.overlap,
        paused: false,
        next_at: None,
        last: None,
    };
    let (schedule, is_new) = durable(keep(state, schedule, body.paused)).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let location = HeaderValue::from_str(&format!("/v1/schedules/{}", schedule.id));
    let mut response = (status, Json(ScheduleView::from(schedule))).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Gives a schedule, with what became of the last time it was due.
#[utoipa::path(
    get, path = "/v1/schedules/{id}", tag = "schedules", operation_id = "getSchedule",
    params(("id" = String, Path, description = "The schedule's name")),
    responses(
        (status = 200, body = ScheduleView, description = "The schedule"),
        (status = 404, body = Problem, description = "There is no such schedule"),
    )
)]
pub async fn get_schedule(State(state): State<AppState>, PathOf(id): PathOf<String>) -> ApiResult<Json<ScheduleView>> {
    Ok(Json(find(&state, &id).await?.into()))
}

/// Removes a schedule. Runs that it has begun go on.
#[utoipa::path(
    delete, path = "/v1/schedules/{id}", tag = "schedules", operation_id = "removeSchedule",
    params(("id" = String, Path, description = "The schedule's name")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, body = Problem, description = "There is no such schedule"),
    )
)]
pub async fn remove_schedule(State(state): State<AppState>, PathOf(id): PathOf<String>) -> ApiResult<StatusCode> {
    let schedule = ScheduleId::new(&id).map_err(|_| absent(&id))?;
    let remove = async move { state.control.schedules.remove(&state.tenant, &schedule).await };
    if durable(remove).await? { Ok(StatusCode::NO_CONTENT) } else { Err(absent(&id)) }
}

/// Pauses a schedule: it begins nothing until it is resumed.
#[utoipa::path(
    post, path = "/v1/schedules/{id}/pause", tag = "schedules", operation_id = "pauseSchedule",
    params(("id" = String, Path, description = "The schedule's name")),
    responses(
        (status = 200, body = ScheduleView, description = "It is paused"),
        (status = 404, body = Problem, description = "There is no such schedule"),
    )
)]
pub async fn pause_schedule(
    State(state): State<AppState>,
    PathOf(id): PathOf<String>,
) -> ApiResult<Json<ScheduleView>> {
    set_paused(state, &id, true).await
}

/// Resumes a paused schedule. Times that passed meanwhile are not made up for.
#[utoipa::path(
    post, path = "/v1/schedules/{id}/resume", tag = "schedules", operation_id = "resumeSchedule",
    params(("id" = String, Path, description = "The schedule's name")),
    responses(
        (status = 200, body = ScheduleView, description = "It is not paused"),
        (status = 404, body = Problem, description = "There is no such schedule"),
    )
)]
pub async fn resume_schedule(
    State(state): State<AppState>,
    PathOf(id): PathOf<String>,
) -> ApiResult<Json<ScheduleView>> {
    set_paused(state, &id, false).await
}

/// Begins a run of a schedule now, paused or not, beside those that begin by the calendar.
#[utoipa::path(
    post, path = "/v1/schedules/{id}/trigger", tag = "schedules", operation_id = "triggerSchedule",
    params(("id" = String, Path, description = "The schedule's name")),
    responses(
        (status = 201, body = RunView, description = "The run was created"),
        (status = 404, body = Problem, description = "There is no such schedule"),
        (status = 409, body = Problem, description = "The workflow is disabled"),
        (status = 422, body = Problem, description = "There is no such workflow any more, or the input does not fit it"),
        (status = 429, body = Problem, description = "Too many runs are queued: `Retry-After` says when to try again"),
    )
)]
pub async fn trigger_schedule(
    State(state): State<AppState>,
    PathOf(id): PathOf<String>,
) -> ApiResult<(StatusCode, Json<RunView>)> {
    let schedule = find(&state, &id).await?;
    let (record, _) = durable(async move { schedule::begin(&state, &schedule, None).await }).await?;
    Ok((StatusCode::CREATED, Json(record.into())))
}

/// Keeps a schedule as it is asked for; gives it as it is then, and whether it is new.
async fn keep(state: AppState, mut schedule: Schedule, paused: Option<bool>) -> ApiResult<(Schedule, bool)> {
    let schedules = &state.control.schedules;
    let before = schedules.get(&schedule.tenant, &schedule.id).await?;
    schedule.paused = paused.unwrap_or(before.as_ref().is_some_and(|before| before.paused));
    // A time that has come and was not met yet is not lost, as long as it is one of the new times too.
    let is_due_as_before =
        |before: &&Schedule| !before.paused && before.cron == schedule.cron && before.time_zone == schedule.time_zone;
    schedule.next_at = match before.as_ref().filter(is_due_as_before).and_then(|before| before.next_at) {
        Some(next_at) => Some(next_at),
        None if schedule.paused => None,
        None => Calendar::new(&schedule.cron, &schedule.time_zone)?.next(schedules.now().await?),
    };
    schedules.put(&schedule).await?;
    let is_new = before.is_none();
    schedule.last = before.and_then(|before| before.last);
    Ok((schedule, is_new))
}

async fn set_paused(state: AppState, id: &str, paused: bool) -> ApiResult<Json<ScheduleView>> {
    let schedule = find(&state, id).await?;
    if schedule.paused == paused {
        return Ok(Json(schedule.into()));
    }
    let (schedule, _) = durable(keep(state, schedule, Some(paused))).await?;
    Ok(Json(schedule.into()))
}

async fn find(state: &AppState, id: &str) -> ApiResult<Schedule> {
    // A text that can't be an id names no schedule.
    let schedule = ScheduleId::new(id).map_err(|_| absent(id))?;
    state.control.schedules.get(&state.tenant, &schedule).await?.ok_or_else(|| absent(id))
}

fn absent(id: &str) -> ApiError {
    ApiError::not_found("schedule", clip(id))
}

fn utc() -> String {
    "UTC".into()
}

impl From<Schedule> for ScheduleView {
    fn from(schedule: Schedule) -> Self {
        Self {
            id: schedule.id.to_string(),
            workflow: schedule.workflow,
            input: schedule.input,
            priority: schedule.priority.get(),
            cron: schedule.cron,
            time_zone: schedule.time_zone,
            overlap: schedule.overlap,
            paused: schedule.paused,
            next_at: schedule.next_at.filter(|_| !schedule.paused).as_ref().map(Timestamp::to_string),
            last: schedule.last.map(Into::into),
        }
    }
}

impl From<Firing> for FiringView {
    fn from(firing: Firing) -> Self {
        Self {
            due: firing.due.to_string(),
            run: firing.run.map(|run| run.to_string()),
            error: firing.failure.map(|failure: Failure| failure.into()),
        }
    }
}
