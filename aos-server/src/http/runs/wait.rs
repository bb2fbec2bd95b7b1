//! Waiting for a run's end.

use std::time::Duration;

use aos_core::runs::RunRecord;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::http::problem::ApiResult;
use crate::http::runs::find;
use crate::hub::Watch;
use crate::state::AppState;

/// How often to look at the store for a run that another process may end.
const LOOK: Duration = Duration::from_secs(1);

/// The run once it has ended, or as it is after `wait`. `watch` was begun before the run was created or read.
pub(super) async fn for_end(
    state: &AppState,
    mut watch: Watch,
    record: RunRecord,
    wait: Duration,
) -> ApiResult<RunRecord> {
    let deadline = Instant::now() + wait;
    let run = record.new.run.clone();
    let mut record = record;
    while !record.state.is_terminal() && Instant::now() < deadline && !state.stopping.is_cancelled() {
        let look = deadline.min(Instant::now() + LOOK);
        tokio::select! {
            _ = timeout_at(look, watch.finished()) => {}
            // The process is about to end: the caller learns where the run stands, and it goes on elsewhere.
            () = state.stopping.cancelled() => {}
        }
        record = find(state, &run).await?;
        if record.state.is_terminal() || Instant::now() >= deadline {
            break;
        }
        // The hub may be ahead of a reader's snapshot by a moment.
        sleep_until(Instant::now() + Duration::from_millis(1)).await;
    }
    Ok(record)
}
