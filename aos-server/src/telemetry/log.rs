//! Log lines: to standard output as JSON (one flat object a line) or to standard error as text, and to a file as text,
//! for `grep`.
//!
//! Fields of the spans around an event stand beside the event's own in JSON, so that
//! `jq 'select(.request_id == "abc123")'` finds every line of a request and of the run it made; as text the same
//! line has `request_id=abc123`. Both pass [`redact`], and an event is one line whatever is in it.

mod file;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use aos_core::{Failure, codes};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt::format::{Format, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use self::file::LogFile;
use crate::redact;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, on standard output, where collectors of logs look.
    Json,
    /// For people, on standard error.
    #[default]
    Text,
}

/// The filter of a `LOG_LEVEL`: at a bare level AOS speaks at it, and the libraries below it at `info` at most.
fn filter(directives: &str) -> Result<EnvFilter, Failure> {
    let quiet = match directives {
        "debug" | "trace" => format!("info,opentelemetry_sdk=warn,aos_server={directives},aos_core={directives}"),
        "info" => "info,opentelemetry_sdk=warn".to_string(),
        other => other.to_string(),
    };
    EnvFilter::builder().parse(&quiet).map_err(|e| {
        Failure::new(
            codes::INVALID_SETTING,
            format!("LOG_LEVEL is {directives:?}: {e}; expected a level, for example LOG_LEVEL=DEBUG"),
        )
    })
}

/// Installs the process's logger: in this format to where that goes, and to `file` as text when there is one, which may be
/// renamed or deleted while it is written to. A second call changes nothing, so that tests may call it freely.
///
/// # Errors
/// [`codes::INVALID_SETTING`] for malformed directives or a file that can't be opened.
pub fn init(directives: &str, format: LogFormat, file: Option<&Path>) -> Result<(), Failure> {
    let file = file.map(open).transpose()?.map(|file| layer(LogFormat::Text, Mutex::new(file)));
    let shown = match format {
        LogFormat::Json => layer(format, io::stdout),
        LogFormat::Text => layer(format, io::stderr),
    };
    let layers: Vec<_> = file.into_iter().chain([shown]).collect();
    let (level, handle) = reload::Layer::new(filter(directives)?);
    // The only way to fail is that a logger is installed already.
    if Registry::default().with(level).with(layers).try_init().is_ok() {
        let _ = LEVEL.set(Level { handle, directives: directives.to_owned(), is_debug: AtomicBool::new(false) });
    }
    Ok(())
}

/// The filter of the process's logger, which can be changed.
struct Level {
    handle: reload::Handle<EnvFilter, Registry>,
    /// What settings say.
    directives: String,
    is_debug: AtomicBool,
}

static LEVEL: OnceLock<Level> = OnceLock::new();

/// Whether this process logs at `debug` because it was told to while it runs.
pub fn is_debug() -> bool {
    LEVEL.get().is_some_and(|level| level.is_debug.load(Ordering::Relaxed))
}

/// Logs at `debug`, or again as settings say. Where these say `debug` or more already, nothing changes.
pub fn set_debug(on: bool) {
    let Some(level) = LEVEL.get().filter(|level| level.is_debug.swap(on, Ordering::Relaxed) != on) else { return };
    let configured = filter(&level.directives);
    let says_more = |filter: &EnvFilter| filter.max_level_hint().is_none_or(|max| max >= LevelFilter::DEBUG);
    let wanted = match configured {
        Ok(configured) if !on || says_more(&configured) => Ok(configured),
        _ => filter("debug"),
    };
    let changed = wanted.is_ok_and(|wanted| level.handle.reload(wanted).is_ok());
    tracing::warn!(on, changed, "the level of logging was changed by the switch debug_logging");
}

fn open(path: &Path) -> Result<LogFile, Failure> {
    LogFile::open(path).map_err(|e| {
        Failure::new(
            codes::INVALID_SETTING,
            format!("LOG_FILE is {:?}: it can't be opened for appending: {e}", path.display()),
        )
    })
}

fn layer<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    match format {
        LogFormat::Json => layer.fmt_fields(JsonFields::new()).event_format(FlatJson).boxed(),
        LogFormat::Text => layer.event_format(OneLine(Format::default().with_target(false).with_ansi(false))).boxed(),
    }
}

/// One flat JSON object a line: time, level, message, the event's fields, then those of the spans around it.
struct FlatJson;

impl<S, N> FormatEvent<S, N> for FlatJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Map::new();
        line.insert("timestamp".into(), crate::clock::now().to_string().into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("target".into(), event.metadata().target().into());
        event.record(&mut Collect(&mut line));
        // The innermost span first: an inner field wins over an outer one of the same name.
        for span in ctx.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let Some(fields) = extensions.get::<FormattedFields<N>>() else { continue };
            let Ok(Value::Object(fields)) = serde_json::from_str(fields.as_str()) else { continue };
            for (name, value) in fields {
                line.entry(name).or_insert(value);
            }
        }
        let mut line = Value::Object(line);
        redact::json(&mut line);
        writeln!(writer, "{line}")
    }
}

/// Another format's text, without secrets and on one line: nobody's words may look like a line of their own.
struct OneLine<F>(F);

impl<S, N, F> FormatEvent<S, N> for OneLine<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        let clean = redact::text(line.trim_end_matches('\n'));
        writeln!(writer, "{}", clean.replace('\r', "\\r").replace('\n', "\\n"))
    }
}

struct Collect<'a>(&'a mut Map<String, Value>);

impl Collect<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().into(), value.into());
    }
}

impl Visit for Collect<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn malformed_directives_are_a_setting_error() {
        assert!(filter("debug").is_ok() && filter("info,aos_server=debug").is_ok());
        assert_eq!(filter("aos_server=loud").unwrap_err().code, codes::INVALID_SETTING);
    }

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat) -> String {
        logged_by(format, || tracing::info!(cost_cents = 1.5, "finished \"well\""))
    }

    fn logged_by(format: LogFormat, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = vec![layer(format, move || writer.clone())];
        tracing::subscriber::with_default(Registry::default().with(layers), || {
            let outer = tracing::info_span!("request", request_id = %"abc123");
            let _outer = outer.enter();
            let inner = tracing::info_span!("run", run = "r1");
            let _inner = inner.enter();
            log();
        });
        String::from_utf8(captured.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_lines_are_flat_and_carry_the_request_id() {
        let line: Value = serde_json::from_str(&logged(LogFormat::Json)).unwrap();
        assert_eq!(line["request_id"], "abc123");
        assert_eq!(line["run"], "r1");
        assert_eq!(line["cost_cents"], 1.5);
        assert_eq!(line["message"], "finished \"well\"");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn text_lines_carry_the_request_id() {
        let line = logged(LogFormat::Text);
        assert!(line.contains("request_id=abc123"), "{line}");
    }
    #[test]
    fn lines_have_no_secrets_and_are_one_line_each() {
        for format in [LogFormat::Json, LogFormat::Text] {
            let input = r#"{"password":"canary","to":"a"}"#;
            let lines = logged_by(format, || {
                tracing::warn!(input, error = "postgres://aos:canary@db/aos", "two\nlines, Bearer canary0123456789");
            });
            assert!(!lines.contains("canary"), "{format:?}: {lines}");
            assert_eq!(lines.matches(redact::REDACTED).count(), 3, "{format:?}: {lines}");
            assert_eq!(lines.lines().count(), 1, "{format:?}: {lines}");
        }
    }
}
