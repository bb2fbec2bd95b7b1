//! The command line: what there is to say, not what it does.

mod audit;
mod keys;
mod money;
mod queue;
mod registry;
mod runs;
mod schedules;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

pub use audit::{AuditArgs, AuditCommand, SearchArgs};
pub use keys::{KeysArgs, KeysCommand};
pub use money::{BudgetsArgs, BudgetsCommand, CostsArgs, RecostArgs};
pub use queue::{
    DeadWhich, DlqArgs, DlqCommand, Limit, QueueArgs, QueueCommand, SwitchArgs, SwitchCommand, Turn, WorkersArgs,
    WorkersCommand,
};
pub use registry::{Kind, RegistryArgs, RegistryCommand, Version};
pub use runs::{Answer, ListFilter, PurgeArgs, RunsArgs, RunsCommand, Which};
pub use schedules::{PutArgs, SchedulesArgs, SchedulesCommand};

const AFTER_HELP: &str = "\
Exit codes:
  0  it went well, the answer is yes
  1  the answer is no: the run failed, replay drifted, there is no such run
  2  wrong usage or bad input: a flag, a setting, a definition, a damaged file
  3  the server can't be reached, or a store failed

Settings come from the environment and from the file that AOS_CONFIG names; flags win.";

/// A deterministic runtime for agent workflows: record a run, replay it byte for byte.
///
/// Without a subcommand it serves: API and worker on one SQLite file.
#[derive(Debug, Parser)]
#[command(name = "aos-server", version, after_help = AFTER_HELP, max_term_width = 120)]
pub struct Cli {
    /// What to do; `serve` when left out.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where to serve, without a subcommand.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Form of the result on standard output.
    #[arg(short = 'o', long = "output", global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub format: Format,
    /// Set any setting for this command, for example --set LOG_LEVEL=debug.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = assignment)]
    pub set: Vec<(String, String)>,
}

/// Form of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the API and advance runs.
    Serve(ServeArgs),
    /// Advance runs of a database that other processes serve; answers /health and /metrics only.
    Worker(ServeArgs),
    /// Run a definition once, here, and print its output.
    Run(RunArgs),
    /// Replay golden files offline and print their content hashes.
    Replay(ReplayArgs),
    /// Record, verify and accept golden files.
    #[command(subcommand)]
    Golden(GoldenCommand),
    /// Look at runs and steer them.
    Runs(RunsArgs),
    /// Show the queue, and set how much of a workflow or skill goes on at the same time.
    Queue(QueueArgs),
    /// Look at dead runs and decide about them.
    Dlq(DlqArgs),
    /// List the processes that advance runs.
    Workers(WorkersArgs),
    /// Turn the switches that every process obeys.
    Switch(SwitchArgs),
    /// Make, list and revoke API keys.
    Keys(KeysArgs),
    /// Search and check the log of who changed what.
    Audit(AuditArgs),
    /// Begin runs by the calendar.
    Schedules(SchedulesArgs),
    /// Sum up what model calls cost.
    Costs(CostsArgs),
    /// Set how much model calls may cost, by workflow, API key or in all.
    Budgets(BudgetsArgs),
    /// Price the recorded model calls of a run again, by the book it was recorded with or by another one.
    Recost(RecostArgs),
    /// Export, import, list and compare skills and workflows; snapshots, rollback and audit.
    Registry(RegistryArgs),
    /// Bring the tables of a database up to date, as servers do when they start.
    Migrate(MigrateArgs),
    /// Check settings, data and this machine, and say what to do.
    Doctor(ServeArgs),
    /// Print a completion script.
    Completions {
        /// For which shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// Where to serve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ServeArgs {
    /// Address to listen on [setting HOST].
    #[arg(long)]
    pub host: Option<String>,
    /// Port to listen on, 0 for any free one [setting PORT].
    #[arg(long)]
    pub port: Option<String>,
    /// SQLite file with the data, or URL of a database [setting DATABASE_URL].
    #[arg(long, value_name = "FILE|URL", value_hint = ValueHint::FilePath)]
    pub db: Option<String>,
}

/// What to run.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Definition to run, JSON or YAML; `-` for standard input.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    #[command(flatten)]
    pub with: RunWith,
    /// Keep the run in this SQLite file, or in the database at this URL, instead of in memory.
    #[arg(long, value_name = "FILE|URL", value_hint = ValueHint::FilePath)]
    pub db: Option<String>,
    /// Save the run as a golden file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub golden: Option<PathBuf>,
}

/// What a run is made with.
#[derive(Clone, Debug, Args)]
pub struct RunWith {
    /// Input as JSON, `@file`, or `-` for standard input; `{}` when left out.
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub input: Option<String>,
    /// Seed, from 0 to 2^53 - 1: the same seed gives the same random choices.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..1 << 53))]
    pub seed: u64,
    /// What the run may spend, in US dollars, for example 0.50.
    #[arg(long, value_name = "USD", value_parser = money)]
    pub budget: Option<aos_core::money::Money>,
    /// Definition of a workflow that FILE starts as a child; may be repeated.
    #[arg(long = "with", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub children: Vec<PathBuf>,
    /// Signal that is sent to the run beforehand; the value is JSON, `@file`, or `-`. May be repeated.
    #[arg(long = "signal", value_name = "NAME=JSON", value_parser = assignment)]
    pub signals: Vec<(String, String)>,
}

