//! Switches: controls of the whole installation, which every process obeys within two seconds.

use std::time::Duration;

use aos_core::switches::{Switch, SwitchChange};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::body::Doc;
use crate::http::params::{Params, PathOf, clip, duration};
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::http::runs::act::short;
use crate::state::{AppState, durable};
use crate::telemetry::log;

/// A switch.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Switch")]
pub struct SwitchView {
    /// `disable_live_adapters`, `force_stub_adapter`, `pause_claims` or `debug_logging`.
    #[schema(example = "pause_claims")]
    pub switch: &'static str,
    /// Whether it is on.
    pub on: bool,
    /// Whether this process acts as if it were on: settings can turn it on as well, for one process.
    pub in_effect: bool,
    /// Who turned it last; `null` when nobody ever did.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When, RFC 3339.
    pub at: Option<String>,
    /// When it goes off, or went off, by itself, RFC 3339.
    pub until: Option<String>,
}

/// One turn of a switch.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "SwitchChange")]
pub struct ChangeView {
    /// Which.
    pub switch: &'static str,
    /// Whether it was on from then on.
    pub on: bool,
    /// Who turned it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, RFC 3339.
    pub at: String,
    /// When it was to go off by itself, RFC 3339.
    pub until: Option<String>,
}

/// All switches.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SwitchList {
    /// As they stand.
    pub switches: Vec<SwitchView>,
    /// Who turned which, newest first.
    pub history: Vec<ChangeView>,
}

/// How much to tell.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SwitchQuery {
    /// How many of the last changes to give, at most 1,000; 20 when it is left out.
    pub history: Option<usize>,
}

/// How to turn a switch.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchBody {
    /// Whether it is to be on.
    pub on: bool,
    /// Who turns it.
    #[schema(example = "Ada")]
    pub by: String,
    /// Why.
    #[schema(example = "the provider answers with errors")]
    pub reason: String,
    /// For how long it is to be on: `30s`, `15m`, `2h`, `1d`. Left out, until it is turned off; for `debug_logging`, an hour.
    #[serde(default, rename = "for")]
    #[schema(example = "15m")]
    pub lasts: Option<String>,
}

/// Shows the switches, and who turned them.
#[utoipa::path(
    get, path = "/v1/switches", tag = "queue", operation_id = "listSwitches",
    params(SwitchQuery),
    responses((status = 200, body = SwitchList, description = "All switches"))
)]
pub async fn list_switches(
    State(state): State<AppState>,
    Params(query): Params<SwitchQuery>,
) -> ApiResult<Json<SwitchList>> {
    let limit = query.history.unwrap_or(20);
    if limit > 1_000 {
        return Err(ApiError::invalid(format!("history is {limit}: expected at most 1000")));
    }
    let store = state.switchboard.store();
    let (turned, history) = futures::future::try_join(store.load(), store.history(limit)).await?;
    let last = |switch| turned.iter().find(|change| change.switch == switch);
    let switches = Switch::ALL.map(|switch| view(&state, switch, last(switch)));
    Ok(Json(SwitchList { switches: switches.into(), history: history.into_iter().map(Into::into).collect() }))
}

/// Turns a switch, for every process.
#[utoipa::path(
    put, path = "/v1/switches/{switch}", tag = "queue", operation_id = "turnSwitch",
    params(("switch" = String, Path, description = "`disable_live_adapters`, `force_stub_adapter`, `pause_claims` or `debug_logging`")),
    request_body = SwitchBody,
    responses(
        (status = 200, body = SwitchView, description = "The switch as it stands"),
        (status = 400, body = Problem, description = "Nobody says who turns it, or why; `for` is no time, or the switch is turned off"),
        (status = 404, body = Problem, description = "There is no such switch"),
    )
)]
pub async fn turn_switch(
    State(state): State<AppState>,
    PathOf(name): PathOf<String>,
    Doc(body): Doc<SwitchBody>,
) -> ApiResult<Json<SwitchView>> {
    let switch = Switch::from_text(&name).ok_or_else(|| {
        let known = Switch::ALL.map(Switch::as_str).join(", ");
        ApiError::not_found("switch", format!("{:?}: there are {known}", clip(&name)))
    })?;
    for (what, text) in [("by", &body.by), ("reason", &body.reason)] {
        short(what, text)?;
        if text.trim().is_empty() {
            return Err(ApiError::invalid(format!("{what:?} is empty: say who turns the switch, and why")));
        }
    }
    let lasts = lasts(switch, &body)?;
    durable(async move {
        let store = state.switchboard.store();
        let change = store.turn(switch, body.on, &body.by, &body.reason, lasts).await?;
        tracing::warn!(switch = switch.as_str(), on = change.on, by = change.by, reason = change.reason, "turned");
        // Here it has its effect at once, and elsewhere soon.
        state.hub.turned_a_switch();
        state.switchboard.read().await?;
        Ok(Json(view(&state, switch, Some(&change))))
    })
    .await
}

/// Nobody remembers to turn debug logging off.
const DEBUG_LASTS: Duration = Duration::from_secs(3_600);

fn lasts(switch: Switch, body: &SwitchBody) -> ApiResult<Option<Duration>> {
    match (&body.lasts, body.on) {
        (None, true) => Ok((switch == Switch::DebugLogging).then_some(DEBUG_LASTS)),
        (None, false) => Ok(None),
        (Some(_), false) => Err(ApiError::invalid("\"for\" is for a switch that is turned on: leave it out")),
        (Some(text), true) => match duration(text).filter(|lasts| !lasts.is_zero()) {
            Some(lasts) => Ok(Some(lasts)),
            None => {
                let text = clip(text);
                Err(ApiError::invalid(format!("\"for\" is {text:?}: expected a time such as 30s, 15m, 2h or 1d")))
            }
        },
    }
}

fn view(state: &AppState, switch: Switch, last: Option<&SwitchChange>) -> SwitchView {
    let adapters = state.adapters.switches();
    SwitchView {
        switch: switch.as_str(),
        on: last.is_some_and(|change| change.is_on(state.host.clock.now())),
        in_effect: match switch {
            Switch::DisableLiveAdapters => adapters.disable_live_adapters(),
            Switch::ForceStubAdapter => adapters.force_stub_adapter(),
            Switch::PauseClaims => state.worker.is_paused(),
            Switch::DebugLogging => log::is_debug(),
        },
        by: last.map(|change| change.by.clone()),
        reason: last.map(|change| change.reason.clone()),
        at: last.map(|change| change.at.to_string()),
        until: last.and_then(|change| change.until).map(|until| until.to_string()),
    }
}

impl From<SwitchChange> for ChangeView {
    fn from(change: SwitchChange) -> Self {
        Self {
            switch: change.switch.as_str(),
            on: change.on,
            by: change.by,
            reason: change.reason,
            at: change.at.to_string(),
            until: change.until.map(|until| until.to_string()),
        }
    }
}
