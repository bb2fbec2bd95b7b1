//! Wire forms of what the API shows.

use aos_core::Failure;
use aos_core::canonical::Hash;
use aos_core::event::Fork;
use aos_core::payload::Payload;
use aos_core::runs::{RunRecord, RunState};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::waits::{On, Wait};

/// A run.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Run")]
pub struct RunView {
    /// The run's id.
    #[schema(example = "01890a5d-ac96-774b-bcce-b302099a8057")]
    pub id: String,
    /// `id@version` of the workflow.
    #[schema(example = "workflow_data_extraction@1.0.0")]
    pub workflow: String,
    /// SHA-256 of the plan that the run executes.
    pub plan_hash: String,
    /// Where the run stands.
    #[schema(value_type = StateName)]
    pub state: RunState,
    /// What it was given.
    #[schema(value_type = Value)]
    pub input: Payload,
    /// What it gave; `null` until it has succeeded.
    #[schema(value_type = Value)]
    pub output: Option<Payload>,
    /// Why it did not succeed; `null` otherwise.
    pub error: Option<FailureView>,
    /// Its seed.
    pub seed: u64,
    /// What it may spend, in US dollars as a decimal string; `null` for no limit of its own.
    #[schema(example = "0.50")]
    pub budget_usd: Option<String>,
    /// What it has cost, in US dollars as an exact decimal string; known when it has ended.
    #[schema(example = "0.00125")]
    pub cost_usd: String,
    /// The same in cents, rounded up to a hundredth of a cent.
    #[schema(example = 0.13)]
    pub cost_cents: f64,
    /// SHA-256 over the run's meaning; known when it has ended.
    pub content_hash: Option<String>,
    /// When it was accepted, RFC 3339.
    #[schema(example = "2026-11-23T20:15:00.123Z")]
    pub created_at: String,
    /// When it ended, RFC 3339.
    pub finished_at: Option<String>,
    /// The run that started it as a child.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The run it branched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkView>,
    /// The request that created it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The trace that it is a part of, as W3C Trace Context has it: 32 hex digits.
    pub trace_id: String,
    /// How many workers in a row have died with it without getting any further.
    #[serde(skip_serializing_if = "is_zero")]
    pub rescues: u32,
    /// How urgent it is, from 0 to 9.
    pub priority: u8,
    /// It does not start before this time, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_at: Option<String>,
    /// It was asked to pause, and its worker has not let go of it yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pausing: bool,
    /// What it waits for, in the order in which it was asked for: only when one run is looked at, while it is open, and
    /// its journal is no longer than 10,000 entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<Vec<WaitView>>,
    /// Where to go from here.
    pub links: RunLinks,
}

/// An effect that a run waits for.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Wait")]
pub struct WaitView {
    /// The effect.
    #[schema(example = "approval")]
    pub effect: String,
    /// `signal`, `timer`, `retry` (the pause after a failed attempt), `child` or `skill`.
    #[schema(example = "signal")]
    pub kind: &'static str,
    /// When it was asked for, or its last attempt failed, RFC 3339.
    pub since: String,
    /// Name of the signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When the time is up, RFC 3339; of a retry, when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The attempt that a retry is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The child run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// `id@version` of the child's workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// `id@version` of the skill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skill: Option<String>,
}

/// Where a run branched off another one.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Fork")]
pub struct ForkView {
    /// The original run.
    pub run: String,
    /// The first effect that the fork does anew.
    pub effect: String,
}

/// Where to go from a run.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunLinks {
    /// The run itself.
    #[serde(rename = "self")]
    pub this: String,
    /// Its journal, as JSON lines.
    pub journal: String,
    /// Its entries as they come, as server-sent events.
    pub events: String,
    /// The golden file, once the run has ended.
    pub golden: String,
}

/// A failure of a run.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Failure")]
pub struct FailureView {
    /// The stable code, or a skill's own.
    #[schema(example = "ERR_TIMEOUT")]
    pub code: String,
    /// What was wrong, where, and what was expected.
    pub message: String,
    /// Whether the same may succeed later.
    pub retryable: bool,
    /// Structured facts, depending on the code.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

/// The names of the states of a run.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(title = "RunState", rename_all = "snake_case")]
pub enum StateName {
    /// Accepted, not begun.
    Queued,
    /// A worker has it.
    Running,
    /// It waits for a timer, a signal or a child.
    Parked,
    /// An operator paused it.
    Paused,
    /// It gave an output.
    Succeeded,
    /// It failed.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// It killed its workers too often; an operator decides.
    Dead,
}

/// A registered workflow by name, or a definition to run as it is.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected the name of a workflow, or a definition (an object)")]
pub enum WorkflowChoice {
    /// `id`, `id@1.2.3` or `id@^1`.
    Name(String),
    /// A definition.
    Definition(serde_json::Map<String, Value>),
}

/// A page of a list, newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunList {
    /// The runs.
    pub runs: Vec<RunView>,
    /// Give this as `cursor` for the next page; `null` at the end.
    pub next: Option<String>,
}

impl From<RunRecord> for RunView {
    fn from(record: RunRecord) -> Self {
        let new = record.new;
        let trace_id = new.trace().trace_text();
        let base = format!("/v1/runs/{}", new.run);
        Self {
            id: new.run.to_string(),
            workflow: new.workflow.to_string(),
            plan_hash: new.plan.to_string(),
            state: record.state,
            input: new.input,
            output: record.output,
            error: record.failure.map(Into::into),
            seed: new.seed.get(),
            budget_usd: new.budget.map(|budget| budget.to_string()),
            cost_usd: record.cost.to_string(),
            cost_cents: record.cost.cents_rounded(),
            content_hash: record.content_hash.as_ref().map(Hash::to_string),
            created_at: record.created_at.to_string(),
            finished_at: record.finished_at.map(|at| at.to_string()),
            parent: new.parent.map(|parent| parent.to_string()),
            forked_from: new.forked_from.map(Into::into),
            trace_id,
            request_id: new.request_id,
            rescues: record.rescues,
            priority: new.priority.get(),
            start_at: new.start_at.map(|at| at.to_string()),
            pausing: record.pausing,
            waiting_for: None,
            links: RunLinks {
                journal: format!("{base}/journal"),
                events: format!("{base}/events"),
                golden: format!("{base}/golden"),
                this: base,
            },
        }
    }
}

impl From<Wait> for WaitView {
    fn from(wait: Wait) -> Self {
        let kind = match wait.on {
            On::Signal { .. } => "signal",
            On::Timer { .. } => "timer",
            On::Retry { .. } => "retry",
            On::Child { .. } => "child",
            On::Skill { .. } => "skill",
        };
        let mut view = Self {
            effect: wait.effect.to_string(),
            kind,
            since: wait.since.to_string(),
            name: None,
            until: None,
            attempt: None,
            run: None,
            workflow: None,
            skill: None,
        };
        match wait.on {
            On::Signal { name } => view.name = Some(name),
            On::Timer { until } => view.until = Some(until.to_string()),
            On::Retry { attempt, until } => (view.attempt, view.until) = (Some(attempt), Some(until.to_string())),
            On::Child { run, workflow } => {
                (view.run, view.workflow) = (Some(run.to_string()), Some(workflow.to_string()));
            }
            On::Skill { skill } => view.skill = Some(skill.to_string()),
        }
        view
    }
}

impl From<Fork> for ForkView {
    fn from(fork: Fork) -> Self {
        Self { run: fork.run.to_string(), effect: fork.effect.to_string() }
    }
}

impl From<Failure> for FailureView {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code.to_string(),
            message: failure.message,
            retryable: failure.retryable,
            details: failure.details,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
