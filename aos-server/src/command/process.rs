//! A process that works until it is asked to end.

use std::future::Future;
use std::net::SocketAddr;

use aos_core::{Failure, codes};
use tokio_util::sync::CancellationToken;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::ui::{CommandError, CommandResult, Exit};
use crate::config::Config;
use crate::telemetry::log;

/// Begins to log as settings say, with what is odd about them.
///
/// # Errors
/// A log file that can't be written.
pub fn start_logging(config: &Config) -> Result<(), CommandError> {
    log::init(&config.log.filter, config.log.format, config.log.file.as_deref())
        .map_err(|failure| CommandError::new(Exit::Usage, failure))?;
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    if config.log.skill_params {
        tracing::warn!(
            "LOG_SKILL_PARAMS is on: inputs and outputs of skills are logged (at level debug). Known forms of secrets are \
             taken out, personal data is not"
        );
    }
    Ok(())
}

/// Does `work`, which is given a future that resolves when somebody asks the process to end. Who asks twice does not want
/// to wait for runs in hand, and loses nothing: a crash would do no more.
///
/// # Errors
/// Those of `work`, with what to do.
pub async fn until_asked<W>(work: impl FnOnce(WaitForCancellationFutureOwned) -> W) -> CommandResult
where
    W: Future<Output = Result<(), Failure>>,
{
    let asked = CancellationToken::new();
    let again = async {
        asked_to_end().await;
        tracing::info!("asked to end; asking again ends the process at once");
        asked.cancel();
        asked_to_end().await;
    };
    tokio::select! {
        worked = work(asked.clone().cancelled_owned()) => worked.map(|()| Exit::Yes).map_err(with_hint),
        () = again => {
            tracing::warn!("asked again: ending at once; runs in hand go on elsewhere, or at the next start");
            Ok(Exit::No)
        }
    }
}

/// The URL under which clients on this machine reach an address.
pub fn url(config: &Config, address: SocketAddr) -> String {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    // Nobody can connect to the address that means all of them.
    let host = match address.ip() {
        ip if ip.is_unspecified() && ip.is_ipv6() => "[::1]".to_owned(),
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        ip if ip.is_ipv6() => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    format!("{scheme}://{host}:{}", address.port())
}

/// What to do when the process does not start, where the table of codes speaks of one that runs.
fn with_hint(failure: Failure) -> CommandError {
    let hints = [
        (codes::INVALID_SETTING, "choose another --host or --port; `aos-server doctor` says what is taken"),
        (codes::STORE_UNAVAILABLE, "the server has not started; --db or DATABASE_URL say where the data is"),
        (codes::STORE_CORRUPT, "the server has not started; restore the file, or start on another one with --db"),
    ];
    let hint = hints.into_iter().find(|(code, _)| *code == failure.code);
    let error = CommandError::from(failure);
    match hint {
        Some((_, hint)) => error.hint(hint),
        None => error,
    }
}

/// Resolves when the process is asked to end: from the terminal, or as a service manager does.
async fn asked_to_end() {
    #[cfg(unix)]
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signals) => signals.recv().await,
            // Without a handler the signal ends the process at once, which it survives.
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<Option<()>>();
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated => {}
    }
}
