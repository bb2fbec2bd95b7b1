//! Forking: a new run that shares another one's past up to an effect.

use std::time::Duration;

use aos_core::event::{Event, Fork, Requested, RunStarted};
use aos_core::id::EffectId;
use aos_core::journal::{Line, decode};
use aos_core::payload::Payload;
use aos_core::replay::{fork, fork_point, intent_point, verify_chain};
use aos_core::runs::{Created, FirstLease, NewRun, RunRecord};
use aos_core::skill::CrashClass;
use aos_core::{Failure, codes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::history::History;
use crate::http::asked::Asked;
use crate::http::body::Doc;
use crate::http::params::{Params, PathOf, clip, run_id, wait};
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::http::runs::create::{self, CreateQuery, new_id, payload_at};
use crate::http::runs::find;
use crate::http::runs::wait::for_end;
use crate::http::view::RunView;
use crate::state::{AppState, durable};

/// Where to fork, and with what.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForkBody {
    /// The first effect that the fork does anew: a step's id, `enrich[3]` for an item of a loop.
    #[schema(example = "extract")]
    pub effect: String,
    /// Takes the place of the effect's result; without it, the effect is carried out again.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Value>)]
    pub output: Option<Value>,
}

/// Keeps `null` apart from a field that is not there.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Forks a run: a new one with the same past up to an effect, which it does anew or takes the given output for.
#[utoipa::path(
    post, path = "/v1/runs/{id}/fork", tag = "runs", operation_id = "forkRun",
    params(("id" = String, Path, description = "The original run's id"), CreateQuery),
    request_body = ForkBody,
    responses(
        (status = 201, body = RunView, description = "The new run; with `wait`, it has ended"),
        (status = 202, body = RunView, description = "The new run, which has not ended within `wait`"),
        (status = 404, body = Problem, description = "There is no such run, or it has no such effect"),
        (status = 409, body = Problem, description = "The worker is stopping"),
        (status = 422, body = Problem, description = "The original's journal is damaged"),
    )
)]
pub async fn fork_run(
    State(state): State<AppState>,
    PathOf(id): PathOf<String>,
    Params(query): Params<CreateQuery>,
    headers: HeaderMap,
    asked: Asked,
    Doc(body): Doc<ForkBody>,
) -> ApiResult<Response> {
    let wait = wait(query.wait.as_deref(), &headers)?;
    let original = find(&state, &run_id(&id)?).await?;
    let effect = EffectId::new(&body.effect).map_err(|e| ApiError::invalid(format!("\"effect\": {e}")))?;
    let output = body.output.map(|output| payload_at(output, "/output")).transpose()?;
    let new = NewRun {
        run: new_id()?,
        parent: None,
        forked_from: Some(Fork { run: original.new.run.clone(), effect: effect.clone() }),
        idempotency_key: None,
        request_id: Some(asked.request_id.as_str().into()),
        api_key: asked.caller.key(),
        trace: Some(asked.trace),
        ..original.new.clone()
    };
    let history = History::read(&state.host, &original).await?;
    let past = past(&history, &new, &effect, output)?;
    let begun = durable({
        let state = state.clone();
        async move { begin(&state, new, past).await }
    })
    .await?;
    answer(&state, begun, wait).await
}

/// The journal that a fork begins with, and the payloads that it refers to.
pub(super) type Past = (Vec<Line>, Vec<Payload>);

fn past(history: &History, new: &NewRun, effect: &EffectId, output: Option<Payload>) -> ApiResult<Past> {
    let blob = history.blob();
    let shared = fork_point(&history.lines, &blob, effect).map_err(Failure::from)?.ok_or_else(|| {
        ApiError::not_found(
            "result of an effect",
            format!("{:?} in the run's journal: fork at an effect that has ended", clip(effect.as_str())),
        )
    })?;
    // A `once` effect that is to be done anew must not look as if it had been begun.
    let shared = match output {
        None if is_once(history, effect)? => {
            intent_point(&history.lines, &blob, effect).map_err(Failure::from)?.unwrap_or(shared)
        }
        _ => shared,
    };
    let first = history.lines.first().ok_or_else(|| ApiError::new(codes::CONFLICT, "the run has no entries yet"))?;
    let (entry, _) = decode(first.as_str(), &blob).map_err(|e| ApiError::new(e.code(), e.to_string()))?;
    let Event::RunStarted(original) = entry.event else {
        return Err(ApiError::new(codes::JOURNAL_CORRUPT, "the journal does not begin with run_started"));
    };
    let started = RunStarted {
        run: new.run.clone(),
        tenant: new.tenant.clone(),
        forked_from: new.forked_from.clone(),
        ..original
    };
    let edited = output.map(|output| (effect.clone(), output));
    Ok(fork(&history.lines, &blob, shared, started, edited).map_err(Failure::from)?)
}

/// Whether the effect is a call of a `once` skill.
fn is_once(history: &History, effect: &EffectId) -> ApiResult<bool> {
    for entry in verify_chain(&history.lines, &history.blob()).map_err(Failure::from)? {
        if let Event::EffectRequested { effect: asked, request: Requested::Call { skill, .. } } = entry.event
            && asked == *effect
        {
            return Ok(history.plan.pin(&skill)?.crash == CrashClass::Once);
        }
    }
    Ok(false)
}

/// What became of a fork's creation.
pub(super) struct Begun {
    pub(super) record: RunRecord,
    /// Whether it was made now, and not earlier under the same idempotency key.
    pub(super) is_new: bool,
}

/// Creates a run that begins with a past, and lets it go on from there.
pub(super) async fn begin(state: &AppState, new: NewRun, (lines, blobs): Past) -> ApiResult<Begun> {
    let lease = FirstLease { lines, blobs, ..state.worker.lease() };
    let (record, lease) = match state.host.stores.runs.create(new, Some(lease)).await? {
        Created::New(record, Some(lease)) => (record, lease),
        Created::New(..) => return Err(ApiError::new(codes::INTERNAL, "the store gave no lease for a fork")),
        Created::Existing(record) => return Ok(Begun { record, is_new: false }),
    };
    // From here on it is a run like any other: it waits for its turn, and for room under its workflow's limit.
    if let Err(error) = state.host.stores.runs.release(&lease).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "a fork goes on once its first lease has run out");
    }
    state.worker.arrived();
    Ok(Begun { record, is_new: true })
}

/// The answer to a request that made a run, with `wait` when it has ended or the time is up.
pub(super) async fn answer(
    state: &AppState,
    Begun { record, is_new }: Begun,
    wait: Option<Duration>,
) -> ApiResult<Response> {
    let watch = state.hub.watch(&record.new.run);
    let record = match wait {
        Some(wait) => for_end(state, watch, record, wait).await?,
        None => record,
    };
    Ok(create::answer(record, is_new, wait.is_some()))
}
