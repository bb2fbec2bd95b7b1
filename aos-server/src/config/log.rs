//! Logs and traces.

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;
use url::Url;

use crate::config::reader::{Reader, boolean, endpoint, path};
use crate::config::table;
use crate::telemetry::Share;
use crate::telemetry::log::LogFormat;

/// What is logged, where and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Filter directives for `tracing_subscriber::EnvFilter`, known to be well-formed.
    pub filter: String,
    /// The form of a line.
    pub format: LogFormat,
    /// Append to this file as well as to standard error.
    pub file: Option<PathBuf>,
    /// Log inputs and outputs of skills.
    pub skill_params: bool,
    /// OTLP collector for traces.
    pub otlp_endpoint: Option<Url>,
    /// Which of the traces that begin here are sent there.
    pub trace_share: Share,
}

impl Log {
    pub(crate) fn read(reader: &mut Reader) -> Option<Self> {
        let filter = reader.get(&table::LOG_LEVEL, filter);
        let format = reader.get(&table::LOG_FORMAT, |text| match text.to_ascii_lowercase().as_str() {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        });
        let file = reader.optional(&table::LOG_FILE, path);
        let skill_params = reader.get(&table::LOG_SKILL_PARAMS, boolean);
        let otlp_endpoint = reader.optional(&table::OTEL_ENDPOINT, endpoint);
        let trace_share = reader.get(&table::OTEL_SHARE, Share::parse);
        Some(Self {
            filter: filter?,
            format: format?,
            file: file?,
            skill_params: skill_params?,
            otlp_endpoint: otlp_endpoint?,
            trace_share: trace_share?,
        })
    }
}

fn filter(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let filter = match lower.as_str() {
        "error" | "warn" | "info" | "debug" | "trace" | "off" => lower,
        "warning" => "warn".into(),
        "critical" | "fatal" => "error".into(),
        // A bare word would be taken for the name of a module, and everything else be silenced.
        _ if !text.contains(['=', ',']) => return None,
        _ => text.to_owned(),
    };
    EnvFilter::builder().parse(&filter).ok().map(|_| filter)
}
