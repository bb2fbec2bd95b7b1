//! Makes up JSON that conforms to a JSON Schema, as a function of schema and random stream.
//!
//! Every value is checked before it is given out: the sampler fails rather than giving a value that does not conform.

mod check;
mod decimal;
mod facets;
mod format;
mod pattern;
mod values;

use serde_json::Value;

use self::check::Checker;
use self::facets::Facets;
use crate::random::Rng;

/// How deep a made value may nest.
const MAX_DEPTH: usize = 24;

/// From this depth on, optional parts are left out and the plainest branches are preferred.
const PLAIN_DEPTH: usize = 4;

/// How many values and parts of values one sample may try in all.
const FUEL: u64 = 20_000;

/// How many steps all checks of one sample may take.
const CHECK_FUEL: u64 = 400_000;

/// How often a value is tried with other choices before its parent makes other choices.
const ATTEMPTS: u32 = 16;

/// Why no sample was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SampleError {
    /// The schema uses something that the sampler does not know.
    #[error("no conforming value can be made up: {0}")]
    Unsupported(String),
    /// Nothing conforming was found.
    #[error("no value that conforms to the schema was found: it may allow none, or only very special ones")]
    NotFound,
}

/// Makes up a value that conforms to `schema`.
pub(super) fn sample(schema: &Value, rng: &mut Rng) -> Result<Value, SampleError> {
    if let Some(why) = check::unsupported(schema) {
        return Err(SampleError::Unsupported(why));
    }
    let checker = Checker { root: schema, fuel: CHECK_FUEL };
    let mut sampler = Sampler { root: schema, rng, fuel: FUEL, checker };
    let mut value = sampler.make(&[schema], "value", 0).ok_or(SampleError::NotFound)?;
    crate::canonical::normalize(&mut value).map_err(|_| SampleError::NotFound)?;
    Ok(value)
}

struct Sampler<'s, 'r> {
    root: &'s Value,
    rng: &'r mut Rng,
    fuel: u64,
    checker: Checker<'s>,
}

impl<'s> Sampler<'s, '_> {
    /// A value that conforms to all of `schemas`; `name` is what its texts are about.
    fn make(&mut self, schemas: &[&'s Value], name: &str, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        for attempt in 0..ATTEMPTS {
            self.fuel = self.fuel.checked_sub(1)?;
            let mut facets = Facets::default();
            let choice = Choice { attempt, plain: depth >= PLAIN_DEPTH };
            if !schemas.iter().all(|schema| self.flatten(schema, choice, &mut facets)) {
                if facets.certain {
                    return None;
                }
                continue;
            }
            if let Some(value) = self.value(&facets, choice, name, depth)
                && schemas.iter().all(|schema| self.checker.valid(schema, &value, 0))
            {
                return Some(value);
            }
        }
        None
    }

    /// A number below `bound`, which is at least 1.
    fn below(&mut self, bound: usize) -> usize {
        // Bounds are counts of things in memory, so nothing is cut.
        self.rng.below(bound as u64) as usize
    }

    fn pick<'t, T>(&mut self, items: &'t [T]) -> Option<&'t T> {
        let index = self.below(items.len());
        items.get(index)
    }
}

/// What the choices of one attempt are like.
#[derive(Clone, Copy)]
struct Choice {
    /// From 0; later ones are less particular.
    attempt: u32,
    /// Deep down: leave out what can be left out.
    plain: bool,
}

#[cfg(test)]
mod tests;
