//! `registry …`

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::Target;

/// `registry …`
#[derive(Debug, Args)]
pub struct RegistryArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub command: RegistryCommand,
}

/// `registry …`
#[derive(Debug, Subcommand)]
pub enum RegistryCommand {
    /// Write every skill contract and workflow as one JSON document.
    Export {
        /// Where to write; standard output when left out.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        to: Option<PathBuf>,
    },
    /// Add what an exported document holds; what is there already stays.
    Import {
        /// The document; `-` for standard input.
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Only say what would be added.
        #[arg(long)]
        dry_run: bool,
    },
    /// List skills and workflows.
    List,
    /// Say how two exported documents differ, and which version bump each change needs; fails on breaking changes.
    Diff {
        /// The older document.
        #[arg(value_hint = ValueHint::FilePath)]
        old: PathBuf,
        /// The newer document; what the server has when left out.
        #[arg(value_hint = ValueHint::FilePath)]
        new: Option<PathBuf>,
    },
    /// Keep the registry as it is now, to come back to; prints the snapshot's hash.
    Snapshot,
    /// List the kept snapshots, newest first.
    Snapshots,
    /// Bring the registry back to a kept snapshot; versions registered since are switched off.
    Rollback {
        /// The snapshot's hash; its first digits, at least 8, are enough.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        hash: String,
    },
    /// List the latest changes, newest first.
    Audit {
        /// At most this many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
    /// Take a version out of use.
    Disable {
        #[command(flatten)]
        version: Version,
        /// Why: those whose runs fail of it see it.
        #[arg(long)]
        reason: String,
    },
    /// Put a version back into use.
    Enable(Version),
}

/// One version of a skill or workflow.
#[derive(Debug, Args)]
pub struct Version {
    /// Of what.
    #[arg(value_enum)]
    pub kind: Kind,
    /// `id@1.2.3`.
    #[arg(value_name = "ID@VERSION", value_parser = NonEmptyStringValueParser::new())]
    pub version: String,
}

/// What is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A skill.
    Skill,
    /// A workflow.
    Workflow,
}
