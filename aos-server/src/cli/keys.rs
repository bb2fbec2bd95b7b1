//! `keys …`

use std::time::Duration;

use aos_core::keys::Scope;
use clap::{Args, Subcommand};

use super::Target;
use crate::http::params::duration;

/// `keys …`
#[derive(Debug, Args)]
pub struct KeysArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub command: Option<KeysCommand>,
}

/// `keys …`
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List all keys, without their texts. The same as without a subcommand.
    List,
    /// Make a key, and show it this once.
    Create {
        /// What people will call it.
        label: String,
        /// What it is good for: read, run (which includes read) or admin (everything).
        #[arg(long, value_parser = scope)]
        scope: Scope,
        /// How long it is good for, such as 90d or 12h; for ever when left out.
        #[arg(long, value_name = "DURATION", value_parser = lasts)]
        expires_in: Option<Duration>,
        /// Who makes it; the user of this shell when left out.
        #[arg(long)]
        by: Option<String>,
    },
    /// Make a key good for nothing, in every process within two seconds.
    Revoke {
        /// The key's name: the part of its text between aos_ and the next _.
        #[arg(value_name = "KEY")]
        id: String,
    },
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::from_text(text).ok_or_else(|| {
        format!("there is no scope {text:?}: expected one of {}", Scope::ALL.map(Scope::as_str).join(", "))
    })
}

fn lasts(text: &str) -> Result<Duration, String> {
    duration(text)
        .filter(|lasts| *lasts >= Duration::from_secs(1))
        .ok_or_else(|| "expected a duration such as 90d or 12h".into())
}
