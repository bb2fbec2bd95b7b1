//! The account of model calls: judging what dead processes have left open.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::state::AppState;

/// How often it is looked for.
const EVERY: Duration = Duration::from_secs(10);

/// How many calls are judged at one time.
const AT_ONCE: usize = 1_000;

/// Keeps the account free of calls that nobody will settle any more.
pub async fn keep_sweeping(state: AppState, done: CancellationToken) {
    loop {
        let judged = match state.control.ledger.sweep(AT_ONCE).await {
            Ok(judged) => judged,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "judging open model calls failed");
                0
            }
        };
        if judged > 0 {
            tracing::warn!(calls = judged, "model calls were left open; each counts as the most that it can have cost");
        }
        if judged == AT_ONCE as u64 {
            continue;
        }
        tokio::select! {
            () = done.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
