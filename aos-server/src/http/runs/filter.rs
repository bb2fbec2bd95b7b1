//! Which runs: the parts of filters as people write them.

use aos_core::id::{RunId, WorkflowId};
use aos_core::runs::RunState;
use aos_core::time::Timestamp;

use crate::http::params::{clip, duration, timestamp};
use crate::http::problem::{ApiError, ApiResult};

/// Reads names of states, separated by commas.
pub(in crate::http) fn states(text: &str) -> ApiResult<Vec<RunState>> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| {
            RunState::from_text(name).ok_or_else(|| {
                let known: Vec<_> = RunState::ALL.iter().map(|state| state.as_str()).collect();
                ApiError::invalid(format!("state {:?} is not known: expected {}", clip(name), known.join(", ")))
            })
        })
        .collect()
}

/// Reads a workflow's name.
pub(in crate::http) fn workflow(id: Option<String>) -> ApiResult<Option<WorkflowId>> {
    id.map(|id| WorkflowId::new(&id).map_err(|e| ApiError::invalid(format!("workflow: {e}")))).transpose()
}

/// Reads the id of a parent.
pub(in crate::http) fn parent(id: Option<String>) -> ApiResult<Option<RunId>> {
    id.map(|id| RunId::new(&id).map_err(|e| ApiError::invalid(format!("parent: {e}")))).transpose()
}

/// The time before which something was, given as that or as an age `now`.
pub(in crate::http) fn before(now: Timestamp, at: Option<&str>, age: Option<&str>) -> ApiResult<Option<Timestamp>> {
    match (at, age) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(ApiError::invalid("created_before and older_than are both given: leave one out")),
        (Some(text), None) => timestamp(text).map(Some).ok_or_else(|| {
            ApiError::invalid(format!(
                "created_before is {:?}: expected a time of RFC 3339, for example 2026-11-24T09:30:00Z",
                clip(text)
            ))
        }),
        (None, Some(text)) => match duration(text) {
            Some(age) => {
                let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
                Ok(Some(Timestamp::from_millis(now.as_millis().saturating_sub(age))))
            }
            None => Err(ApiError::invalid(format!(
                "older_than is {:?}: expected a whole number with a unit (ms, s, m, h or d), for example 30d",
                clip(text)
            ))),
        },
    }
}
