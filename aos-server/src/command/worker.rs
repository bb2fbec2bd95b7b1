//! `worker`: advances runs beside the processes that serve, until somebody ends it.

use std::net::SocketAddr;

use super::process::{start_logging, until_asked, url};
use super::settings;
use super::ui::{CommandError, CommandResult};
use crate::backend::Backend;
use crate::cli::ServeArgs;
use crate::config::Sources;
use crate::server::{self, Role};
use crate::state::AppState;

pub async fn run(sources: Sources, args: &ServeArgs) -> CommandResult {
    let config = settings::for_worker(sources, args).map_err(settings::wrong)?;
    if config.worker.concurrency == 0 {
        return Err(CommandError::usage("WORKER_CONCURRENCY is 0: a worker that advances no run has nothing to do"));
    }
    start_logging(&config)?;
    let listening = |address: SocketAddr, backend: &Backend, state: &AppState, _| {
        let (version, worker, place) = (env!("CARGO_PKG_VERSION"), state.worker.id(), backend.place());
        tracing::info!("aos-server {version}: worker {worker} takes runs from {place}");
        tracing::info!("health and metrics on {}", url(&config, address));
    };
    until_asked(|end| server::run(Role::Worker, &config, listening, end)).await
}
