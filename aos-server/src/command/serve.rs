//! `serve`: API and worker until somebody ends the process.

use std::io::Write as _;
use std::net::SocketAddr;

use aos_core::keys::KeyText;
use aos_core::llm::AdapterStatus;
use serde_json::json;

use super::process::{start_logging, until_asked, url};
use super::settings;
use super::ui::CommandResult;
use crate::backend::Backend;
use crate::cli::ServeArgs;
use crate::config::{Config, Sources};
use crate::server::{self, Role};
use crate::state::AppState;
use crate::telemetry::log::LogFormat;

pub async fn run(sources: Sources, args: &ServeArgs) -> CommandResult {
    let config = settings::for_server(sources, args).map_err(settings::wrong)?;
    start_logging(&config)?;
    let listening = |address: SocketAddr, backend: &Backend, state: &AppState, first_key: Option<KeyText>| {
        if let Some(key) = first_key {
            show_once(&key, config.log.format);
        }
        first_screen(&config, address, backend, &state.adapters.list())
            .iter()
            .for_each(|line| tracing::info!("{line}"));
    };
    until_asked(|end| server::run(Role::Serve, &config, listening, end)).await
}

/// The first key, past the log, which may be kept and copied.
fn show_once(key: &KeyText, format: LogFormat) {
    let what = "There was no API key yet. This one is for everything, and it is shown only now";
    let shown = match format {
        LogFormat::Json => {
            let line = json!({"level": "WARN", "message": what, "api_key": key.expose()});
            writeln!(std::io::stdout(), "{line}")
        }
        LogFormat::Text => writeln!(
            std::io::stderr(),
            "\n{what}:\n\n    {}\n\nCommands send it as AOS_API_KEY, programs as `authorization: Bearer …`. \
             `aos-server keys` makes more.\n",
            key.expose()
        ),
    };
    if shown.is_err() {
        tracing::error!(
            "the first API key could not be shown to anybody: `aos-server keys create --db …` makes another"
        );
    }
}

/// What a person sees first: where the data is, who answers model calls, and a line to try.
fn first_screen(config: &Config, address: SocketAddr, backend: &Backend, adapters: &[AdapterStatus]) -> Vec<String> {
    vec![
        format!("aos-server {} keeps its data in {}", env!("CARGO_PKG_VERSION"), backend.place()),
        format!("model calls are answered by {}", models(config, adapters)),
        format!("listening on {}", url(config, address)),
        format!("try it: {}", try_it(config, address)),
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

fn try_it(config: &Config, address: SocketAddr) -> String {
    let body = r#"{"workflow":{"id":"hello","steps":[{"id":"greet","skill":"echo","params":"Hello, {{ input.name }}!"}]},"input":{"name":"Ada"}}"#;
    format!("curl -s '{}/v1/runs?wait=30s' -H 'content-type: application/json' -d '{body}'", url(config, address))
}
