//! What flows between program, engine, host and journal: plain values, no behaviour.

use std::sync::Arc;
use std::time::Duration;

use crate::canonical::Hash;
use crate::error::Failure;
use crate::id::{EffectId, RunId, TenantId};
use crate::money::Money;
use crate::payload::Payload;
use crate::random::Seed;
use crate::skill::{CrashClass, SkillVersion};
use crate::time::Timestamp;
use crate::workflow::{Plan, WorkflowVersion};

/// What a run learned or decided: the content of one journal entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The first entry: everything the run's meaning depends on besides its effects.
    RunStarted(RunStarted),
    /// A program asked for an effect: the intent, durable before the effect is executed.
    EffectRequested {
        /// Which effect.
        effect: EffectId,
        /// What is asked.
        request: Requested,
    },
    /// An effect ended well.
    EffectCompleted {
        /// Which effect.
        effect: EffectId,
        /// The attempt that did it, from 1.
        attempt: u32,
        /// What it gave.
        output: Payload,
        /// What this attempt cost.
        cost: Money,
        /// The content hash of a child run.
        child: Option<Hash>,
    },
    /// An attempt failed and another one follows.
    AttemptFailed {
        /// Which effect.
        effect: EffectId,
        /// The attempt that failed, from 1.
        attempt: u32,
        /// Why; its cost is this attempt's.
        failure: Failure,
        /// When the next attempt starts.
        retry_at: Timestamp,
    },
    /// An effect failed for good.
    EffectFailed {
        /// Which effect.
        effect: EffectId,
        /// The last attempt, from 1; 0 when none was made.
        attempt: u32,
        /// Why; its cost is this attempt's.
        failure: Failure,
    },
    /// A signal came.
    SignalReceived {
        /// Its number in the run's inbox, rising.
        seq: u64,
        /// Its name.
        name: String,
        /// What it carries.
        payload: Payload,
    },
    /// Somebody asked the run to stop.
    CancelRequested {
        /// Its number in the run's inbox.
        seq: u64,
        /// Why, for people.
        reason: String,
    },
    /// The last entry.
    RunFinished(RunFinished),
}

/// The content of a run's first entry.
#[derive(Clone, Debug, PartialEq)]
pub struct RunStarted {
    /// The run.
    pub run: RunId,
    /// Its owner.
    pub tenant: TenantId,
    /// Which workflow, for people; the plan hash decides.
    pub workflow: WorkflowVersion,
    /// Hash of the plan.
    pub plan: Hash,
    /// The run's input.
    pub input: Payload,
    /// The run's seed.
    pub seed: Seed,
    /// What it may spend.
    pub budget: Option<Money>,
    /// The run this one was forked from.
    pub forked_from: Option<Fork>,
}

/// Where a run branched off another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The original run.
    pub run: RunId,
    /// The first effect that the fork does anew.
    pub effect: EffectId,
}

