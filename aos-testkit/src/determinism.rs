//! Finding workflows that depend on something that no journal records: the system clock, a hash map's order, a
//! global counter, the number of threads.
//!
//! [`assert_deterministic`] runs a workflow once for real, and then again and again with the results of that run, in
//! other orders of completion, with other numbers of workers and threads. Every run must ask for the same effects
//! with the same inputs, replay from its own journal, and end with the same content hash.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aos_core::Failure;
use aos_core::canonical::Hash;
use aos_core::diff::{diff, display};
use aos_core::event::{Event, Requested};
use aos_core::id::EffectId;
use aos_core::replay::{ReplayError, verify_chain};
use serde_json::{Value, json};

use crate::harness::{Harness, Ran};
use crate::recording::Recording;

/// How a workflow was found not to be deterministic. Its `Display` form is a report for people.
#[derive(Clone, Debug, PartialEq)]
pub enum Nondeterminism {
    /// A run asked for something else than the first one, though it had got the same answers.
    Effect(Box<Divergence>),
    /// A run's own journal could not be replayed: the program did something else when it was run again.
    Replay {
        /// The variation whose journal it is.
        variation: Variation,
        /// Where replay and journal disagree.
        error: Box<ReplayError>,
    },
    /// The same effects, and another end.
    ContentHash {
        /// The variation.
        variation: Variation,
        /// The first run's status, output, failure code and hash.
        expected: Value,
        /// This run's.
        actual: Value,
    },
    /// A run could not be made at all.
    Failed {
        /// The variation.
        variation: Variation,
        /// Why.
        failure: Box<Failure>,
    },
}

/// The first effect, in the order in which the first run asked, that two runs disagree about.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// The variation that found it.
    pub variation: Variation,
    /// The effect.
    pub effect: EffectId,
    /// What the first run asked for; `null` when it did not ask for this effect.
    pub expected: Value,
    /// What the other run asked for; `null` when it did not ask for this effect.
    pub actual: Value,
}

/// How a run was varied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variation {
    /// Seed of the completion order.
    pub order: u64,
    /// Workers.
    pub workers: usize,
    /// Threads.
    pub threads: usize,
}

impl fmt::Display for Variation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "order {}, {} workers, {} threads", self.order, self.workers, self.threads)
    }
}

impl fmt::Display for Nondeterminism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Effect(divergence) => {
                let Divergence { variation, effect, expected, actual } = &**divergence;
                writeln!(f, "the workflow is not deterministic: effect {effect} differs between two runs with equal")?;
                writeln!(f, "results ({variation})")?;
                writeln!(f, "{}", display(&diff(expected, actual)))?;
                write!(
                    f,
                    "Does it read the system clock, a hash map's order or a global? `ctx` has `now` and `random`."
                )
            }
            Self::Replay { variation, error } => {
                writeln!(f, "the workflow is not deterministic: its own journal does not replay ({variation})")?;
                write!(f, "{error}")
            }
            Self::ContentHash { variation, expected, actual } => {
                writeln!(f, "the workflow is not deterministic: equal effects, another end ({variation})")?;
                write!(f, "{}", display(&diff(expected, actual)))
            }
            Self::Failed { variation, failure } => write!(f, "a run could not be made ({variation}): {failure}"),
        }
    }
}

impl std::error::Error for Nondeterminism {}

/// Checks `runs` variations of the run that `harness` makes; gives the content hash that all of them have.
///
/// `harness` makes the same run every time: same plan, input, seed and messages. Its skills are asked by the first
/// run only. A program that reads the clock (`ctx.now`) may get another time in another order; such runs are replayed
/// and not compared with the first.
///
/// # Errors
/// [`Nondeterminism`], naming the first effect that differs.
pub fn check(runs: u64, harness: impl Fn() -> Harness) -> Result<Hash, Nondeterminism> {
    let first_variation = Variation { order: 0, workers: 1, threads: 1 };
    let failed = |variation, failure| Nondeterminism::Failed { variation, failure: Box::new(failure) };
    let first = harness().run().map_err(|failure| failed(first_variation, failure))?;
    replays(&first, first_variation)?;
    let recording = recording(&first)
        .map_err(|error| Nondeterminism::Replay { variation: first_variation, error: Box::new(error) })?;
    let expected = asked(&first);
    for order in 1..=runs {
        let variation =
            Variation { order, workers: [1, 2, 8][order as usize % 3], threads: [1, 1, 4][order as usize % 3] };
        let varied = harness()
            .order(variation.order)
            .workers(variation.workers)
            .threads(variation.threads)
            .with_recording(&recording)
            .run()
            .map_err(|failure| failed(variation, failure))?;
        let actual = asked(&varied);
        if expected.clock == actual.clock {
            compare(&expected, &actual, variation)?;
        }
        replays(&varied, variation)?;
        if expected.clock == actual.clock && varied.content_hash() != first.content_hash() {
            let (expected, actual) = (end(&first), end(&varied));
            return Err(Nondeterminism::ContentHash { variation, expected, actual });
        }
    }
    Ok(first.content_hash())
}

