//! `schedules …`

use aos_core::queue::Priority;
use aos_core::schedules::Overlap;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

use super::Target;

/// `schedules …`
#[derive(Debug, Args)]
pub struct SchedulesArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub command: SchedulesCommand,
}

/// `schedules …`
#[derive(Debug, Subcommand)]
pub enum SchedulesCommand {
    /// List schedules, by name.
    List,
    /// Show one schedule, and what became of the last time it was due.
    Get(ScheduleId),
    /// Make a schedule, or replace the one of its name.
    Put(Box<PutArgs>),
    /// Remove a schedule; runs that it has begun go on.
    Remove(ScheduleId),
    /// Begin nothing until it is resumed.
    Pause(ScheduleId),
    /// Go on; times that passed meanwhile are not made up for.
    Resume(ScheduleId),
    /// Begin a run now, beside those that begin by the calendar.
    Trigger(ScheduleId),
}

/// A schedule's name.
#[derive(Clone, Debug, Args)]
pub struct ScheduleId {
    /// The schedule.
    #[arg(value_name = "SCHEDULE", value_parser = schedule_id)]
    pub id: aos_core::id::ScheduleId,
}

/// What a schedule is made of.
#[derive(Debug, Args)]
pub struct PutArgs {
    #[command(flatten)]
    pub schedule: ScheduleId,
    /// Workflow to begin, resolved each time: ID, ID@1.2.3 or ID@^1.
    #[arg(long, value_name = "WORKFLOW", value_parser = NonEmptyStringValueParser::new())]
    pub workflow: String,
    /// When: minute, hour, day of the month, month and day of the week ("0 9 * * MON-FRI"), with seconds before them if
    /// they matter; or @hourly, @daily, @weekly, @monthly, @yearly.
    #[arg(long, value_name = "EXPRESSION")]
    pub cron: String,
    /// Time zone of the expression, an IANA name.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub time_zone: String,
    /// Input of every run as JSON, `@file`, or `-` for standard input; `{}` when left out.
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub input: Option<String>,
    /// How urgent the runs are, from 0 to 9.
    #[arg(long, default_value_t = Priority::default())]
    pub priority: Priority,
    /// What to do when a time comes while the run of an earlier one has not ended: skip or allow.
    #[arg(long, default_value = "skip", value_parser = overlap)]
    pub overlap: Overlap,
    /// Begin nothing until it is resumed; when left out, a schedule that is there stays paused or not.
    #[arg(long)]
    pub paused: bool,
}

fn schedule_id(text: &str) -> Result<aos_core::id::ScheduleId, String> {
    text.parse().map_err(|e: aos_core::id::IdError| e.to_string())
}

fn overlap(text: &str) -> Result<Overlap, String> {
    Overlap::from_text(text).ok_or_else(|| format!("{text:?} is not one: expected skip or allow"))
}
