//! `serve`: API and worker until somebody ends the process.

use std::net::SocketAddr;
use std::path::Path;

use aos_core::codes;
use aos_core::llm::AdapterStatus;

use super::settings;
use super::ui::{CommandError, CommandResult, Exit};
use crate::cli::ServeArgs;
use crate::config::{Config, Database, Sources};
use crate::server;
use crate::state::AppState;
use crate::telemetry::log;

pub async fn run(sources: Sources, args: &ServeArgs) -> CommandResult {
    let config = settings::for_server(sources, args).map_err(settings::wrong)?;
    log::init(&config.log.filter, config.log.format, config.log.file.as_deref())
        .map_err(|failure| CommandError::new(Exit::Usage, failure))?;
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let listening = |address: SocketAddr, state: &AppState| {
        first_screen(&config, address, &state.adapters.list()).iter().for_each(|line| tracing::info!("{line}"));
    };
    server::serve(&config, listening, end()).await.map_err(|failure| match failure.code == codes::INVALID_SETTING {
        true => {
            CommandError::from(failure).hint("choose another --host or --port; `aos-server doctor` says what is taken")
        }
        false => failure.into(),
    })?;
    Ok(Exit::Yes)
}

/// Resolves when somebody asks the process to end: from the terminal, or as a service manager does.
async fn end() {
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
fn first_screen(config: &Config, address: SocketAddr, adapters: &[AdapterStatus]) -> Vec<String> {
    let Database::Sqlite(path) = &config.database;
    let path = path.canonicalize().unwrap_or_else(|_| Path::new(".").join(path));
    vec![
        format!("aos-server {} keeps its data in {}", env!("CARGO_PKG_VERSION"), path.display()),
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
