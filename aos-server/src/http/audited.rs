//! What happens around every operation that changes something: it is written into the audit log before it is done, and
//! with its outcome after that.

use std::sync::Arc;

use aos_core::audit::Stage;
use aos_core::{Failure, codes};
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::audit::{Act, Audit};
use crate::gate::Caller;
use crate::http::body;
use crate::http::problem::ApiError;
use crate::http::request_id::RequestId;
use crate::redact;
use crate::state::durable;

/// How much is kept of what an act was asked with, in bytes.
const MAX_DETAIL: usize = 4_096;

/// Operations of one path, by their method.
pub(super) type Operations = Arc<[(Method, String)]>;

/// Whoever asks without a key, because they have the database itself: an extension of their requests.
#[derive(Clone, Debug)]
pub struct Operator(pub String);

/// What an operation made, when its path does not say that: an extension of its answer.
#[derive(Clone, Debug)]
pub struct Made(pub String);

/// Does what is asked, between two records.
pub(super) async fn audited(operations: Operations, request: Request, next: Next) -> Response {
    let action = operations.iter().find(|(method, _)| method == request.method()).map(|(_, id)| id.clone());
    let Some(action) = action else { return next.run(request).await };
    let Some(audit) = request.extensions().get::<Audit>().cloned() else {
        let failure = Failure::new(codes::INTERNAL, "an operation that is audited has nobody to write it down");
        return ApiError::from(failure).into_response();
    };
    let act = act(&request, action);
    let (parts, body) = request.into_parts();
    let body = match body::read(Request::from_parts(parts.clone(), body)).await {
        Ok(body) => body,
        Err(error) => return error.into_response(),
    };
    let with = with(&body);
    let request = Request::from_parts(parts, Body::from(body));
    // To its end, also when the caller does not wait for that.
    durable(async move {
        let asked = match audit.asked(&act, with).await {
            Ok(asked) => asked,
            Err(failure) => return ApiError::from(failure).into_response(),
        };
        let response = next.run(request).await;
        let (stage, outcome) = outcome(asked, &response);
        audit.ended(&act, stage, outcome).await;
        response
    })
    .await
}

fn act(request: &Request, action: String) -> Act {
    let extensions = request.extensions();
    let actor = match (extensions.get::<Caller>(), extensions.get::<Operator>()) {
        (Some(Caller::Key { id, .. }), _) => id.to_string(),
        (_, Some(Operator(name))) => format!("{name} at the database"),
        _ => "anybody".to_owned(),
    };
    let asked_for = request.uri().path_and_query().map_or_else(|| request.uri().path(), |whole| whole.as_str());
    Act {
        actor,
        action,
        subject: redact::text(asked_for).into_owned(),
        request_id: extensions.get::<RequestId>().map(|id| id.as_str().to_owned()),
    }
}

/// What an act was asked with: its body, without secrets, and not all of a long one.
fn with(body: &Bytes) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(mut value) => {
            redact::json(&mut value);
            value.to_string()
        }
        Err(_) => redact::text(&String::from_utf8_lossy(body)).into_owned(),
    };
    if text.len() <= MAX_DETAIL {
        return text;
    }
    let end = text.floor_char_boundary(MAX_DETAIL);
    format!("{}… ({} bytes in all)", &text[..end], body.len())
}

fn outcome(asked: u64, response: &Response) -> (Stage, String) {
    let failure = response.extensions().get::<ApiError>().map(ApiError::failure);
    let status = response.status();
    let mut outcome = json!({"of": asked, "status": status.as_u16()});
    if let Some(failure) = failure {
        outcome["code"] = failure.code.to_string().into();
    }
    if let Some(Made(made)) = response.extensions().get::<Made>() {
        outcome["made"] = made.as_str().into();
    }
    let is_done = failure.is_none() && status < StatusCode::BAD_REQUEST;
    (if is_done { Stage::Done } else { Stage::Failed }, outcome.to_string())
}
