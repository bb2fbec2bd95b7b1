//! What the commands do: one file each.

mod again;
mod audit;
mod bulk;
mod client;
mod completions;
mod costs;
mod definition;
mod dlq;
mod doctor;
mod golden;
mod input;
mod keys;
mod local;
mod migrate;
mod process;
mod progress;
mod queue;
mod recost;
mod registry;
mod replay;
mod run;
mod runs;
mod schedules;
mod serve;
mod settings;
mod switch;
mod ui;
mod verdict;
mod worker;
mod workers;

use std::future::Future;
use std::process::ExitCode;

use aos_core::{Failure, codes};

use crate::cli::{
    BudgetsArgs, BudgetsCommand, Cli, Command, DlqArgs, GoldenCommand, KeysArgs, KeysCommand, QueueArgs, QueueCommand,
    RegistryArgs, RunsArgs, SchedulesArgs, SwitchArgs, WorkersArgs, WorkersCommand,
};
use client::Client;
use ui::{CommandError, CommandResult, Exit, Ui};

/// Reads the command line, does what it says, and gives the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::from_command_line();
    let ui = Ui::new(cli.format);
    match dispatch(&ui, cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            ui.error(&error);
            error.exit.into()
        }
    }
}

fn dispatch(ui: &Ui, cli: Cli) -> CommandResult {
    let sources = settings::sources(&cli.set);
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => block_on(serve::run(sources, &args)),
        Command::Worker(args) => block_on(worker::run(sources, &args)),
        Command::Run(args) => block_on(run::run(ui, sources, args)),
        Command::Replay(args) => replay::run(ui, &args.files),
        Command::Golden(GoldenCommand::Record(args)) => block_on(golden::record(ui, sources, *args)),
        Command::Golden(GoldenCommand::Verify { paths }) => golden::verify(ui, &paths),
        Command::Golden(GoldenCommand::Bless { files }) => block_on(golden::bless(ui, sources, &files)),
        Command::Runs(RunsArgs { target, command }) => block_on(async move {
            let client = Client::to(sources, &target).await?;
            runs::run(ui, &client, command).await
        }),
        Command::Queue(QueueArgs { target, command }) => block_on(async move {
            let client = Client::to(sources, &target).await?;
            queue::run(ui, &client, command.unwrap_or(QueueCommand::Show)).await
        }),
        Command::Dlq(DlqArgs { target, command }) => block_on(async move {
            let client = Client::to(sources, &target).await?;
            dlq::run(ui, &client, command).await
        }),
        Command::Workers(WorkersArgs { target, command }) => block_on(async move {
            let client = Client::to(sources, &target).await?;
            workers::run(ui, &client, command.unwrap_or(WorkersCommand::List)).await
        }),
        Command::Switch(SwitchArgs { target, command }) => block_on(async move {
            let user = sources.environment.get("USER").cloned();
            let client = Client::to(sources, &target).await?;
            switch::run(ui, &client, command, user).await
        }),
        Command::Keys(KeysArgs { target, command }) => block_on(async move {
            let user = sources.environment.get("USER").cloned();
            let client = Client::to(sources, &target).await?;
            keys::run(ui, &client, command.unwrap_or(KeysCommand::List), user).await
        }),
        Command::Audit(args) => block_on(async move {
            let client = Client::to(sources, &args.target).await?;
            audit::run(ui, &client, args).await
        }),
        Command::Migrate(args) => block_on(migrate::run(ui, sources, &args)),
        Command::Schedules(SchedulesArgs { target, command }) => block_on(async move {
            let client = Client::to(sources, &target).await?;
            schedules::run(ui, &client, command).await
        }),
        Command::Costs(args) => block_on(async move {
            let client = Client::to(sources, &args.target).await?;
            costs::costs(ui, &client, args).await
        }),
        Command::Budgets(BudgetsArgs { target, command }) => block_on(async move {
            let client = Client::to(sources, &target).await?;
            costs::budgets(ui, &client, command.unwrap_or(BudgetsCommand::List)).await
        }),
        Command::Recost(args) => block_on(recost::run(ui, sources, args)),
        Command::Registry(RegistryArgs { target, command }) => block_on(registry::run(ui, sources, &target, command)),
        Command::Doctor(args) => block_on(doctor::run(ui, sources, &args)),
        Command::Completions { shell } => completions::run(ui, shell),
    }
}

/// Runs a command that waits for things.
fn block_on(command: impl Future<Output = CommandResult>) -> CommandResult {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| {
        CommandError::new(Exit::Unreachable, Failure::new(codes::INTERNAL, format!("no threads can be started: {e}")))
    })?;
    runtime.block_on(command)
}
