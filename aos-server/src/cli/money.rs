//! `costs …`, `budgets …` and `recost …`

use std::path::PathBuf;

use aos_core::ledger::{CostBy, Period, Scope, ScopeError};
use aos_core::money::Money;
use clap::{Args, Subcommand, ValueHint};

use super::{Target, money};

/// `costs …`
#[derive(Debug, Args)]
pub struct CostsArgs {
    #[command(flatten)]
    pub target: Target,
    /// By what to sum up: model, workflow, day, run, effect, attempt, adapter or key (the caller's API key).
    #[arg(long, default_value = "day", value_parser = cost_by)]
    pub by: CostBy,
    /// Only calls made at this time or later: a day (UTC) such as 2026-11-23, or a time such as 2026-11-23T20:15:00Z.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only calls made before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only calls of this run.
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Only calls of this workflow's runs, whatever its version.
    #[arg(long, value_name = "ID")]
    pub workflow: Option<String>,
    /// At most this many lines.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// `budgets …`
#[derive(Debug, Args)]
pub struct BudgetsArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub command: Option<BudgetsCommand>,
}

/// `budgets …`
#[derive(Debug, Subcommand)]
pub enum BudgetsCommand {
    /// List budgets, and how much of each is used. The same as without a subcommand.
    List,
    /// Set or change a budget; calls that were made before, in the same period, count as well.
    Set {
        #[command(flatten)]
        which: WhichBudget,
        /// The most that the calls may cost, in US dollars, for example 25.
        #[arg(value_name = "USD", value_parser = money)]
        limit: Money,
    },
    /// Remove a budget.
    Remove(WhichBudget),
}

/// One budget.
#[derive(Clone, Debug, Args)]
pub struct WhichBudget {
    /// Whose calls: tenant (all of them), workflow:ID, or key:ID for those that an API key asked for.
    #[arg(value_parser = scope)]
    pub scope: Scope,
    /// What the limit is for: day (UTC), or total for all time.
    #[arg(long, default_value = "day", value_parser = period)]
    pub period: Period,
}

/// `recost …`
#[derive(Debug, Args)]
pub struct RecostArgs {
    #[command(flatten)]
    pub target: Target,
    /// Golden file, journal (JSON lines), or id of an ended run on the server or in `--db`; `-` for standard input.
    #[arg(value_name = "FILE|RUN", value_hint = ValueHint::FilePath)]
    pub source: String,
    /// Price book (JSON) whose models are added to those of this release, or replace them; the book that each call was
    /// recorded with when left out.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub prices: Option<PathBuf>,
}

fn cost_by(text: &str) -> Result<CostBy, String> {
    CostBy::from_text(text).ok_or_else(|| {
        let known = CostBy::ALL.map(CostBy::as_str).join(", ");
        format!("{text:?} is not one: expected one of {known}")
    })
}

fn scope(text: &str) -> Result<Scope, String> {
    text.parse().map_err(|e: ScopeError| e.to_string())
}

fn period(text: &str) -> Result<Period, String> {
    Period::from_text(text).ok_or_else(|| format!("{text:?} is not one: expected day or total"))
}
