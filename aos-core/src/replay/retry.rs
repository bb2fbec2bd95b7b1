//! Retrying a failed run: a new run with the same history, in which the effects that failed it have not ended yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{ReplayError, encode_all, verify_chain};
use crate::agent::turn_of;
use crate::canonical::Hash;
use crate::engine::Engine;
use crate::error::{Failure, codes};
use crate::event::{Event, Fork, Requested, RunFinished, RunStarted, RunStatus};
use crate::flow::Flows;
use crate::id::{EffectId, RunId};
use crate::journal::{Entry, Line};
use crate::payload::Payload;
use crate::replay::Cursor;
use crate::skill::CrashClass;
use crate::time::Timestamp;
use crate::workflow::{Body, OnError, Plan, StepAction};

/// The beginning of a run that retries another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Where it branches off: the original, and the effect that failed first.
    pub fork: Fork,
    /// Its journal so far; resume it with [`Engine::resume`].
    pub lines: Vec<Line>,
    /// Payloads that the lines refer to.
    pub blobs: Vec<Payload>,
}

/// Makes the beginning of run `run`, which retries the failed run in `lines`.
///
/// What ended well stays, also after the failure, as far as the program asks for it without knowing of the failure. What
/// failed the run is done anew: in a plan of steps the failed effects of steps whose `on_error` is `fail`; in a Rust
/// workflow the one that it failed with, and those after which it asked for nothing more. What is asked for next is as
/// old as `now`.
///
/// # Errors
/// [`codes::CONFLICT`] when the run has not failed, when its program and not an effect failed it, and when something of
/// a `once` skill would be done twice; the message says what to do instead. Those of a damaged journal.
pub fn retry(
    plan: &Arc<Plan>,
    flows: &Flows,
    lines: &[Line],
    blob: &dyn Fn(&Hash) -> Option<Payload>,
    run: RunId,
    now: Timestamp,
) -> Result<Retry, Failure> {
    let entries = verify_chain(lines, blob)?;
    let (Some(Event::RunStarted(original)), Some(Event::RunFinished(finished))) =
        (entries.first().map(|entry| &entry.event), entries.last().map(|entry| &entry.event))
    else {
        return Err(conflict("the run has not ended"));
    };
    if finished.status != RunStatus::Failed {
        return Err(conflict(format!("the run has not failed: it is {}", finished.status.as_str())));
    }
    let causes = causes(plan, &entries, finished)?;
    let history = History { plan, entries: &entries, causes: &causes };
    let fork = Fork { run: original.run.clone(), effect: history.first()? };
    let started = RunStarted { run, forked_from: Some(fork.clone()), ..original.clone() };
    let mut kept = history.without_causes(now)?;
    if let Some(first) = kept.first_mut() {
        first.event = Event::RunStarted(started);
    }
    let (lines, blobs) = consistent(plan, flows, &mut kept, blob)?;
    history.nothing_twice(&kept)?;
    Ok(Retry { fork, lines, blobs })
}

