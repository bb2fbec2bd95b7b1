//! `run FILE`: one shot, in this process.

use std::path::Path;
use std::sync::Arc;

use aos_core::event::RunStatus;
use aos_core::flow::Flows;
use aos_core::id::RunId;
use aos_core::random::Seed;
use aos_core::time::Clock;
use aos_core::{Failure, Payload, codes};
use futures::FutureExt as _;
use serde_json::json;
use tokio::sync::watch;

use super::input::read_value;
use super::local::{self, Job, Ran};
use super::progress::Progress;
use super::ui::{CommandError, CommandResult, Exit, Ui};
use super::{definition, settings};
use crate::backend::Backend;
use crate::cli::{RunArgs, RunWith};
use crate::clock::SystemClock;
use crate::config::Sources;

pub async fn run(ui: &Ui, sources: Sources, args: RunArgs) -> CommandResult {
    let ran = one_shot(ui, sources, &args.file, &args.with, args.db.as_deref()).await?;
    let finished = ran.finished.clone();
    let document = json!({
        "run": ran.run,
        "state": finished.status.as_str(),
        "output": finished.output,
        "error": finished.failure,
        "cost_usd": finished.cost,
        "content_hash": finished.content_hash,
        "entries": ran.history.lines.len(),
    });
    if let Some(path) = &args.golden {
        super::input::write_file(path, &ran.golden("")?.to_string())?;
    }
    let failure = finished.failure.filter(|_| finished.status != RunStatus::Succeeded);
    if ui.is_json() || failure.is_none() {
        let output = finished.output.unwrap_or_default();
        ui.result(&document, |out| writeln!(out, "{:#}", output.value()))?;
    }
    ui.note(format_args!("{}, cost ${}\nHash: {}", finished.status.as_str(), finished.cost, finished.content_hash));
    match failure {
        None => Ok(Exit::Yes),
        Some(_) if ui.is_json() => Ok(Exit::No),
        Some(failure) => Err(CommandError::new(Exit::No, failure)),
    }
}

/// Runs a definition to its end.
///
/// # Errors
/// Bad settings, a bad definition, bad input, or what stops the run from being made; a run that fails is not an error.
pub async fn one_shot(
    ui: &Ui,
    sources: Sources,
    file: &Path,
    with: &RunWith,
    db: Option<&str>,
) -> Result<Ran, CommandError> {
    let config = settings::without_listening(sources, db)?;
    config.warnings.iter().for_each(|warning| ui.note(format_args!("warning: {warning}")));
    let skills = settings::skills(&config)?;
    let plan = definition::plan(&skills, file, &with.children)?;
    let input = with
        .input
        .as_deref()
        .map_or_else(|| Ok(Payload::new(json!({})).map_err(Failure::from)?), |given| read_value("--input", given))?;
    definition::check_input(&plan, &input)?;
    let signals = with.signals.iter().map(|(name, given)| Ok((name.clone(), read_value("--signal", given)?)));
    let job = Job {
        run: RunId::new(uuid::Uuid::now_v7().to_string()).map_err(|e| Failure::new(codes::INTERNAL, e.to_string()))?,
        plan,
        input,
        seed: Seed::new(with.seed),
        budget: with.budget,
        signals: signals.collect::<Result<_, CommandError>>()?,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let backend = match db {
        None => None,
        Some(_) => Some(Backend::open(&config.database).await.map_err(Failure::from)?),
    };
    let stores = backend.as_ref().map_or_else(|| local::memory(&clock), Backend::stores);
    let progress = Arc::new(Progress::new(ui));
    let host = local::host(stores, Arc::new(skills), Flows::new(), clock, progress.clone())?;
    let interrupts = Interrupts::listen();
    let ran = tokio::select! {
        ran = local::run(&host, job, interrupts.count(1)) => ran,
        () = interrupts.count(2) => Err(interrupted()),
    };
    progress.finish();
    if let Some(backend) = backend {
        backend.close().await;
    }
    ran
}

/// Interrupts from the terminal: the first one asks the run to stop, the second insists.
struct Interrupts(watch::Receiver<u32>);

impl Interrupts {
    /// Listens from now on.
    fn listen() -> Self {
        let (sender, receiver) = watch::channel(0);
        let mut next = Box::pin(tokio::signal::ctrl_c());
        // The handler is in place once the future has been polled; nothing can have come before.
        let _ = next.as_mut().now_or_never();
        tokio::spawn(async move {
            // Without a handler there is no gentle way to stop; the default one then ends the process.
            while next.as_mut().await.is_ok() {
                sender.send_modify(|count| *count += 1);
                next = Box::pin(tokio::signal::ctrl_c());
            }
        });
        Self(receiver)
    }

    /// Resolves with the `wanted`-th interrupt.
    async fn count(&self, wanted: u32) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|count| *count >= wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn interrupted() -> CommandError {
    CommandError::new(Exit::No, Failure::new(codes::CANCELLED, "interrupted twice: the run was left where it stood"))
}
