//! Pausing: what is under way comes to its end, nothing new is begun, and the run is parked.
//!
//! The journal of a paused run ends with the last thing that was learned. What the program asked for after that is
//! dropped, not saved: the engine asks for it again when the run is resumed, and a `once` effect whose intent is not
//! in the journal was surely not begun.

use std::future::poll_fn;
use std::task::Poll;

use super::{Driven, Run};
use crate::engine::Step;
use crate::error::Failure;
use crate::event::{Fact, HostEffect, RunFinished};
use crate::journal::Transition;
use crate::skill::CrashClass;

/// The unsaved end of the journal while a run is pausing.
struct Tail {
    /// How many unsaved lines tell what was learned or begun; those after them may be dropped.
    kept: usize,
    /// Effects that are not begun, each with the unsaved lines that certainly come before its intent.
    held_back: Vec<(usize, HostEffect)>,
}

impl Run<'_> {
    /// Lets the effects in flight end, and parks the run.
    pub(super) async fn pause(mut self) -> Result<Driven, Failure> {
        self.in_flight.abandon_pure();
        let mut tail = Tail { kept: self.unsaved.lines.len(), held_back: Vec::new() };
        loop {
            while let Some(fact) = self.next_end().await {
                self.engine.apply(fact.clone(), self.host.clock.now());
                if let Some(finished) = self.take(&mut tail, &fact) {
                    let saved = self.save(Transition::Finish(finished.clone())).await?;
                    return Ok(if saved { Driven::Finished(finished) } else { Driven::LeaseLost });
                }
            }
            // The intents of these can't be dropped without dropping what was learned after them, and an intent of a
            // `once` effect that is saved must be followed by the effect.
            let is_once = |effect: &HostEffect| matches!(effect, HostEffect::Call(c) if c.crash == CrashClass::Once);
            let must_begin = |(before, effect): &(usize, HostEffect)| is_once(effect) && *before < tail.kept;
            if !tail.held_back.iter().any(must_begin) {
                break;
            }
            if !self.save(Transition::Continue).await? {
                return Ok(Driven::LeaseLost);
            }
            for (_, effect) in std::mem::take(&mut tail.held_back).into_iter().filter(|(_, effect)| is_once(effect)) {
                self.in_flight.begin(self.host, &self.lease, effect);
            }
            tail.kept = 0;
        }
        self.unsaved.lines.truncate(tail.kept);
        self.park(None).await
    }

    /// The next end of an effect, or a tick for a timeout; `None` once nothing is under way but waiting for child
    /// runs, which goes on without this run.
    async fn next_end(&mut self) -> Option<Fact> {
        let wake_at = match self.engine.poll() {
            Step::Wait { wake_at } => wake_at,
            // Not yet begun, and so nothing to wait for: see `load`.
            Step::Do { .. } | Step::Done { .. } => None,
        };
        let (mut timer, in_flight) = (self.timer(wake_at), &mut self.in_flight);
        poll_fn(|context| {
            if let Poll::Ready(fact) = in_flight.poll_next(context) {
                return Poll::Ready(Some(fact));
            }
            if in_flight.abandon_waiting() {
                return Poll::Ready(None);
            }
            timer.as_mut().poll(context).map(|()| Some(Fact::Tick))
        })
        .await
    }

    /// Takes what followed from a fact, beginning nothing; gives the end of the run if that was it.
    fn take(&mut self, tail: &mut Tail, fact: &Fact) -> Option<RunFinished> {
        match self.engine.poll() {
            // The fact was of no interest any more.
            Step::Wait { .. } => None,
            Step::Do { append, effects } => {
                let before = self.unsaved.lines.len();
                // One fact is one line, and what follows from it comes after that; a tick is as many as were due.
                let (told, surely) = match fact {
                    Fact::Tick => (append.lines.len(), 0),
                    _ => (append.lines.len().min(1), 1),
                };
                tail.kept = before + told;
                self.unsaved.extend(append);
                for effect in effects {
                    match effect {
                        HostEffect::Abort { .. } => self.in_flight.begin(self.host, &self.lease, effect),
                        HostEffect::Call(_) | HostEffect::Child(_) => tail.held_back.push((before + surely, effect)),
                    }
                }
                None
            }
            Step::Done { append, finished, .. } => {
                self.unsaved.extend(append);
                Some(finished)
            }
        }
    }
}