/// The journal of the entries, up to the first that the program doesn't ask for without what is left out.
fn consistent(
    plan: &Arc<Plan>,
    flows: &Flows,
    kept: &mut Vec<Entry>,
    blob: &dyn Fn(&Hash) -> Option<Payload>,
) -> Result<(Vec<Line>, Vec<Payload>), Failure> {
    loop {
        let (lines, blobs) = encode_all(kept);
        let new = |hash: &Hash| blobs.iter().find(|blob| blob.hash() == *hash).cloned();
        let cursor = Cursor::new(&lines, &|hash| blob(hash).or_else(|| new(hash)), None)?;
        match Engine::replayed(Arc::clone(plan), flows, cursor) {
            Ok(_) => return Ok((lines, blobs)),
            // Every prefix up to a drift is a journal of the program. The first entry is the start, which can't drift.
            Err(ReplayError::Drift(drift)) if drift.index > 0 => {
                kept.truncate(usize::try_from(drift.index).unwrap_or(usize::MAX));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The effects that failed the run, in the order in which they did.
fn causes(plan: &Plan, entries: &[Entry], finished: &RunFinished) -> Result<BTreeSet<EffectId>, Failure> {
    let failed = entries.iter().enumerate().filter_map(|(index, entry)| match &entry.event {
        Event::EffectFailed { effect, attempt, failure } => Some((index, effect, *attempt, failure)),
        _ => None,
    });
    let failed: Vec<_> = failed.collect();
    let is_request = |entry: &Entry| matches!(entry.event, Event::EffectRequested { .. });
    let last_request = entries.iter().rposition(is_request).unwrap_or(0);
    let is_reason = |failure: &Failure| {
        finished
            .failure
            .as_ref()
            .is_some_and(|reason| (&reason.code, &reason.message) == (&failure.code, &failure.message))
    };
    let mut causes: Vec<_> = match &plan.body {
        Body::Steps { steps, .. } => {
            let fails = |effect: &EffectId| {
                let id = effect.as_str().split(['[', '/']).next().unwrap_or_default();
                steps.iter().find(|step| step.id == id).is_some_and(|step| {
                    let of_agent = matches!(step.action, StepAction::Agent(_));
                    step.on_error == OnError::Fail && (!of_agent || is_last_turn(effect, entries))
                })
            };
            failed.iter().filter(|(_, effect, ..)| fails(effect)).collect()
        }
        Body::Code => {
            let late: Vec<_> = failed.iter().filter(|(index, ..)| *index > last_request).collect();
            let reason = failed.iter().rfind(|(.., failure)| is_reason(failure));
            let earlier = reason.filter(|(index, ..)| *index <= last_request);
            match (earlier, late.is_empty()) {
                (None, true) => failed.last().into_iter().collect(),
                (earlier, _) => earlier.into_iter().chain(late).collect(),
            }
        }
    };
    let reason = finished.failure.as_ref().map(|failure| failure.code.to_string()).unwrap_or_default();
    let Some((_, effect, _, failure)) = causes.first() else {
        return Err(conflict(format!(
            "no effect has failed the run, its program has ({reason}), and would again: correct the workflow, or fork \
             the run at an effect and give another output"
        )));
    };
    // Refused before it was begun: a limit, a budget, an expression, all of which are the same the next time.
    let refused = conflict(format!(
        "{effect} was refused before it was begun ({}), and would be again: start the run anew with another input or \
         budget, or fork it at an effect and give another output",
        failure.code
    ));
    causes.retain(|(_, _, attempt, _)| *attempt > 0);
    if causes.is_empty() {
        return Err(refused);
    }
    Ok(causes.into_iter().map(|(_, effect, ..)| (*effect).clone()).collect())
}

/// Of an agent's effects only its last turn fails it: it is told of the others, and goes on. An effect by which the agent
/// could not even begin counts as well.
fn is_last_turn(effect: &EffectId, entries: &[Entry]) -> bool {
    if !effect.as_str().contains('/') {
        return true;
    }
    let Some((agent, turn)) = turn_of(effect) else { return false };
    !requests(entries).any(|(other, _)| turn_of(other) == Some((agent, turn + 1)))
}

struct History<'a> {
    plan: &'a Plan,
    entries: &'a [Entry],
    causes: &'a BTreeSet<EffectId>,
}

impl History<'_> {
    /// The cause that failed first.
    fn first(&self) -> Result<EffectId, Failure> {
        let first = self.entries.iter().find_map(|entry| match &entry.event {
            Event::EffectFailed { effect, .. } if self.causes.contains(effect) => Some(effect.clone()),
            _ => None,
        });
        first.ok_or_else(|| conflict("no effect of the run has failed"))
    }

    /// The entries without the run's end and without what the causes came to.
    fn without_causes(&self, now: Timestamp) -> Result<Vec<Entry>, Failure> {
        let mut kept = Vec::with_capacity(self.entries.len());
        for entry in self.entries {
            match &entry.event {
                Event::RunFinished(_) => {}
                Event::AttemptFailed { effect, .. } | Event::EffectFailed { effect, .. }
                    if self.causes.contains(effect) => {}
                Event::EffectRequested { effect, request } if self.causes.contains(effect) => {
                    // With its intent in the journal, nobody could tell later on whether it was begun; and a wait for a
                    // signal would be as old as the intent.
                    if matches!(request, Requested::Signal { .. }) || self.is_once(request)? {
                        // The intent will have the time of the entry before it.
                        kept.iter_mut().last().into_iter().for_each(|last: &mut Entry| last.at = now);
                        break;
                    }
                    kept.push(entry.clone());
                }
                _ => kept.push(entry.clone()),
            }
        }
        Ok(kept)
    }

    /// Whether a request is for a `once` skill. A child that has one may have called it already.
    fn is_once(&self, request: &Requested) -> Result<bool, Failure> {
        Ok(match request {
            Requested::Call { skill, .. } => self.plan.pin(skill)?.crash == CrashClass::Once,
            Requested::Child { workflow, .. } => {
                self.plan.children.get(&workflow.to_string()).is_some_and(|p| has_once(p))
            }
            _ => false,
        })
    }

    /// Makes sure that no `once` effect is done again that may have been done.
    fn nothing_twice(&self, kept: &[Entry]) -> Result<(), Failure> {
        let (ended, still_ended) = (ended(self.entries), ended(kept));
        let still_asked: BTreeSet<_> = requests(kept).map(|(effect, _)| effect).collect();
        for (effect, request) in requests(self.entries) {
            let is_kept = match (ended.contains(effect), self.causes.contains(effect)) {
                // It failed, and so it was not done; but a child may have come further.
                (_, true) => !matches!(request, Requested::Child { .. }),
                (true, false) => still_ended.contains(effect),
                // It was under way; with its intent in the journal it is not done again.
                (false, false) => still_asked.contains(effect),
            };
            if !is_kept && self.is_once(request)? {
                return Err(conflict(format!(
                    "{effect} must not be done twice, and may have been done: find out what became of it, and fork the \
                     run at an effect of your choice"
                )));
            }
        }
        Ok(())
    }
}

fn requests(entries: &[Entry]) -> impl Iterator<Item = (&EffectId, &Requested)> {
    entries.iter().filter_map(|entry| match &entry.event {
        Event::EffectRequested { effect, request } => Some((effect, request)),
        _ => None,
    })
}

fn ended(entries: &[Entry]) -> BTreeSet<&EffectId> {
    let ended = entries.iter().filter_map(|entry| match &entry.event {
        Event::EffectCompleted { effect, .. } | Event::EffectFailed { effect, .. } => Some(effect),
        _ => None,
    });
    ended.collect()
}

fn has_once(plan: &Plan) -> bool {
    plan.skills.values().any(|pin| pin.crash == CrashClass::Once) || plan.children.values().any(|child| has_once(child))
}

fn conflict(message: impl Into<String>) -> Failure {
    Failure::new(codes::CONFLICT, message)
}
