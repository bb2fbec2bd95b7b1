//! API keys: make, list, revoke.

use std::time::Duration;

use aos_core::id::ApiKeyId;
use aos_core::keys::{ApiKey, NewKey, Scope};
use aos_core::{Failure, codes};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::gate::{Caller, new_text};
use crate::http::audited::Made;
use crate::http::body::Doc;
use crate::http::params::{PathOf, clip};
use crate::http::problem::{ApiError, ApiResult, Problem};
use crate::http::runs::act::short;
use crate::state::{AppState, durable};

/// An API key, without its text.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Key")]
pub struct KeyView {
    /// Its name, which is the middle part of its text.
    #[schema(example = "1f0a9c33d2b84e57")]
    pub id: String,
    /// What people call it.
    #[schema(example = "nightly reports")]
    pub label: String,
    /// `read`, `run` or `admin`; each includes those before it.
    #[schema(example = "run")]
    pub scope: &'static str,
    /// `active`, `expired` or `revoked`.
    #[schema(example = "active")]
    pub state: &'static str,
    /// Who made it.
    pub created_by: String,
    /// When, RFC 3339.
    pub created_at: String,
    /// From when on it is good for nothing, RFC 3339; `null` for never.
    pub expires_at: Option<String>,
    /// When it was revoked, RFC 3339.
    pub revoked_at: Option<String>,
    /// By whom.
    pub revoked_by: Option<String>,
    /// When it was last used, RFC 3339; late by up to a minute or so.
    pub used_at: Option<String>,
}

/// A key that was just made.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MadeKey {
    /// What is kept of it.
    #[serde(flatten)]
    pub view: KeyView,
    /// Its text, which is shown now and never again.
    #[schema(example = "aos_1f0a9c33d2b84e57_…")]
    pub key: String,
}

/// All keys.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct KeyList {
    /// In the order in which they were made.
    pub keys: Vec<KeyView>,
}

/// A key to be made.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyBody {
    /// What people will call it.
    #[schema(example = "nightly reports")]
    pub label: String,
    /// `read`, `run` or `admin`.
    #[schema(example = "run")]
    pub scope: String,
    /// Seconds after which it is good for nothing; it stays good when this is left out.
    #[serde(default)]
    #[schema(example = 7_776_000)]
    pub expires_in_s: Option<u64>,
    /// Who makes it; the caller's key when this is left out.
    #[serde(default)]
    pub by: Option<String>,
}

/// Lists the keys there are, without their texts.
#[utoipa::path(
    get, path = "/v1/keys", tag = "keys", operation_id = "listKeys",
    responses((status = 200, body = KeyList, description = "All keys, those that are good for nothing included"))
)]
pub async fn list_keys(State(state): State<AppState>) -> ApiResult<Json<KeyList>> {
    let keys = state.control.keys.list(&state.tenant).await?;
    Ok(Json(KeyList { keys: keys.iter().map(|key| view(&state, key)).collect() }))
}

/// Makes a key. Its text is in the answer, and nowhere else.
#[utoipa::path(
    post, path = "/v1/keys", tag = "keys", operation_id = "createKey",
    request_body = KeyBody,
    responses(
        (status = 201, body = MadeKey, description = "The key, with its text"),
        (status = 400, body = Problem, description = "There is no such scope, or the key has no label"),
    )
)]
pub async fn create_key(
    State(state): State<AppState>,
    Extension(caller): Extension<Caller>,
    Doc(body): Doc<KeyBody>,
) -> ApiResult<Response> {
    let scope = Scope::from_text(&body.scope).ok_or_else(|| {
        let known = Scope::ALL.map(Scope::as_str).join(", ");
        ApiError::invalid(format!("scope is {:?}: expected one of {known}", clip(&body.scope)))
    })?;
    short("label", &body.label)?;
    if body.label.trim().is_empty() {
        return Err(ApiError::invalid("the label is empty: say what the key is for"));
    }
    let by = by(body.by, &caller)?;
    let text = new_text()?;
    let lasts = body.expires_in_s.map(Duration::from_secs);
    let new = NewKey {
        tenant: state.tenant.clone(),
        id: text.id().clone(),
        hash: text.hash(),
        label: body.label,
        scope,
        expires_at: lasts.map(|lasts| state.now().saturating_add(lasts)),
        by,
    };
    durable(async move {
        let made = state.control.keys.create(new).await?;
        let made =
            made.ok_or_else(|| Failure::new(codes::INTERNAL, "a key of the same random name is there already"))?;
        state.gate.forget(&made.new.id);
        tracing::warn!(id = %made.new.id, scope = scope.as_str(), by = made.new.by, "an API key was made");
        let answer = MadeKey { view: view(&state, &made), key: text.expose().to_owned() };
        let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        let made = Extension(Made(made.new.id.to_string()));
        Ok((StatusCode::CREATED, no_store, made, Json(answer)).into_response())
    })
    .await
}

/// Makes a key good for nothing, in every process within two seconds.
#[utoipa::path(
    delete, path = "/v1/keys/{id}", tag = "keys", operation_id = "revokeKey",
    params(("id" = String, Path, description = "The key's name; not its text")),
    responses(
        (status = 200, body = KeyView, description = "The key as it is now; the same when it was revoked before"),
        (status = 404, body = Problem, description = "There is no such key"),
    )
)]
pub async fn revoke_key(
    State(state): State<AppState>,
    Extension(caller): Extension<Caller>,
    PathOf(id): PathOf<String>,
) -> ApiResult<Json<KeyView>> {
    // Not what was sent: it may be a whole key, by mistake.
    let absent =
        || ApiError::new(codes::NOT_FOUND, "there is no API key of this name; `GET /v1/keys` lists all there are");
    let id = ApiKeyId::new(&id).map_err(|_| absent())?;
    let by = by(None, &caller)?;
    durable(async move {
        let revoked = state.control.keys.revoke(&state.tenant, &id, &by).await?.ok_or_else(absent)?;
        state.gate.forget(&id);
        tracing::warn!(%id, by, "an API key was revoked");
        Ok(Json(view(&state, &revoked)))
    })
    .await
}

/// Who does it: as they say, or as their key is called.
fn by(said: Option<String>, caller: &Caller) -> ApiResult<String> {
    let by = said.unwrap_or_else(|| match caller {
        Caller::Anybody => "somebody without a key".to_owned(),
        Caller::Key { id, .. } => format!("key {id}"),
    });
    short("by", &by)?;
    Ok(by)
}

fn view(state: &AppState, key: &ApiKey) -> KeyView {
    KeyView {
        id: key.new.id.to_string(),
        label: key.new.label.clone(),
        scope: key.new.scope.as_str(),
        state: key.state(state.now()).as_str(),
        created_by: key.new.by.clone(),
        created_at: key.created_at.to_string(),
        expires_at: key.new.expires_at.map(|at| at.to_string()),
        revoked_at: key.revoked.as_ref().map(|(at, _)| at.to_string()),
        revoked_by: key.revoked.as_ref().map(|(_, by)| by.clone()),
        used_at: key.used_at.map(|at| at.to_string()),
    }
}
