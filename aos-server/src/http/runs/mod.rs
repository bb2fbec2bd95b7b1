//! Runs: create, list, look at, follow, and talk to.

pub mod act;
pub mod approve;
pub mod bulk;
pub mod create;
pub(super) mod filter;
pub mod fork;
pub mod read;
pub mod replay;
pub mod retry;
pub mod stream;
mod wait;

use aos_core::id::RunId;
use aos_core::runs::RunRecord;

use crate::http::problem::{ApiError, ApiResult};
use crate::state::AppState;

/// The run of the request's tenant.
pub(super) async fn find(state: &AppState, run: &RunId) -> ApiResult<RunRecord> {
    state.host.stores.runs.get(&state.tenant, run).await?.ok_or_else(|| ApiError::not_found("run", run))
}