/// As [`check`], for tests.
///
/// # Panics
/// With the report, when the workflow is not deterministic.
#[track_caller]
#[allow(clippy::panic, reason = "an assertion")]
pub fn assert_deterministic(runs: u64, harness: impl Fn() -> Harness) -> Hash {
    match check(runs, harness) {
        Ok(hash) => hash,
        Err(found) => panic!("{found}"),
    }
}

/// What a run asked for.
#[derive(Default)]
struct Asked {
    /// In the order of asking.
    order: Vec<EffectId>,
    requests: BTreeMap<EffectId, Value>,
    /// What reading the clock gave.
    clock: BTreeMap<EffectId, Value>,
}

fn asked(ran: &Ran) -> Asked {
    let mut asked = Asked::default();
    // A journal that can't be read is found by its replay.
    for entry in verify_chain(&ran.lines, &ran.finder()).unwrap_or_default() {
        match entry.event {
            Event::EffectRequested { effect, request } => {
                asked.order.push(effect.clone());
                if request == Requested::Now {
                    asked.clock.insert(effect.clone(), Value::Null);
                }
                asked.requests.insert(effect, describe(&request));
            }
            Event::EffectCompleted { effect, output, .. } => {
                asked.clock.entry(effect).and_modify(|read| *read = output.value().clone());
            }
            _ => {}
        }
    }
    asked
}

fn compare(expected: &Asked, actual: &Asked, variation: Variation) -> Result<(), Nondeterminism> {
    let differs = |effect: &&EffectId| expected.requests.get(*effect) != actual.requests.get(*effect);
    let Some(effect) = expected.order.iter().chain(&actual.order).find(differs) else { return Ok(()) };
    let request = |asked: &Asked| asked.requests.get(effect).cloned().unwrap_or(Value::Null);
    let divergence =
        Divergence { variation, effect: effect.clone(), expected: request(expected), actual: request(actual) };
    Err(Nondeterminism::Effect(Box::new(divergence)))
}

fn describe(request: &Requested) -> Value {
    match request {
        Requested::Call { skill, input } => json!({"call": skill, "input": input}),
        Requested::Child { workflow, input } => json!({"child": workflow, "input": input}),
        Requested::Sleep { duration_ms } => json!({"sleep_ms": duration_ms}),
        Requested::Signal { name } => json!({"signal": name}),
        Requested::Now => json!("now"),
        Requested::Random => json!("random"),
        Requested::Patched { name } => json!({"patched": name}),
    }
}

fn end(ran: &Ran) -> Value {
    json!({
        "state": ran.record.state,
        "output": ran.record.output,
        "failure": ran.record.failure.as_ref().map(|failure| &failure.code),
        "cost": ran.record.cost,
        "content_hash": ran.record.content_hash,
    })
}

fn replays(ran: &Ran, variation: Variation) -> Result<(), Nondeterminism> {
    let failed = |error| Nondeterminism::Replay { variation, error: Box::new(error) };
    // Once more on another thread: what is kept per thread differs there.
    let elsewhere = std::thread::scope(|scope| scope.spawn(|| ran.replay().map(drop)).join());
    elsewhere.unwrap_or(Ok(())).map_err(failed)?;
    ran.replay().map(drop).map_err(failed)
}

fn recording(ran: &Ran) -> Result<Arc<Recording>, ReplayError> {
    Recording::read(&ran.lines, &ran.finder()).map(Arc::new)
}