/// What to replay.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// Golden files; `-` for standard input.
    #[arg(required = true, value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
}

/// `golden …`
#[derive(Debug, Subcommand)]
pub enum GoldenCommand {
    /// Save a finished run of a server, or a new run of a definition, as a golden file.
    Record(Box<RecordArgs>),
    /// Replay golden files and directories of them; fail on drift or damage.
    Verify {
        /// Files, or directories that are searched for `*.jsonl`.
        #[arg(required = true, value_hint = ValueHint::AnyPath)]
        paths: Vec<PathBuf>,
    },
    /// Accept what a file's workflow does now: do the run again on the recorded effects and rewrite the file.
    Bless {
        /// Golden files.
        #[arg(required = true, value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
    },
}

/// What to record.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["run", "file"]))]
pub struct RecordArgs {
    /// Id of a finished run, on the server or in `--db`.
    #[arg(long, value_name = "ID", conflicts_with_all = ["input", "seed", "budget", "children", "signals"])]
    pub run: Option<String>,
    /// Definition to run once, here.
    #[arg(long = "definition", value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["url", "target_db"])]
    pub file: Option<PathBuf>,
    /// Where to write; standard output when left out.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub to: Option<PathBuf>,
    /// What the file is about, for people.
    #[arg(long, default_value = "")]
    pub note: String,
    #[command(flatten)]
    pub with: RunWith,
    #[command(flatten)]
    pub target: Target,
}

/// Where the data is.
#[derive(Clone, Debug, Default, Args)]
pub struct Target {
    /// Server to ask [setting AOS_URL].
    #[arg(long, global = true, value_hint = ValueHint::Url)]
    pub url: Option<String>,
    /// Read and write this SQLite file, or the database at this URL, instead of asking a server.
    #[arg(id = "target_db", long = "db", global = true, value_name = "FILE|URL", value_hint = ValueHint::FilePath, conflicts_with = "url")]
    pub db: Option<String>,
}

/// Which database to bring up to date.
#[derive(Clone, Debug, Args)]
pub struct MigrateArgs {
    /// SQLite file, or URL of a database [setting DATABASE_URL].
    #[arg(long, value_name = "FILE|URL", value_hint = ValueHint::FilePath)]
    pub db: Option<String>,
    /// Only show the changes that the tables lack, with their SQL.
    #[arg(long)]
    pub dry_run: bool,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".into()),
    }
}

fn money(text: &str) -> Result<aos_core::money::Money, String> {
    text.parse().map_err(|_| format!("{text:?} is not an amount of US dollars: expected for example 0.50"))
}

fn run_id(text: &str) -> Result<aos_core::id::RunId, String> {
    text.parse().map_err(|e: aos_core::id::IdError| e.to_string())
}

fn state(text: &str) -> Result<aos_core::runs::RunState, String> {
    aos_core::runs::RunState::from_text(text).ok_or_else(|| {
        let names = aos_core::runs::RunState::ALL.map(aos_core::runs::RunState::as_str);
        format!("there is no state {text:?}: expected one of {}", names.join(", "))
    })
}

impl Cli {
    /// Reads the command line; wrong usage ends the process with exit code 2, help and version with 0.
    pub fn from_command_line() -> Self {
        let cli = Self::parse();
        if cli.command.is_some() && cli.serve != ServeArgs::default() {
            let message = "--host, --port and --db before a subcommand are for serving: put them behind it";
            command().error(clap::error::ErrorKind::ArgumentConflict, message).exit();
        }
        cli
    }
}

/// The whole command, for completions and help.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::command().debug_assert();
    }

    /// `docs/src/command-line.md` holds the help of every command.
    #[test]
    fn command_line_page_is_up_to_date() {
        let mut page = String::from(
            "# Command line\n\n<!-- Generated: `AOS_BLESS=1 cargo test -p aos-server command_line_page` rewrites it. -->\n",
        );
        // Laid out for a page, whatever the terminal that runs the test.
        let mut command = super::command().term_width(100);
        command.build();
        describe(&mut page, command, 1);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/command-line.md");
        if std::env::var_os("AOS_BLESS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(found, page, "run AOS_BLESS=1 cargo test -p aos-server command_line_page");
    }

    fn describe(page: &mut String, mut command: clap::Command, depth: usize) {
        let name = command.get_bin_name().unwrap_or("aos-server").to_owned();
        let help = command.render_long_help().to_string();
        let help: Vec<_> = help.lines().map(str::trim_end).collect();
        writeln!(page, "\n{} `{name}`\n\n```text\n{}\n```", "#".repeat(depth + 1), help.join("\n").trim_end()).unwrap();
        for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
            describe(page, child.clone(), (depth + 1).min(3));
        }
    }
}
