//! `queue …`, `dlq …`, `workers …` and `switch …`

use aos_core::switches::Switch;
use clap::{ArgGroup, Args, Subcommand};

use super::runs::RunId;
use super::{Target, run_id};

/// `queue …`
#[derive(Debug, Args)]
pub struct QueueArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub command: Option<QueueCommand>,
}

/// `queue …`
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Show how many runs wait, and the limits. The same as without a subcommand.
    Show,
    /// Set how many runs of a workflow may be held, or attempts of a skill be under way, at the same time, in all
    /// processes together.
    Limit {
        /// The workflow's id, whatever the version.
        id: String,
        /// At most this many; 0 holds them all back, `none` lifts the limit.
        #[arg(value_name = "MAX|none", value_parser = limit)]
        max: Limit,
        /// The id is that of a skill.
        #[arg(long)]
        skill: bool,
    },
}

/// A limit, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<u32>);

/// `dlq …`
#[derive(Debug, Args)]
pub struct DlqArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub command: DlqCommand,
}

/// `dlq …`
#[derive(Debug, Subcommand)]
pub enum DlqCommand {
    /// List dead runs, and why they died.
    List {
        /// Only of this workflow.
        #[arg(long, value_name = "ID")]
        workflow: Option<String>,
        /// At most this many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show one dead run.
    Get(RunId),
    /// Queue a dead run anew, or all that fit: they go on from where they were.
    Retry(DeadWhich),
    /// Give a dead run up, or all that fit: they are cancelled, and their journals stay until they are deleted.
    Discard {
        #[command(flatten)]
        which: DeadWhich,
        /// Why.
        #[arg(long, default_value = "discarded from the command line")]
        reason: String,
    },
}

/// One dead run, or all that fit.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["id", "all"]))]
pub struct DeadWhich {
    /// The run.
    #[arg(value_name = "RUN", value_parser = run_id)]
    pub id: Option<aos_core::id::RunId>,
    /// All dead runs; --workflow and --older-than narrow that.
    #[arg(long)]
    pub all: bool,
    /// Only of this workflow.
    #[arg(long, value_name = "ID", conflicts_with = "id")]
    pub workflow: Option<String>,
    /// Only those created longer ago than this, for example 90m, 12h or 30d.
    #[arg(long, value_name = "AGE", conflicts_with = "id")]
    pub older_than: Option<String>,
    /// Only say what would be done, and to how many.
    #[arg(long, conflicts_with = "id")]
    pub dry_run: bool,
}

/// `workers …`
#[derive(Debug, Args)]
pub struct WorkersArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub command: Option<WorkersCommand>,
}

/// `workers …`
#[derive(Debug, Subcommand)]
pub enum WorkersCommand {
    /// List the processes that advance runs. The same as without a subcommand.
    List,
}

/// `switch …`
#[derive(Debug, Args)]
pub struct SwitchArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub command: SwitchCommand,
}

/// `switch …`
#[derive(Debug, Subcommand)]
pub enum SwitchCommand {
    /// Show all switches, and who turned them.
    List {
        /// How many of the last changes to show.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1_000))]
        history: u32,
    },
    /// Turn a switch on, for every process.
    On {
        #[command(flatten)]
        turn: Turn,
        /// For how long: 30s, 15m, 2h, 1d. Left out, until it is turned off; for debug_logging, an hour.
        #[arg(long = "for", value_name = "TIME")]
        lasts: Option<String>,
    },
    /// Turn a switch off, for every process.
    Off(Turn),
}

/// A switch to turn.
#[derive(Debug, Args)]
pub struct Turn {
    /// disable_live_adapters, force_stub_adapter, pause_claims or debug_logging.
    #[arg(value_name = "SWITCH", value_parser = switch)]
    pub switch: Switch,
    /// Why.
    #[arg(long)]
    pub reason: String,
    /// Who; the user of this shell when left out.
    #[arg(long)]
    pub by: Option<String>,
}

fn switch(text: &str) -> Result<Switch, String> {
    Switch::from_text(&text.replace('-', "_")).ok_or_else(|| {
        format!("there is no switch {text:?}: expected one of {}", Switch::ALL.map(Switch::as_str).join(", "))
    })
}

fn limit(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    text.parse().map(|max| Limit(Some(max))).map_err(|_| "expected a whole number, or none".into())
}