/// What a program asked for, as the journal keeps it.
#[derive(Clone, Debug, PartialEq)]
pub enum Requested {
    /// Call a skill.
    Call {
        /// The exact version.
        skill: SkillVersion,
        /// The input.
        input: Payload,
    },
    /// Run a child workflow.
    Child {
        /// The exact version.
        workflow: WorkflowVersion,
        /// The input.
        input: Payload,
    },
    /// Let time pass.
    Sleep {
        /// Milliseconds.
        duration_ms: u64,
    },
    /// Wait for a signal.
    Signal {
        /// Its name.
        name: String,
    },
    /// Read the clock.
    Now,
    /// Draw a random number.
    Random,
    /// Ask whether this run knows a code change.
    Patched {
        /// The change's name.
        name: String,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunStatus {
    /// It gave an output.
    Succeeded,
    /// It failed.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl RunStatus {
    /// The status as wire text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The content of a run's last entry.
#[derive(Clone, Debug, PartialEq)]
pub struct RunFinished {
    /// How it ended.
    pub status: RunStatus,
    /// The output, when it succeeded.
    pub output: Option<Payload>,
    /// The failure, when it did not.
    pub failure: Option<Failure>,
    /// What all attempts cost.
    pub cost: Money,
    /// SHA-256 over the run's meaning.
    pub content_hash: Hash,
}

/// Something the host learned and tells the engine.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// An attempt ended well.
    Completed {
        /// Which effect.
        effect: EffectId,
        /// Which attempt.
        attempt: u32,
        /// What it gave.
        output: Payload,
        /// What it cost.
        cost: Money,
        /// The content hash, for a child run.
        child: Option<Hash>,
    },
    /// An attempt failed.
    Failed {
        /// Which effect.
        effect: EffectId,
        /// Which attempt.
        attempt: u32,
        /// Why, and what it cost.
        failure: Failure,
    },
    /// A signal came. Numbers that were applied before are ignored.
    Signal {
        /// Its number in the run's inbox, rising from 1.
        seq: u64,
        /// Its name.
        name: String,
        /// What it carries.
        payload: Payload,
    },
    /// Somebody asked the run to stop.
    Cancel {
        /// Its number in the run's inbox, rising from 1.
        seq: u64,
        /// Why.
        reason: String,
    },
    /// Time has passed: timers that are due fire.
    Tick,
}

/// What the host is to carry out.
#[derive(Clone, Debug)]
pub enum HostEffect {
    /// Execute one attempt of a skill, then report [`Fact::Completed`] or [`Fact::Failed`].
    Call(CallEffect),
    /// Run a child (or join it, when it exists), then report its outcome.
    Child(ChildEffect),
    /// Abandon the attempt in flight: its result is no longer wanted.
    Abort {
        /// Which effect.
        effect: EffectId,
    },
}

/// One attempt of a skill to execute.
#[derive(Clone, Debug)]
pub struct CallEffect {
    /// Which effect.
    pub effect: EffectId,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The exact skill.
    pub skill: SkillVersion,
    /// Its crash class: anything but `pure` waits until its intent is durable.
    pub crash: CrashClass,
    /// The input.
    pub input: Payload,
    /// The run it belongs to.
    pub run: RunId,
    /// The run's seed.
    pub run_seed: Seed,
    /// When the engine will give up on the attempt.
    pub deadline: Option<Timestamp>,
}

impl CallEffect {
    /// What a skill deduplicates by: a function of run and effect, never of the attempt.
    pub fn idempotency_key(&self) -> String {
        self.effect.key_in(&self.run)
    }

    /// A seed of this effect's own.
    pub fn seed(&self) -> Seed {
        self.run_seed.derive(self.effect.as_str())
    }
}

/// A child run to start or join.
#[derive(Clone, Debug)]
pub struct ChildEffect {
    /// Which effect of the parent.
    pub effect: EffectId,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The child's id, derived from the parent's and the effect's.
    pub run: RunId,
    /// What it executes.
    pub plan: Arc<Plan>,
    /// Its input.
    pub input: Payload,
    /// Its seed, derived from the parent's.
    pub seed: Seed,
    /// What it may spend: what the parent has left.
    pub budget: Option<Money>,
}

/// What a program asks of the engine.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The effect's structural name, chosen by the program.
    pub effect: EffectId,
    /// What is asked.
    pub command: Command,
}

/// The kinds of things a program may ask for.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// Call a pinned skill.
    Call { skill: SkillVersion, input: Payload, retry: Option<crate::retry::RetryPolicy>, timeout: Option<Duration> },
    /// Run a pinned child workflow.
    Child { workflow: WorkflowVersion, input: Payload },
    /// Let time pass.
    Sleep(Duration),
    /// Wait for a signal.
    Signal { name: String, timeout: Option<Duration> },
    /// Read the clock: the output is milliseconds since the Unix epoch.
    Now,
    /// Draw a random number: the output is an integer below 2^53.
    Random,
    /// Ask whether this run knows a code change: the output is a boolean.
    Patched { name: String },
    /// Fail at once without an intent: the program could not even form the request (an expression failed, say).
    Fail(Failure),
}
