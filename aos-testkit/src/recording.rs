//! The results of a recorded run as a source of skills: every attempt gives again what it gave then.

use std::collections::BTreeMap;
use std::sync::Arc;

use aos_core::canonical::Hash;
use aos_core::event::{Event, Requested, RunStarted};
use aos_core::id::EffectId;
use aos_core::journal::Line;
use aos_core::payload::Payload;
use aos_core::replay::{ReplayError, verify_chain};
use aos_core::runs::Message;
use aos_core::skill::{Skill, SkillCall, SkillContract, SkillOutput, SkillResult, SkillSource, SkillVersion};
use aos_core::time::{Clock, Timestamp};
use aos_core::{BoxFuture, Code, Failure, codes};

/// The code of an attempt that the recording has no result for. Never retryable.
pub const ERR_NOT_RECORDED: &str = "ERR_NOT_RECORDED";

/// What a journal knows about the outside of its run.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The run's first entry.
    pub started: RunStarted,
    /// When the run began.
    pub started_at: Timestamp,
    /// What was sent to the run, and when.
    pub messages: Vec<(Timestamp, Message)>,
    inputs: BTreeMap<EffectId, Hash>,
    results: BTreeMap<(EffectId, u32), (Timestamp, SkillResult)>,
}

impl Recording {
    /// Reads a journal; `blob` finds payloads kept outside.
    ///
    /// # Errors
    /// A damaged journal, or one that does not begin with `run_started`.
    pub fn read(lines: &[Line], blob: &dyn Fn(&Hash) -> Option<Payload>) -> Result<Self, ReplayError> {
        let mut entries = verify_chain(lines, blob)?.into_iter();
        let (started, started_at) = match entries.next().map(|entry| (entry.event, entry.at)) {
            Some((Event::RunStarted(started), at)) => (started, at),
            _ => {
                let why = "the first entry is not of type \"run_started\"".into();
                return Err(ReplayError::Corrupt { index: 0, why });
            }
        };
        let (inputs, results) = (BTreeMap::new(), BTreeMap::new());
        let mut recording = Self { started, started_at, messages: Vec::new(), inputs, results };
        for entry in entries {
            recording.learn(entry.at, entry.event);
        }
        Ok(recording)
    }

    fn learn(&mut self, at: Timestamp, event: Event) {
        match event {
            Event::EffectRequested { effect, request: Requested::Call { input, .. } } => {
                self.inputs.insert(effect, input.hash());
            }
            Event::EffectCompleted { effect, attempt, output, cost, .. } => {
                self.results.insert((effect, attempt), (at, Ok(SkillOutput { output, cost })));
            }
            Event::AttemptFailed { effect, attempt, failure, .. }
            | Event::EffectFailed { effect, attempt, failure } => {
                self.results.insert((effect, attempt), (at, Err(failure)));
            }
            Event::SignalReceived { name, payload, .. } => self.messages.push((at, Message::Signal { name, payload })),
            Event::CancelRequested { reason, .. } => self.messages.push((at, Message::Cancel { reason })),
            Event::RunStarted(_) | Event::EffectRequested { .. } | Event::RunFinished(_) => {}
        }
    }

    /// The results as skills. An attempt of an effect with another input, or one that was never made, goes to `live`,
    /// and fails with [`ERR_NOT_RECORDED`] when there is no such skill. With `pace`, results come when they came then.
    pub fn skills(
        self: &Arc<Self>,
        live: Option<Arc<dyn SkillSource>>,
        pace: Option<Arc<dyn Clock>>,
    ) -> RecordedSkills {
        RecordedSkills { recording: Arc::clone(self), live, pace }
    }
}

/// See [`Recording::skills`].
pub struct RecordedSkills {
    recording: Arc<Recording>,
    live: Option<Arc<dyn SkillSource>>,
    pace: Option<Arc<dyn Clock>>,
}

impl SkillSource for RecordedSkills {
    fn skill(&self, version: &SkillVersion) -> Option<Arc<dyn Skill>> {
        let live = self.live.as_ref().and_then(|live| live.skill(version));
        let contract = match &live {
            Some(live) => live.contract().clone(),
            None => SkillContract::idempotent(version.id.as_str(), &version.version.to_string()).ok()?,
        };
        Some(Arc::new(RecordedSkill {
            contract,
            recording: Arc::clone(&self.recording),
            live,
            pace: self.pace.clone(),
        }))
    }
}

struct RecordedSkill {
    contract: SkillContract,
    recording: Arc<Recording>,
    live: Option<Arc<dyn Skill>>,
    pace: Option<Arc<dyn Clock>>,
}

impl Skill for RecordedSkill {
    fn contract(&self) -> &SkillContract {
        &self.contract
    }

    fn call(&self, call: SkillCall) -> BoxFuture<'_, SkillResult> {
        Box::pin(async move {
            let recorded = (call.run == self.recording.started.run
                && self.recording.inputs.get(&call.effect) == Some(&call.input.hash()))
            .then(|| self.recording.results.get(&(call.effect.clone(), call.attempt)))
            .flatten();
            match (recorded, &self.live) {
                // It was cut off then, and so it must be now: by the run's own cancellation, not by an answer.
                (Some((_, Err(failure))), _) if failure.code == codes::CANCELLED => std::future::pending().await,
                (Some((at, result)), _) => {
                    if let Some(clock) = &self.pace {
                        clock.sleep_until(*at).await;
                    }
                    result.clone()
                }
                (None, Some(live)) => live.call(call).await,
                (None, None) => Err(Failure::new(Code::custom(ERR_NOT_RECORDED), not_recorded(&call))),
            }
        })
    }
}

fn not_recorded(call: &SkillCall) -> String {
    format!(
        "the recording has no result for attempt {} of effect {} with this input, and there is no skill to ask: {}",
        call.attempt,
        call.effect,
        call.input.as_str().chars().take(200).collect::<String>()
    )
}
