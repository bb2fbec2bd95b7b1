//! `serve`: API and worker until somebody ends the process.

use std::net::SocketAddr;

use aos_core::llm::AdapterStatus;
use aos_core::{Failure, codes};
use tokio_util::sync::CancellationToken;

use super::settings;
use super::ui::{CommandError, CommandResult, Exit};
use crate::backend::Backend;
use crate::cli::ServeArgs;
use crate::config::{Config, Sources};
use crate::server;
use crate::state::AppState;
use crate::telemetry::log;

pub async fn run(sources: Sources, args: &ServeArgs) -> CommandResult {
    let config = settings::for_server(sources, args).map_err(settings::wrong)?;
    log::init(&config.log.filter, config.log.format, config.log.file.as_deref())
        .map_err(|failure| CommandError::new(Exit::Usage, failure))?;
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let listening = |address: SocketAddr, backend: &Backend, state: &AppState| {
        first_screen(&config, address, backend, &state.adapters.list())
            .iter()
            .for_each(|line| tracing::info!("{line}"));
    };
    let asked = CancellationToken::new();
    let end = async {
        asked_to_end().await;
        tracing::info!("asked to end; asking again ends the process at once");
        asked.cancel();
    };
    // Who asks twice does not want to wait for runs in hand. It loses nothing: a crash would do no more.
    let again = async {
        asked.cancelled().await;
        asked_to_end().await;
    };
    tokio::select! {
        served = server::serve(&config, listening, end) => served.map(|()| Exit::Yes).map_err(with_hint),
        () = again => {
            tracing::warn!("asked again: ending at once; runs in hand go on at the next start");
            Ok(Exit::No)
        }
    }
}

/// What to do when the server does not start, where the table of codes speaks of one that runs.
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

/// What a person sees first: where the data is, who answers model calls, and a line to try.
fn first_screen(config: &Config, address: SocketAddr, backend: &Backend, adapters: &[AdapterStatus]) -> Vec<String> {
    vec![
        format!("aos-server {} keeps its data in {}", env!("CARGO_PKG_VERSION"), backend.place()),
        format!("model calls are answered by {}", models(config, adapters)),
        format!("listening on {}", url(address)),
        format!("try it: {}", try_it(address)),
    ]
}

fn models(config: &Config, adapters: &[AdapterStatus]) -> String {
    let names: Vec<_> = adapters
        .iter()
        .map(|adapter| format!("{}{}", adapter.name, if adapter.live { " (live)" } else { "" }))
        .collect();
    let why = match (config.switches.force_stub, config.switches.disable_live, &config.claude.api_key) {
        (true, _, _) => "; FORCE_STUB_ADAPTER is set",
        (false, true, _) => "; DISABLE_LIVE_ADAPTERS is set",
        (false, false, None) => "; no ANTHROPIC_API_KEY is set",
        (false, false, Some(_)) => "",
    };
    format!("{}{why}", names.join(", "))
}

fn url(address: SocketAddr) -> String {
    // Nobody can connect to the address that means all of them.
    let host = match address.ip() {
        ip if ip.is_unspecified() && ip.is_ipv6() => "[::1]".to_owned(),
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        ip if ip.is_ipv6() => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    format!("http://{host}:{}", address.port())
}

fn try_it(address: SocketAddr) -> String {
    let body = r#"{"workflow":{"id":"hello","steps":[{"id":"greet","skill":"echo","params":"Hello, {{ input.name }}!"}]},"input":{"name":"Ada"}}"#;
    format!("curl -s '{}/v1/runs?wait=30s' -H 'content-type: application/json' -d '{body}'", url(address))
}
