//! `audit …`

use std::path::PathBuf;

use aos_core::audit::Stage;
use clap::{Args, Subcommand, ValueHint};

use super::{CostsArgs, Target};

/// `audit …`
#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// `audit …`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Search for who changed what, newest first.
    Search(SearchArgs),
    /// Check that nobody has changed or removed anything of the log.
    Verify {
        /// File with the public key (PEM) of whoever may sign; any key may when left out.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        public_key: Option<PathBuf>,
        /// File with a checkpoint that was kept elsewhere: the log must still have its record.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        checkpoint: Option<PathBuf>,
    },
    /// Print the last signed checkpoint as JSON, to be kept where nobody who can write the database can.
    Checkpoint,
    /// List the most expensive runs, by the account of model calls.
    TopCost(CostsWindow),
}

/// What to search for.
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// Only records with this in their subject or detail, letter by letter.
    pub text: Option<String>,
    /// Only by this actor: the name of an API key, `anybody`, or `… at the database`.
    #[arg(long)]
    pub actor: Option<String>,
    /// Only of this operation, such as turnSwitch; /openapi.json has them all.
    #[arg(long)]
    pub action: Option<String>,
    /// Only at this stage: asked, done or failed.
    #[arg(long, value_parser = stage)]
    pub stage: Option<Stage>,
    /// Only what came with this request.
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Only records of this time or later: a day (UTC) such as 2026-11-23, or a time such as 2026-11-23T20:15:00Z.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only records before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// At most this many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub limit: u32,
}

/// Which calls, and how many runs.
#[derive(Debug, Args)]
pub struct CostsWindow {
    /// Only calls made at this time or later: a day (UTC) such as 2026-11-23, or a time such as 2026-11-23T20:15:00Z.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only calls made before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only calls of this workflow's runs, whatever its version.
    #[arg(long, value_name = "ID")]
    pub workflow: Option<String>,
    /// At most this many runs.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

impl CostsWindow {
    /// The same as `costs --by run`.
    pub fn by_run(self, target: Target) -> CostsArgs {
        let Self { since, until, workflow, limit } = self;
        CostsArgs { target, by: aos_core::ledger::CostBy::Run, since, until, run: None, workflow, limit }
    }
}

fn stage(text: &str) -> Result<Stage, String> {
    Stage::from_text(text).ok_or_else(|| {
        format!("there is no stage {text:?}: expected one of {}", Stage::ALL.map(Stage::as_str).join(", "))
    })
}
