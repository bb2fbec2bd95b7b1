//! `runs …`

use aos_core::runs::RunState;
use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args, Subcommand};

use super::{Target, run_id, state};

/// `runs …`
#[derive(Debug, Args)]
pub struct RunsArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub command: RunsCommand,
}

/// `runs …`
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// List runs, newest first.
    List {
        #[command(flatten)]
        filter: ListFilter,
        /// At most this many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show one run, and what it waits for.
    Get(RunId),
    /// Print a run's journal, one entry a line.
    Journal(RunId),
    /// Ask a run to stop, or all that fit.
    Cancel {
        #[command(flatten)]
        which: Which,
        /// Why, for the journal.
        #[arg(long, default_value = "cancelled from the command line")]
        reason: String,
    },
    /// Ask a run to pause, or all that fit: what is under way ends, nothing new is begun.
    Pause(Which),
    /// Let a paused run go on, or all that fit.
    Resume(Which),
    /// Retry a failed run as a new one from what failed it, a dead run as it is, or all that fit, each once.
    Retry(Which),
    /// Approve what a run waits for.
    Approve(Answer),
    /// Reject what a run waits for.
    Reject(Answer),
    /// Send a signal to a run.
    Signal {
        #[command(flatten)]
        run: RunId,
        /// The signal's name.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
        /// What it carries: JSON, `@file`, or `-` for standard input; null when left out.
        #[arg(long, value_name = "JSON|@FILE|-")]
        payload: Option<String>,
    },
    /// Start a new run that shares a run's history up to an effect and does that effect anew.
    Fork {
        #[command(flatten)]
        run: RunId,
        /// The first effect that is done anew.
        #[arg(long = "at", value_name = "EFFECT", value_parser = NonEmptyStringValueParser::new())]
        effect: String,
        /// Give the effect this output instead of doing it: JSON, `@file`, or `-`.
        #[arg(long = "with-output", value_name = "JSON|@FILE|-")]
        edited: Option<String>,
    },
    /// Wait until a run has ended; fails when the run did.
    Wait {
        #[command(flatten)]
        run: RunId,
        /// Give up after this many seconds.
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
    },
    /// Delete ended runs with their journals, in batches that hold up nothing.
    Purge(PurgeArgs),
}

/// Which runs to list.
#[derive(Debug, Args)]
pub struct ListFilter {
    /// Only in these states: queued, running, parked, paused, succeeded, failed, cancelled, dead.
    #[arg(long = "state", value_delimiter = ',', value_parser = state)]
    pub states: Vec<RunState>,
    /// Only of this workflow.
    #[arg(long, value_name = "ID")]
    pub workflow: Option<String>,
    /// Only children of this run.
    #[arg(long, value_name = "RUN", value_parser = run_id)]
    pub parent: Option<aos_core::id::RunId>,
    /// Only those created longer ago than this, for example 90m, 12h or 30d.
    #[arg(long, value_name = "AGE")]
    pub older_than: Option<String>,
}

/// One run, or all that fit.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["id", "all"]))]
pub struct Which {
    /// The run.
    #[arg(value_name = "RUN", value_parser = run_id)]
    pub id: Option<aos_core::id::RunId>,
    /// All runs to which this can be done; --state, --workflow, --parent and --older-than narrow that.
    #[arg(long)]
    pub all: bool,
    /// Only in these states.
    #[arg(long = "state", value_delimiter = ',', value_parser = state, conflicts_with = "id")]
    pub states: Vec<RunState>,
    /// Only of this workflow.
    #[arg(long, value_name = "ID", conflicts_with = "id")]
    pub workflow: Option<String>,
    /// Only children of this run.
    #[arg(long, value_name = "RUN", value_parser = run_id, conflicts_with = "id")]
    pub parent: Option<aos_core::id::RunId>,
    /// Only those created longer ago than this, for example 90m, 12h or 30d.
    #[arg(long, value_name = "AGE", conflicts_with = "id")]
    pub older_than: Option<String>,
    /// Only say what would be done, and to how many.
    #[arg(long, conflicts_with = "id")]
    pub dry_run: bool,
}

/// Which ended runs to delete.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("age").required(true).args(["older_than", "all"]))]
pub struct PurgeArgs {
    /// Those that ended longer ago than this, for example 12h or 30d.
    #[arg(long, value_name = "AGE")]
    pub older_than: Option<String>,
    /// However long ago they ended.
    #[arg(long)]
    pub all: bool,
    /// Only in these states: succeeded, failed and cancelled when left out; dead runs only when they are named.
    #[arg(long = "state", value_delimiter = ',', value_parser = state)]
    pub states: Vec<RunState>,
    /// Only of this workflow.
    #[arg(long, value_name = "ID")]
    pub workflow: Option<String>,
    /// Only say how many would be deleted.
    #[arg(long)]
    pub dry_run: bool,
}

/// An answer to what a run waits for.
#[derive(Debug, Args)]
pub struct Answer {
    #[command(flatten)]
    pub run: RunId,
    /// Which signal, when the run waits for several.
    #[arg(long, value_name = "SIGNAL")]
    pub name: Option<String>,
    /// Who answers.
    #[arg(long)]
    pub by: Option<String>,
    /// What there is to say about it.
    #[arg(long)]
    pub comment: Option<String>,
}

/// A run's id.
#[derive(Clone, Debug, Args)]
pub struct RunId {
    /// The run.
    #[arg(value_name = "RUN", value_parser = run_id)]
    pub id: aos_core::id::RunId,
}
