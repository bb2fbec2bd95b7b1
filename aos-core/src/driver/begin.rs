//! The beginning of a run: what its creation makes durable, so that no append of its own has to.

use std::mem::replace;

use crate::driver::{Driven, Host, Run, drive, is_pure, start, told};
use crate::engine::{Batch, Engine, Step};
use crate::error::Failure;
use crate::journal::Line;
use crate::runs::{Claim, Created, FirstLease, NewRun, StoreError};

/// A run that was begun in memory; or, by default, one that was not, and is to be taken from its journal.
#[derive(Default)]
pub struct Begun(Option<Box<First>>);

/// The run after its first step.
struct First {
    engine: Engine,
    /// What is left to do of the step.
    step: Step,
    /// What the creation has made durable of it.
    lines: Vec<Line>,
}

/// Creates a run leased to this host, and its first entries with it: the intents of the first effects, which
/// [`Begun::drive`] begins with. Nothing is executed yet.
///
/// When the creation gives no lease, nothing was begun. The same goes for what can't be begun: [`drive`] says why.
///
/// # Errors
/// As [`RunStore::create`](crate::runs::RunStore::create).
pub async fn create(host: &Host, new: NewRun) -> Result<(Created, Begun), StoreError> {
    let mut lease = FirstLease::new(host.worker.clone(), host.lease);
    let mut begun = Begun::default();
    if let Some((first, batch)) = begin(host, &new).await {
        (lease.lines, lease.blobs) = (batch.lines, batch.blobs);
        begun = first;
    }
    let created = host.stores.runs.create(new, Some(lease)).await?;
    match &created {
        Created::New(_, Some(_)) => Ok((created, begun)),
        Created::New(_, None) | Created::Existing(_) => Ok((created, Begun::default())),
    }
}

/// Takes the first step of a run, and from it what has to be durable before its effects.
async fn begin(host: &Host, new: &NewRun) -> Option<(Begun, Batch)> {
    // A fork begins with the past of another run.
    if new.forked_from.is_some() {
        return None;
    }
    let plan = host.plan(&new.plan).await.ok()?;
    let mut engine = start(host, new, plan).ok()?;
    let mut step = engine.poll();
    let batch = match &mut step {
        Step::Do { append, effects } if !effects.iter().all(is_pure) => replace(append, engine.nothing()),
        // As for any step: these entries are written with the first ones that have to be.
        Step::Do { .. } | Step::Wait { .. } | Step::Done { .. } => engine.nothing(),
    };
    let lines = batch.lines.clone();
    Some((Begun(Some(Box::new(First { engine, step, lines }))), batch))
}

impl Begun {
    /// Advances the run from where it was begun, under the lease that its creation gave; else as [`drive`].
    ///
    /// # Errors
    /// As [`drive`].
    pub async fn drive(self, host: &Host, claim: Claim) -> Result<Driven, Failure> {
        let Some(first) = self.0 else { return drive(host, claim).await };
        let First { engine, step, lines } = *first;
        if !lines.is_empty() {
            host.observer.appended(&claim.lease, &lines);
        }
        told(host, &claim, Run::new(host, &claim, engine).go_on(step)).await
    }
}
