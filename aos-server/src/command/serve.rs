//! `serve`: API and worker until somebody ends the process.

use std::net::SocketAddr;
use std::path::Path;

use aos_core::llm::AdapterStatus;

use super::settings;
use super::ui::{CommandError, CommandResult, Ui};
use crate::cli::ServeArgs;
use crate::config::{Config, Database, Sources};

pub fn run(_ui: &Ui, sources: Sources, args: &ServeArgs) -> CommandResult {
    let _config = settings::for_server(sources, args).map_err(settings::wrong)?;
    Err(CommandError::usage("serving is not there yet"))
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
