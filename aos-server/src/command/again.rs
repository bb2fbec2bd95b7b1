//! Doing a recorded run again: its program as it is now, answered by the effects that were recorded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aos_core::driver::NoObserver;
use aos_core::event::{Event, RunStarted};
use aos_core::flow::Flows;
use aos_core::id::{EffectId, RunId};
use aos_core::journal::{Entry, decode};
use aos_core::memory::VirtualClock;
use aos_core::registry::Registry;
use aos_core::replay::golden::GoldenFile;
use aos_core::skill::{
    Determinism, Skill, SkillCall, SkillContract, SkillOutput, SkillResult, SkillSource, SkillVersion,
};
use aos_core::time::Clock;
use aos_core::{BoxFuture, Failure, codes};

use super::local::{self, Job};
use super::ui::{CommandError, Exit};

/// Does the run of a golden file again, without I/O, and gives the new file.
///
/// # Errors
/// A damaged file; a run that was cancelled; a program that now asks for effects which the file doesn't have.
pub async fn again(skills: Registry, flows: Flows, old: &GoldenFile) -> Result<GoldenFile, CommandError> {
    let entries = entries(old)?;
    let Some(Entry { at, event: Event::RunStarted(started), .. }) = entries.first() else {
        return Err(Failure::new(codes::JOURNAL_CORRUPT, "the journal does not begin with run_started").into());
    };
    if entries.iter().any(|entry| matches!(entry.event, Event::CancelRequested { .. })) {
        let failure = Failure::new(codes::CONFLICT, "the run was cancelled, and when can't be repeated");
        return Err(CommandError::new(Exit::No, failure).hint("record it again with `golden record`"));
    }
    let answers = Arc::new(Answers::new(started.run.clone(), &entries, skills));
    // In automatic mode: everything here is answered at once, so whoever waits, waits for time to pass.
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::auto(*at));
    let host = local::host(local::memory(&clock), answers.clone(), flows, clock, Arc::new(NoObserver))?;
    let ran = local::run(&host, job(started, &entries, old), std::future::pending()).await?;
    let missing = answers.missing();
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(EffectId::as_str).collect();
        let message = format!("the program now asks for effects that the file doesn't have: {}", names.join(", "));
        let failure = Failure::new(codes::DRIFT, message);
        return Err(CommandError::new(Exit::No, failure).hint("record it again with `golden record`"));
    }
    ran.golden(&old.header.note)
}

fn entries(golden: &GoldenFile) -> Result<Vec<Entry>, CommandError> {
    let blob = golden.blob();
    let decoded = golden.lines.iter().map(|line| decode(line.as_str(), &blob).map(|(entry, _)| entry));
    let damaged = |e: aos_core::journal::EntryError| CommandError::from(Failure::new(e.code(), e.to_string()));
    decoded.collect::<Result<_, _>>().map_err(damaged)
}

fn job(started: &RunStarted, entries: &[Entry], golden: &GoldenFile) -> Job {
    let signals = entries.iter().filter_map(|entry| match &entry.event {
        Event::SignalReceived { name, payload, .. } => Some((name.clone(), payload.clone())),
        _ => None,
    });
    Job {
        run: started.run.clone(),
        plan: Arc::clone(&golden.header.plan),
        input: started.input.clone(),
        seed: started.seed,
        budget: started.budget,
        signals: signals.collect(),
    }
}

/// Answers calls with what was recorded, and deterministic skills by executing them.
struct Answers {
    recorded: Arc<Recorded>,
    skills: Registry,
}

struct Recorded {
    run: RunId,
    results: BTreeMap<(EffectId, u32), SkillResult>,
    missing: Mutex<Vec<EffectId>>,
}

impl Answers {
    fn new(run: RunId, entries: &[Entry], skills: Registry) -> Self {
        let results = entries.iter().filter_map(|entry| match &entry.event {
            Event::EffectCompleted { effect, attempt, output, cost, child: None } => {
                Some(((effect.clone(), *attempt), Ok(SkillOutput { output: output.clone(), cost: *cost })))
            }
            Event::AttemptFailed { effect, attempt, failure, .. }
            | Event::EffectFailed { effect, attempt, failure } => {
                Some(((effect.clone(), *attempt), Err(failure.clone())))
            }
            _ => None,
        });
        let recorded = Recorded { run, results: results.collect(), missing: Mutex::default() };
        Self { recorded: Arc::new(recorded), skills }
    }

    fn missing(&self) -> Vec<EffectId> {
        self.recorded.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl SkillSource for Answers {
    fn skill(&self, version: &SkillVersion) -> Option<Arc<dyn Skill>> {
        let is_deterministic = |skill: &Arc<dyn Skill>| skill.contract().determinism == Determinism::Deterministic;
        let live = self.skills.skill(version).filter(is_deterministic);
        let contract = match &live {
            Some(skill) => skill.contract().clone(),
            None => SkillContract::idempotent(version.id.as_str(), &version.version.to_string()).ok()?,
        };
        Some(Arc::new(Answer { contract, live, recorded: Arc::clone(&self.recorded) }))
    }
}

struct Answer {
    contract: SkillContract,
    live: Option<Arc<dyn Skill>>,
    recorded: Arc<Recorded>,
}

impl Skill for Answer {
    fn contract(&self) -> &SkillContract {
        &self.contract
    }

    fn call(&self, call: SkillCall) -> BoxFuture<'_, SkillResult> {
        if let Some(live) = &self.live {
            return live.call(call);
        }
        let recorded = &*self.recorded;
        // A child run has effects of the same names; its journal is not in the file.
        let found = recorded.results.get(&(call.effect.clone(), call.attempt)).filter(|_| call.run == recorded.run);
        let result = found.cloned().unwrap_or_else(|| {
            recorded.missing.lock().unwrap_or_else(PoisonError::into_inner).push(call.effect.clone());
            Err(Failure::new(
                codes::OUTCOME_UNKNOWN,
                format!("the file has no attempt {} of {}", call.attempt, call.effect),
            ))
        });
        Box::pin(std::future::ready(result))
    }
}

#[cfg(test)]
mod tests;
