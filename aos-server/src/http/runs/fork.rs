//! Forking: a new run that shares another one's past up to an effect.

use aos_core::event::{Event, Fork, RunStarted};
use aos_core::id::EffectId;
use aos_core::journal::{Append, Line, Transition, decode};
use aos_core::payload::Payload;
use aos_core::replay::{fork, fork_point};
use aos_core::runs::{Claim, Created, NewRun, RunRecord};
use aos_core::{Failure, codes};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::history::History;
use crate::http::body::Doc;
use crate::http::params::{Params, PathOf, clip, run_id, wait};
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::http::request_id::RequestId;
use crate::http::runs::create::{CreateQuery, new_id, payload_at};
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
    request_id: RequestId,
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
        request_id: Some(request_id.as_str().into()),
        ..original.new.clone()
    };
    let history = History::read(&state.host, &original).await?;
    let past = past(&history, &new, &effect, output)?;
    let watch = state.hub.watch(&new.run);
    let mut record = durable(begin(state.clone(), new, past)).await?;
    if let Some(wait) = wait {
        record = for_end(&state, watch, record, wait).await?;
    }
    let status = if wait.is_some() && !record.state.is_terminal() { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    let location = HeaderValue::from_str(&format!("/v1/runs/{}", record.new.run));
    let mut response = (status, Json(RunView::from(record))).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// The journal that the fork begins with.
fn past(
    history: &History,
    new: &NewRun,
    effect: &EffectId,
    output: Option<Payload>,
) -> ApiResult<(Vec<Line>, Vec<Payload>)> {
    let blob = history.blob();
    let shared = fork_point(&history.lines, &blob, effect).map_err(Failure::from)?.ok_or_else(|| {
        ApiError::not_found(
            "result of an effect",
            format!("{:?} in the run's journal: fork at an effect that has ended", clip(effect.as_str())),
        )
    })?;
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

/// Creates the fork under a lease, writes its past, and lets it go on from there.
async fn begin(state: AppState, new: NewRun, (lines, blobs): (Vec<Line>, Vec<Payload>)) -> ApiResult<RunRecord> {
    let slot = state.worker.slot();
    let Created::New(record, Some(lease)) =
        state.host.stores.runs.create(new, Some(state.worker.lease_terms())).await?
    else {
        return Err(ApiError::new(codes::INTERNAL, "the store gave no lease for a new run"));
    };
    let append = Append { lease: lease.clone(), first_index: 0, lines, blobs, transition: Transition::Continue };
    if let Err(error) = state.host.stores.journal.append(append).await {
        // Without its past the run would begin from the start, which is not what was asked for.
        let failure = Failure::from(error);
        let bury = Append {
            lease,
            first_index: 0,
            lines: Vec::new(),
            blobs: Vec::new(),
            transition: Transition::Bury(failure.clone()),
        };
        if let Err(error) = state.host.stores.journal.append(bury).await {
            tracing::error!(error = &error as &dyn std::error::Error, "burying a fork without a past failed");
        }
        return Err(failure.into());
    }
    match slot {
        Some(slot) => slot.start(Claim { lease, record: record.clone() }),
        None => {
            state.host.stores.runs.release(&lease).await?;
            state.worker.arrived();
        }
    }
    Ok(record)
}
